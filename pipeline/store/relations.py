"""Current tables as relations: the one way to read a run."""

from collections.abc import Iterator

import duckdb
import pyarrow as pa

from pipeline.store.files import Files
from pipeline.store.parts import read_index, read_part
from pipeline.store.snapshots import Snapshot
from schemas.sample import INDEX_SCHEMA
from schemas.tables import TABLES


class Relations:
    """Read-only views of one snapshot. `connection` has a view a table, by its name."""

    def __init__(self, files: Files, snapshot: Snapshot) -> None:
        self.files = files
        self.snapshot = snapshot
        self.connection = duckdb.connect()
        self.connection.execute("SET threads = 1")
        for name in TABLES:
            self._view(name)
        # Where kept clips lie in shards; empty before the first pack.
        index = [read_index(files, path) for path in snapshot.paths("index")]
        self.connection.register("shard_index", index[0] if index else INDEX_SCHEMA.empty_table())

    def arrow(self, table: str) -> pa.Table:
        """A whole table in memory, sorted by id: for set stages, which are functions of all rows."""
        tables = list(self.batches(table))
        whole = pa.concat_tables(tables) if tables else TABLES[table].schema.empty_table()
        return whole.sort_by("id")

    def batches(self, table: str) -> Iterator[pa.Table]:
        """A table, part by part."""
        for path in self.snapshot.paths(table):
            yield read_part(self.files, path).cast(TABLES[table].schema)

    def replace(self, table: str, rows: pa.Table) -> None:
        """Show other rows under a table's name, for this connection alone."""
        self.connection.execute(f'DROP VIEW "{table}"')
        self.connection.register(table, rows)

    def _view(self, name: str) -> None:
        paths = self.snapshot.paths(name)
        local = [self.files.local_path(path) for path in paths]
        if paths and all(local):
            # DuckDB reads what a query needs of local Parquet files, in its own bounded memory.
            rows = self.connection.from_parquet([str(path) for path in local], union_by_name=TABLES[name].version > 1)
            if set(rows.columns) >= set(TABLES[name].schema.names):
                rows.create_view(name)
            else:
                self._widened_view(name, rows)
        else:
            self.connection.from_arrow(self.arrow(name)).create_view(name)

    def _widened_view(self, name: str, rows: duckdb.DuckDBPyRelation) -> None:
        """Rows of an older version; the columns that it did not have are NULL."""
        rows.create_view(f"{name} of an older version")
        self.connection.register(f"{name} of this version", TABLES[name].schema.empty_table())
        self.connection.execute(
            f'CREATE VIEW "{name}" AS SELECT * FROM "{name} of an older version" '
            f'UNION ALL BY NAME SELECT * FROM "{name} of this version"'
        )
