"""Tables read a range of ids at a time, some columns of them: by Arrow, which takes a third of DuckDB's time."""

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.store.bundles import counting
from pipeline.store.files import Files
from pipeline.store.parts import fitted
from pipeline.store.relations import footer, quoted, written_schema
from pipeline.store.snapshots import Snapshot
from schemas.tables import TABLES


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

    def covers(self, first: str, last: str) -> bool:
        """Whether all of the ids from `first` to `last`, both included, lie in it."""
        return first >= self.first and (self.last is None or last < self.last)

    def mask(self, ids: pa.Array) -> pa.Array:
        """Which of these lie in it."""
        above = pc.greater_equal(ids, self.first)
        return above if self.last is None else pc.and_(above, pc.less(ids, self.last))


@dataclass(frozen=True)
class _Group:
    """A group of rows of a part: its number, its first and last id, and where in the file its ids begin and end."""

    number: int
    first: str
    last: str
    start: int
    end: int


@dataclass(frozen=True)
class _Part:
    path: str
    dropped: list[str]
    about: pq.FileMetaData
    written: list[str]
    """The columns that it has."""
    codec: str
    """How its ids are compressed."""
    groups: list[_Group]
    """An empty one, as a table without rows may have, is left out."""

    def without_null(self, column: str, groups: Iterable[_Group]) -> bool:
        """Whether the file says that a column has a value in every row of these groups."""
        if column not in self.written:
            return False
        at = self.about.schema.names.index(column)
        told = [self.about.row_group(group.number).column(at).statistics for group in groups]
        return all(one is not None and one.has_null_count and not one.null_count for one in told)


@dataclass(frozen=True)
class _Ids:
    """The ids of some groups of a part that lie in the range and count, and which of all rows these are; none: all."""

    ids: pa.Array
    mask: pa.Array | None


Written = tuple[str, tuple[str, ...], tuple[bytes, ...]]
"""Ids as they are written, group by group, and what of a part beside them decides which rows count."""


class SpanReader:
    """The tables of one snapshot. What their files say of themselves is read once."""

    def __init__(self, files: Files, snapshot: Snapshot, tables: Iterable[str]) -> None:
        self._files = files
        self._parts = {
            table: [_part(files, path, dropped) for path, dropped in snapshot.held(table)] for table in tables
        }

    def read(
        self, columns: Mapping[str, Sequence[str]], span: IdRange, *, known: Collection[str] = ()
    ) -> dict[str, pa.Table]:
        """The current rows of a range: of each table their ids, in order, and these columns. One that an older version
        of the table did not have is NULL. May be called by several threads at once.

        Tables that are written together have the same ids, byte for byte. These are decoded, searched and ordered once.

        `known`: columns, as `table.column`, of which is asked only whether they are NULL. Texts among them are not read
        where the file says that none is: they are empty then.
        """
        decoded: dict[Written, _Ids] = {}
        orders: dict[tuple[Written, ...], tuple[pa.Array, pa.Array | None]] = {}
        found: dict[str, pa.Table] = {}
        for table, names in columns.items():
            schema = pa.schema([TABLES[table].schema.field(name) for name in dict.fromkeys(names) if name != "id"])
            asked = [one.name for one in schema if f"{table}.{one.name}" in known and pa.types.is_string(one.type)]
            read = [self._rows(part, schema, span, asked, decoded) for part in self._parts[table]]
            pieces = sorted(
                (piece for piece in read if piece is not None), key=lambda piece: str(decoded[piece[0]].ids[0])
            )
            layout = tuple(written for written, _ in pieces)
            if layout not in orders:
                orders[layout] = _ordered([decoded[written].ids for written in layout])
            ids, order = orders[layout]
            rows = pa.concat_tables([schema.empty_table(), *(rows for _, rows in pieces)])
            found[table] = (rows if order is None else rows.take(order)).add_column(0, "id", ids)
        return found

    def _rows(
        self, part: _Part, schema: pa.Schema, span: IdRange, asked: Collection[str], decoded: dict[Written, _Ids]
    ) -> tuple[Written, pa.Table] | None:
        """The rows of a part, without their ids: these are in `decoded` then. None where it has none in the range."""
        groups = [group for group in part.groups if span.meets(group.first, group.last)]
        if not groups:
            return None
        full = [name for name in asked if part.without_null(name, groups)]
        there = [name for name in schema.names if name in part.written and name not in full]
        with self._files.open_committed(part.path) as file:
            written: Written = (part.codec, tuple(part.dropped), tuple(_bytes(file, group) for group in groups))
            parquet = pq.ParquetFile(file, metadata=part.about)
            numbers = [group.number for group in groups]
            if written not in decoded:
                decoded[written] = _counted(
                    parquet.read_row_groups(numbers, columns=["id"], use_threads=False), part.dropped, groups, span
                )
            if not len(decoded[written].ids):
                return None
            read = parquet.read_row_groups(numbers, columns=there, use_threads=False)
        for name in full:
            read = read.append_column(name, pa.repeat("", read.num_rows))
        mask = decoded[written].mask
        rows = fitted(read, schema)
        return written, rows if mask is None else rows.filter(mask)


def _bytes(file: IO[bytes], group: _Group) -> bytes:
    file.seek(group.start)
    return file.read(group.end - group.start)


def _counted(rows: pa.Table, dropped: Collection[str], groups: Sequence[_Group], span: IdRange) -> _Ids:
    ids = rows["id"].combine_chunks()
    masks = [] if all(span.covers(group.first, group.last) for group in groups) else [span.mask(ids)]
    if dropped:
        masks.append(counting(rows, dropped).combine_chunks())
    mask = reduce(pc.and_, masks) if masks else None
    return _Ids(ids if mask is None else ids.filter(mask), mask)


def _ordered(pieces: Sequence[pa.Array]) -> tuple[pa.Array, pa.Array | None]:
    """All ids in order, and the places that they take them from; none where they follow each other already."""
    ids = pa.concat_arrays([pa.nulls(0, pa.string()), *pieces])
    if all(str(one[-1]) < str(other[0]) for one, other in itertools.pairwise(pieces)):
        return ids, None
    order = pc.sort_indices(ids)
    return ids.take(order), order


def _part(files: Files, path: str, dropped: list[str]) -> _Part:
    about, schema = footer(files, path), written_schema(files, path)
    at = about.schema.names.index("id")
    groups: list[_Group] = []
    codec = ""
    for number in range(about.num_row_groups):
        if about.row_group(number).num_rows:
            ids = about.row_group(number).column(at)
            codec = ids.compression
            start = ids.data_page_offset if ids.dictionary_page_offset is None else ids.dictionary_page_offset
            edges = ids.statistics
            groups.append(_Group(number, edges.min, edges.max, start, start + ids.total_compressed_size))
    return _Part(path, dropped, about, schema.names, codec, groups)
