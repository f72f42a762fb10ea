"""Tables read a range of ids at a time, some columns of them: by Arrow, which takes a third of DuckDB's time."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.store.bundles import without
from pipeline.store.files import Files
from pipeline.store.parts import fitted
from pipeline.store.relations import quoted
from pipeline.store.snapshots import Snapshot
from schemas.tables import TABLES, check_version


@dataclass(frozen=True)
class IdRange:
    """Ids from `first` up to `last`, which it leaves out; to the end without a last one."""

    first: str
    last: str | None = None

    def sql(self, column: str = "id") -> str:
        """The condition that a column lies in it."""
        upper = "" if self.last is None else f" AND {column} < {quoted(self.last)}"
        return f"{column} >= {quoted(self.first)}{upper}"

    def meets(self, first: str, last: str) -> bool:
        """Whether any of the ids from `first` to `last`, both included, may lie in it."""
        return last >= self.first and (self.last is None or first < self.last)

    def mask(self, ids: pa.Array) -> pa.Array:
        """Which of these lie in it."""
        above = pc.greater_equal(ids, self.first)
        return above if self.last is None else pc.and_(above, pc.less(ids, self.last))


@dataclass(frozen=True)
class _Part:
    path: str
    dropped: list[str]
    about: pq.FileMetaData
    written: list[str]
    """The columns that it has."""
    groups: list[tuple[int, str, str]]
    """Number, first and last id of each group of rows; an empty one, as a table without rows may have, is left out."""


class SpanReader:
    """The tables of one snapshot. What their files say of themselves is read once."""

    def __init__(self, files: Files, snapshot: Snapshot, tables: Iterable[str]) -> None:
        self._files = files
        self._parts = {
            table: [_part(files, path, dropped) for path, dropped in snapshot.held(table)] for table in tables
        }

    def read(self, table: str, columns: Sequence[str], span: IdRange) -> pa.Table:
        """The current rows of a range: their ids, in order, and these columns. One that an older version of the table
        did not have is NULL. May be called by several threads at once.
        """
        schema = pa.schema([TABLES[table].schema.field(name) for name in dict.fromkeys(("id", *columns))])
        found = (self._rows(part, schema, span) for part in self._parts[table])
        pieces = sorted((rows for rows in found if rows.num_rows), key=lambda rows: str(rows["id"][0]))
        whole = pa.concat_tables([schema.empty_table(), *pieces])
        edges = [(str(rows["id"][0]), str(rows["id"][-1])) for rows in pieces]
        follow = all(last < first for (_, last), (first, _) in itertools.pairwise(edges))
        return whole if follow else whole.sort_by("id")

    def _rows(self, part: _Part, schema: pa.Schema, span: IdRange) -> pa.Table:
        groups = [number for number, first, last in part.groups if span.meets(first, last)]
        if not groups:
            return schema.empty_table()
        there = [name for name in schema.names if name in part.written]
        with self._files.open_committed(part.path) as file:
            read = pq.ParquetFile(file, metadata=part.about).read_row_groups(groups, columns=there, use_threads=False)
        rows = fitted(read, schema)
        return without(rows.filter(span.mask(rows["id"])), part.dropped)


def _part(files: Files, path: str, dropped: list[str]) -> _Part:
    with files.open_committed(path) as file:
        about = pq.read_metadata(file)
    schema = about.schema.to_arrow_schema()
    check_version(schema, where=f"{files.root}/{path}")
    at = about.schema.names.index("id")
    groups: list[tuple[int, str, str]] = []
    for number in range(about.num_row_groups):
        if about.row_group(number).num_rows:
            edges = about.row_group(number).column(at).statistics
            groups.append((number, edges.min, edges.max))
    return _Part(path, dropped, about, schema.names, groups)
