"""Decisions: for every clip its tier, its outcome and the rules that it failed; from the measurements alone.

The tables are gone through a range of sources at a time, so that memory does not grow with the number of clips.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.decide.components import create_components
from pipeline.decide.config import Caps, DecideConfig
from pipeline.decide.licences import create_uses
from pipeline.decide.references import COLUMNS, references_query
from pipeline.decide.surplus import create_copies, create_surplus
from pipeline.decide.verdicts import parse_rules, verdicts_query
from pipeline.store.parts import GROUP_ROWS
from pipeline.store.relations import Relations
from pipeline.verdicts.standing import create_standing
from schemas.tables import TABLES

BACKEND = "rules/1"
RANGE_CLIPS = 65_536
"""Clips of a range."""
AT_ONCE = 2
"""Ranges at work at the same time: the queries have parts that one thread does alone."""


def decide(
    relations: Relations, config: DecideConfig, descriptor: str, *, folder: Path, fingerprint: str
) -> dict[str, Path]:
    """Table -> a file of its rows in `folder`, for the tables `references` and `decisions`. No model runs.

    `descriptor`: what measured similarity, as `faces.descriptor` names it; bounds that are not given follow from it.
    Raises UserError for a rule that cannot be used.
    """
    rules = parse_rules(config)
    create_uses(relations)
    create_components(relations, config.val_fraction, folder=folder)
    create_copies(relations)
    reviewed, bad = create_standing(relations)
    capped = config.caps != Caps()
    contested = "true" if capped else "passed.id IN (SELECT id FROM copies)"

    def decided(within: str) -> tuple[pa.Table, pa.Table]:
        with relations.connection.cursor() as cursor:
            query = references_query(config.references, descriptor, within, bad=bad)
            cursor.execute(f"CREATE OR REPLACE TEMP TABLE chosen_references AS {query}")
            chosen = cursor.execute(f"SELECT {', '.join(COLUMNS)} FROM chosen_references").to_arrow_table()
            return chosen, cursor.execute(
                verdicts_query(rules, within, contested=contested, reviewed=reviewed)
            ).to_arrow_table()

    made = {"references": folder / "references", "decisions": folder / "decisions"}
    about = {"backend": BACKEND, "fingerprint": fingerprint}
    with (
        _Writer(made["references"], "references", about) as references,
        _Writer(made["decisions"], "decisions", about) as decisions,
    ):
        with _Writer(folder / "contested", "decisions", about) as waiting:
            for chosen, rows in _in_turn(decided, _ranges(relations)):
                references.write(chosen)
                decisions.write(rows.filter(pc.invert(rows["contested"])))
                waiting.write(rows.filter(rows["contested"]))
        relations.show("contested", folder / "contested")
        create_surplus(relations, config.caps)
        for within in _ranges(relations):
            decisions.write(relations.connection.execute(_without_surplus(within)).to_arrow_table())
    return made


def _in_turn(
    work: Callable[[str], tuple[pa.Table, pa.Table]], ranges: Iterable[str]
) -> Iterator[tuple[pa.Table, pa.Table]]:
    """The results in order; a few ranges are at work at the same time, and no more are held."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        running: deque[Future[tuple[pa.Table, pa.Table]]] = deque()
        for within in ranges:
            running.append(pool.submit(work, within))
            if len(running) > AT_ONCE:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()


def _without_surplus(within: str) -> str:
    """SQL of the contested decisions of a range, the surplus rejected. These failed no other rule of their tier."""
    rule = "{'tier': 'subject', 'rule': surplus.rule, 'values': surplus.\"values\"}"
    return f"""SELECT decided.id, CASE WHEN surplus.id IS NULL THEN tier ELSE 'none' END AS tier,
                      CASE WHEN surplus.id IS NULL THEN outcome ELSE 'reject' END AS outcome, split, component,
                      CASE WHEN surplus.id IS NULL THEN failed_rules ELSE list_prepend({rule}, failed_rules) END
                          AS failed_rules, unknown_rules, overruled
               FROM (SELECT * FROM contested WHERE {within}) AS decided
               LEFT JOIN (SELECT * FROM surplus WHERE {within}) AS surplus USING (id)"""


def _ranges(relations: Relations) -> list[str]:
    """Conditions on ids that part the clips, whole sources each. An id begins with its source."""
    rows = relations.connection.execute("SELECT id, clips FROM components ORDER BY id")
    found: list[str] = []
    first, clips = "", 0
    while some := rows.fetchmany(1000):
        for source, count in some:
            if clips and clips + count > RANGE_CLIPS:
                found.append(f"id >= '{first}' AND id < '{source}'")
                first, clips = source, 0
            clips += count
    return [*found, f"id >= '{first}'"]


class _Writer:
    """Writes rows to a file of a table, with the columns that every row has."""

    def __init__(self, path: Path, table: str, about: dict[str, str]) -> None:
        self._schema = TABLES[table].schema
        self._about = about
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def write(self, rows: pa.Table) -> None:
        """Some rows more."""
        own = {"status": "ok", "attempt": 1, **self._about}
        columns = {name: pa.repeat(value, rows.num_rows) for name, value in own.items()}
        columns |= {name: rows[name] for name in rows.column_names}
        nothing = pa.nulls(rows.num_rows)
        arrays = [columns.get(field.name, nothing).cast(field.type) for field in self._schema]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema), row_group_size=GROUP_ROWS)
