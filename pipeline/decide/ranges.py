"""Tables gone through a range of sources at a time, so that memory does not grow with the number of clips."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.store.parts import GROUP_ROWS
from pipeline.store.relations import Relations
from pipeline.store.spans import IdRange
from schemas.tables import TABLES

Result = TypeVar("Result")

RANGE_CLIPS = 131_072
"""Clips of a range."""
AT_ONCE = 2
"""Ranges at work at the same time: the queries have parts that one thread does alone."""


def ranges(relations: Relations) -> list[IdRange]:
    """Ranges of ids that part the clips, whole sources each. An id begins with its source."""
    rows = relations.connection.execute(
        "SELECT source_id, count(*) FROM clips WHERE status = 'ok' GROUP BY 1 ORDER BY 1"
    )
    found: list[IdRange] = []
    first, clips = "", 0
    while some := rows.fetchmany(1000):
        for source, count in some:
            if clips and clips + count > RANGE_CLIPS:
                found.append(IdRange(first, source))
                first, clips = source, 0
            clips += count
    return [*found, IdRange(first)]


def in_turn(work: Callable[[IdRange], Result], within: Iterable[IdRange]) -> Iterator[Result]:
    """The results in order; a few ranges are at work at the same time, and no more are held."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        running: deque[Future[Result]] = deque()
        for one in within:
            running.append(pool.submit(work, one))
            if len(running) > AT_ONCE:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()


class RowWriter:
    """Writes rows to a file of a table, with the columns that every row has."""

    def __init__(self, path: Path, table: str, *, backend: str, fingerprint: str) -> None:
        self._schema = TABLES[table].schema
        self._own = {"status": "ok", "attempt": 1, "backend": backend, "fingerprint": fingerprint}
        flat = [field.name for field in self._schema if not pa.types.is_nested(field.type)]
        # What is another in every row needs no dictionary, and of lists statistics help nobody: both take time.
        again = [leaf for leaf in _leaves(self._schema) if leaf != "id" and not leaf.endswith(".values")]
        self._writer = pq.ParquetWriter(
            path, self._schema, compression="zstd", write_statistics=flat, use_dictionary=again
        )

    def __enter__(self) -> "RowWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def write(self, rows: pa.Table) -> None:
        """Some rows more."""
        columns = {name: pa.repeat(value, rows.num_rows) for name, value in self._own.items()}
        columns |= {name: rows[name] for name in rows.column_names}
        nothing = pa.nulls(rows.num_rows)
        arrays = [columns.get(field.name, nothing).cast(field.type) for field in self._schema]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema), row_group_size=GROUP_ROWS)


def _leaves(fields: Iterable[pa.Field], above: str = "") -> Iterator[str]:
    """The columns of these fields as Parquet names them."""
    for field in fields:
        name, type_ = f"{above}{field.name}", field.type
        while pa.types.is_list(type_):
            name, type_ = f"{name}.list.element", type_.value_type
        if pa.types.is_struct(type_):
            yield from _leaves(type_, f"{name}.")
        else:
            yield name
