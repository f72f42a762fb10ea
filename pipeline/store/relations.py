"""Current tables as relations: the one way to read a run."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from functools import cached_property, lru_cache
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.store.bundles import without
from pipeline.store.files import Files
from pipeline.store.parts import GROUP_ROWS, conformed
from pipeline.store.snapshots import Snapshot
from schemas.sample import INDEX_SCHEMA
from schemas.tables import TABLES, check_version

MEMORY = "1GB"
"""Of DuckDB; what does not fit goes to a temporary file."""
THREADS = 2
SECONDS = "(split_part(id, '_', 3)::BIGINT - split_part(id, '_', 2)::BIGINT) / 1e6"
"""SQL of a clip's length, by its id, which ends with start and end in microseconds: no table need be joined."""
SQL_TYPES = {
    "string": "VARCHAR",
    "binary": "BLOB",
    "bool": "BOOLEAN",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "float": "FLOAT",
    "double": "DOUBLE",
}
"""Arrow's name of a type -> DuckDB's."""


class Relations:
    """Read-only views of one snapshot. `connection` has a view a table, by its name.

    The view `ledger` has the bundle of each source beside its row.
    """

    def __init__(self, files: Files, snapshot: Snapshot) -> None:
        self.files = files
        self.snapshot = snapshot
        self.connection = duckdb.connect()
        self.connection.execute(f"SET threads = {THREADS}; SET memory_limit = '{MEMORY}'")
        self.connection.execute("SET parquet_metadata_cache = true")
        # Made when it is needed, and removed with the connection. The default is a folder wherever the command runs.
        self.connection.execute(f"SET temp_directory = {quoted(str(files.spill()))}")
        # What a query is done with goes back to the system at once; else it adds up from query to query.
        self.connection.execute("SET allocator_flush_threshold = '1MB'")
        self.connection.execute("SET allocator_bulk_deallocation_flush_threshold = '1MB'")
        self.shown: dict[str, Path | str] = {}
        """Name -> the file of other rows than the snapshot's that `show` put there."""
        if files.remote is not None:
            self.connection.register_filesystem(files.remote)
        for name in TABLES:
            self._view(name)
        self._index()

    def move(self, snapshot: Snapshot) -> None:
        """Show another snapshot of the run from now on, and nothing in the place of its tables any more.

        Only the views that differ are made again: that of a large table takes a tenth of a second.
        """
        before, self.snapshot = self.snapshot, snapshot
        shown, self.shown = self.shown, {name: file for name, file in self.shown.items() if name not in TABLES}
        for name in TABLES:
            there = [(one.holding(name), one.sets.get(name)) for one in (before, snapshot)]
            if name in shown or there[0] != there[1]:
                self._view(name)
        self._index()
        if before.bundles != snapshot.bundles:
            self.__dict__.pop("ledger_sums", None)

    def _index(self) -> None:
        """Where kept clips lie in shards; empty before the first pack."""
        if "index" in self.snapshot.sets:
            self.show("shard_index", self.files.address(self.snapshot.sets["index"]))
        else:
            self._nothing("shard_index", INDEX_SCHEMA)

    @cached_property
    def ledger_sums(self) -> list[tuple[str, int, int, int]]:
        """Terms, how many sources have them, and the sums of both halves of the hashes of their ids."""
        return self.connection.execute(
            """SELECT terms, count(*), sum(md5_number_lower(id)::HUGEINT), sum(md5_number_upper(id)::HUGEINT)
               FROM ledger GROUP BY terms"""
        ).fetchall()

    def arrow(self, table: str) -> pa.Table:
        """A whole table in memory, sorted by id: for set stages, which are functions of all rows."""
        tables = list(self.batches(table))
        whole = pa.concat_tables(tables) if tables else TABLES[table].schema.empty_table()
        return whole.sort_by("id")

    def batches(self, table: str) -> Iterator[pa.Table]:
        """A table, some thousand rows at a time."""
        for parquet, dropped in self._files_of(table):
            for batch in parquet.iter_batches(batch_size=GROUP_ROWS):
                yield without(conformed(table, pa.Table.from_batches([batch])), dropped)

    def leaves(self, table: str, names: list[str]) -> Iterator[pa.Table]:
        """Texts within the lists of a set table, by the names that Parquet gives them, as dictionaries; some thousand
        rows at a time. DuckDB reads a list with all that is in it."""
        for parquet, _ in self._files_of(table, texts=names):
            for number in range(parquet.num_row_groups):
                yield parquet.read_row_group(number, columns=names)

    def statuses(self, table: str) -> Counter[str]:
        """Rows of a table by their status. A group of rows that all have one, as most do, is not read."""
        found: Counter[str] = Counter()
        for parquet, dropped in self._files_of(table):
            at = parquet.metadata.schema.names.index("status")
            for number in range(parquet.num_row_groups):
                group = parquet.metadata.row_group(number)
                edges = group.column(at).statistics
                if not dropped and edges is not None and edges.has_min_max and edges.min == edges.max:
                    found[edges.min] += group.num_rows
                else:
                    rows = without(parquet.read_row_group(number, columns=["id", "status"]), dropped)
                    found.update(rows["status"].to_pylist())
        return found

    def _files_of(self, table: str, *, texts: Collection[str] = ()) -> Iterator[tuple[pq.ParquetFile, list[str]]]:
        """The files that hold a table, and of each the keys whose rows count no more. `texts`: read as dictionaries."""
        shown = self.shown.get(table)
        held: Iterable[tuple[str | Path, list[str]]]
        held = [(shown, [])] if isinstance(shown, Path) else self.snapshot.held(table)
        for path, dropped in held:
            with path.open("rb") if isinstance(path, Path) else self.files.open_committed(path) as file:
                about = None if isinstance(path, Path) else footer(self.files, path)
                parquet = pq.ParquetFile(file, metadata=about, read_dictionary=list(texts))
                check_version(parquet.schema_arrow, where=f"{self.files.root}/{path}")
                yield parquet, dropped

    def show(self, table: str, path: Path | str) -> None:
        """Show the rows of a Parquet file under a table's name, for this connection alone."""
        self.shown[table] = path
        self.connection.execute(f'CREATE OR REPLACE VIEW "{table}" AS SELECT * FROM read_parquet({quoted(str(path))})')

    def _view(self, name: str) -> None:
        selects: list[str] = []
        whole = [self.snapshot.sets[name]] if name in self.snapshot.sets else []
        grown = TABLES[name].version > 1
        missing = self._missing(name) if whole and grown else ""
        # Bundles of one table may stem from several versions of it.
        by_name = grown and not whole
        for bundle_name, bundle in self.snapshot.holding(name):
            if name == "ledger":
                named = f"*, '{bundle_name}' AS bundle"
                selects.append(f"{self._scan([bundle.parts[name]], named)}{_but(bundle.dropped)}")
            elif bundle.dropped:
                selects.append(f"{self._scan([bundle.parts[name]], by_name=by_name)}{_but(bundle.dropped)}")
            else:
                whole.append(bundle.parts[name])
        if whole:
            selects.append(self._scan(whole, f"*{missing}", by_name=by_name))
        if selects and by_name:
            selects.insert(0, _no_rows(TABLES[name].schema))
        if selects:
            union = " UNION ALL BY NAME " if by_name else " UNION ALL "
            self.connection.execute(f'CREATE OR REPLACE VIEW "{name}" AS {union.join(selects)}')
            return
        nothing = TABLES[name].schema
        self._nothing(name, nothing.append(pa.field("bundle", pa.string())) if name == "ledger" else nothing)

    def _missing(self, name: str) -> str:
        """SQL of the columns that a set table lacks because an older version wrote it: they are NULL."""
        written = written_schema(self.files, self.snapshot.sets[name])
        lacking = (field for field in TABLES[name].schema if field.name not in written.names)
        return "".join(f', NULL::{_sql_type(field.type)} AS "{field.name}"' for field in lacking)

    def _nothing(self, name: str, schema: pa.Schema) -> None:
        self.connection.execute(f'CREATE OR REPLACE VIEW "{name}" AS {_no_rows(schema)}')

    def _scan(self, paths: list[str], columns: str = "*", *, by_name: bool = False) -> str:
        """DuckDB reads what a query needs of the Parquet files, in its own bounded memory."""
        listed = ", ".join(quoted(self.files.address(path)) for path in paths)
        options = ", union_by_name = true" if by_name else ""
        return f"SELECT {columns} FROM read_parquet([{listed}]{options})"


def written_schema(files: Files, path: str) -> pa.Schema:
    """What a committed part holds. Raises UserError where this version cannot read it."""
    written = footer(files, path).schema.to_arrow_schema()
    check_version(written, where=f"{files.root}/{path}")
    return written


@lru_cache(maxsize=16)
def footer(files: Files, path: str) -> pq.FileMetaData:
    """What a committed part says of itself. It never changes, and that of a large one takes a while to read."""
    with files.open_committed(path) as file:
        return pq.read_metadata(file)


def _no_rows(schema: pa.Schema) -> str:
    """SQL of a table without rows."""
    columns = ", ".join(f'NULL::{_sql_type(field.type)} AS "{field.name}"' for field in schema)
    return f"SELECT {columns} WHERE false"


def _sql_type(type_: pa.DataType) -> str:
    """As DuckDB calls it. Its own way from Arrow's would import pandas, which takes longer than most queries."""
    if pa.types.is_struct(type_):
        fields = (f'"{field.name}" {_sql_type(field.type)}' for field in type_)
        return f"STRUCT({', '.join(fields)})"
    if pa.types.is_list(type_) or pa.types.is_fixed_size_list(type_):
        return f"{_sql_type(type_.value_type)}[]"
    return SQL_TYPES[str(type_)]


def quoted(value: str) -> str:
    """A string as SQL writes it."""
    return "'" + value.replace("'", "''") + "'"


def _but(dropped: list[str]) -> str:
    """Without the rows of these sources or locations."""
    return f" WHERE split_part(id, '_', 1) NOT IN ({', '.join(map(quoted, dropped))})" if dropped else ""
