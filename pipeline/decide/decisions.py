"""Decisions: for every clip its tier, its outcome and the rules that it failed; from the measurements alone.

The tables are gone through a range of sources at a time, so that memory does not grow with the number of clips.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.decide.components import create_components
from pipeline.decide.config import DecideConfig
from pipeline.decide.licences import create_uses
from pipeline.decide.references import COLUMNS, references_query
from pipeline.decide.surplus import create_surplus
from pipeline.decide.verdicts import parse_rules, verdicts_query
from pipeline.store.parts import GROUP_ROWS
from pipeline.store.relations import Relations
from schemas.tables import TABLES

BACKEND = "rules/1"
RANGE_CLIPS = 65_536
"""Clips decided at a time."""


def decide(
    relations: Relations, config: DecideConfig, descriptor: str, *, folder: Path, fingerprint: str
) -> dict[str, Path]:
    """Table -> a file of its rows in `folder`, for the tables `references` and `decisions`. No model runs.

    `descriptor`: what measured similarity, as `faces.descriptor` names it; bounds that are not given follow from it.
    Raises UserError for a rule that cannot be used.
    """
    rules = parse_rules(config)
    create_uses(relations)
    create_components(relations, config.val_fraction)
    about = {"backend": BACKEND, "fingerprint": fingerprint}
    ranges = list(_ranges(relations))
    connection = relations.connection
    with (
        _Writer(folder / "references", "references", about) as chosen,
        _Writer(folder / "all", "decisions", about) as all_,
    ):
        for within in ranges:
            query = references_query(config.references, descriptor, within)
            connection.execute(f"CREATE OR REPLACE TEMP TABLE chosen_references AS {query}")
            chosen.write(connection, f"SELECT {', '.join(COLUMNS)} FROM chosen_references ORDER BY id")
            all_.write(connection, verdicts_query(rules, within))
    connection.execute("DROP TABLE IF EXISTS chosen_references")
    relations.show("provisional", folder / "all")
    made = {"references": folder / "references", "decisions": folder / "all"}
    if create_surplus(relations, config.caps):
        made["decisions"] = folder / "decisions"
        with _Writer(made["decisions"], "decisions", about) as decisions:
            for within in ranges:
                decisions.write(connection, _without_surplus(within))
    return made


def _without_surplus(within: str) -> str:
    """SQL of the decisions of a range, surplus clips rejected. These failed no other rule of the subject tier."""
    rule = "{'tier': 'subject', 'rule': surplus.rule, 'values': surplus.\"values\"}"
    return f"""SELECT decided.id, CASE WHEN surplus.id IS NULL THEN tier ELSE 'none' END AS tier,
                      CASE WHEN surplus.id IS NULL THEN outcome ELSE 'reject' END AS outcome, split, component,
                      CASE WHEN surplus.id IS NULL THEN failed_rules ELSE list_prepend({rule}, failed_rules) END
                          AS failed_rules, unknown_rules
               FROM (SELECT * FROM provisional WHERE {within}) AS decided
               LEFT JOIN (SELECT * FROM surplus WHERE {within}) AS surplus USING (id) ORDER BY decided.id"""


def _ranges(relations: Relations) -> Iterator[str]:
    """Conditions on ids that part the clips, whole sources each. An id begins with its source."""
    rows = relations.connection.execute("SELECT id, clips FROM components ORDER BY id")
    first, clips = "", 0
    while found := rows.fetchmany(1000):
        for source, count in found:
            if clips and clips + count > RANGE_CLIPS:
                yield f"id >= '{first}' AND id < '{source}'"
                first, clips = source, 0
            clips += count
    yield f"id >= '{first}'"


class _Writer:
    """Writes what queries give as the rows of a table, with the columns that every row has.

    Writing has a thread of its own, so that the next rows are computed meanwhile; one batch waits at most.
    """

    def __init__(self, path: Path, table: str, about: dict[str, str]) -> None:
        self._schema = TABLES[table].schema
        self._about = about
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._written: Future[None] | None = None

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._written is not None:
                self._written.result()
        finally:
            self._thread.shutdown()
            self._writer.close()

    def write(self, connection: duckdb.DuckDBPyConnection, query: str) -> None:
        """The rows that a query gives, some thousand at a time."""
        for batch in connection.execute(query).to_arrow_reader(GROUP_ROWS):
            if self._written is not None:
                self._written.result()
            self._written = self._thread.submit(self._write, batch)

    def _write(self, batch: pa.RecordBatch) -> None:
        own = {"status": "ok", "attempt": 1, **self._about}
        columns = {name: pa.repeat(value, batch.num_rows) for name, value in own.items()}
        columns |= {name: batch.column(name) for name in batch.schema.names}
        nothing = pa.nulls(batch.num_rows)
        arrays = [columns.get(field.name, nothing).cast(field.type) for field in self._schema]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema), row_group_size=GROUP_ROWS)
