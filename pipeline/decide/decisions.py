"""Decisions: for every clip its tier, its outcome and the rules that it failed; from the measurements alone."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.decide.components import create_components
from pipeline.decide.config import Caps, DecideConfig
from pipeline.decide.licences import create_uses
from pipeline.decide.measured import measurements
from pipeline.decide.missed import with_missed
from pipeline.decide.ranges import RowWriter, in_turn, ranges
from pipeline.decide.surplus import create_copies, create_grouped, create_surplus
from pipeline.decide.verdicts import columns_named, only_known, parse_rules, verdicts_query
from pipeline.store.relations import Relations
from pipeline.store.spans import IdRange
from pipeline.verdicts.standing import create_standing

BACKEND = "rules/1"


def decide(relations: Relations, config: DecideConfig, *, folder: Path, fingerprint: str) -> dict[str, Path]:
    """Table -> a file of its rows in `folder`, for the table `decisions`. No model runs.

    Raises UserError for a rule that cannot be used.
    """
    rules = parse_rules(config)
    create_grouped(relations.connection)
    with ThreadPoolExecutor(1) as pool, relations.connection.cursor() as cursor:
        # Beside the components, which leave a core idle for a while.
        copies = pool.submit(create_copies, cursor)
        create_uses(relations)
        create_components(relations, config.val_fraction, folder=folder)
        copies.result()
    reviewed, _ = create_standing(relations)
    capped = config.caps != Caps()
    measured = measurements(relations, columns_named(rules), known=only_known(rules), reviewed=reviewed)
    query = verdicts_query(rules, reviewed=reviewed)

    def decided(span: IdRange) -> tuple[pa.Table, pa.Table]:
        with relations.connection.cursor() as cursor:
            clips = measured(span, cursor)
            cursor.register("measured", clips)
            found = cursor.execute(query).to_arrow_table()
            # In order, so that the same rows make the same file; DuckDB keeps it where it joins nothing.
            found = found if found["id"].equals(clips["id"]) else found.sort_by("id")
            several = cursor.execute(f"SELECT id FROM copies WHERE {span.sql()}").to_arrow_table()["id"]
            # Of these there may be too many. They come first, so that both are slices of one table.
            contested = pc.equal(found["outcome"], "keep")
            contested = contested if capped else pc.and_(contested, pc.is_in(found["id"], several))
            order = pc.array_sort_indices(pc.invert(contested))
            rows = with_missed(found, clips, order, cursor, rules, reviewed=reviewed)
        count = pc.sum(contested).as_py() or 0
        return rows.slice(0, count), rows.slice(count)

    made, about = folder / "decisions", {"backend": BACKEND, "fingerprint": fingerprint}
    parts = ranges(relations)
    with RowWriter(made, "decisions", **about) as decisions:
        with RowWriter(folder / "contested", "decisions", **about) as waiting:
            for contested, others in in_turn(decided, parts):
                decisions.write(others)
                waiting.write(contested)
        relations.show("contested", folder / "contested")
        create_surplus(relations, config.caps)
        for span in parts:
            decisions.write(relations.connection.execute(_without_surplus(span.sql())).to_arrow_table())
    return {"decisions": made}


def _without_surplus(within: str) -> str:
    """SQL of the contested decisions of a range, the surplus rejected. These failed no other rule of their tier."""
    rule = "{'tier': 'subject', 'rule': surplus.rule, 'values': surplus.\"values\"}"
    return f"""SELECT decided.id, CASE WHEN surplus.id IS NULL THEN tier ELSE 'none' END AS tier,
                      CASE WHEN surplus.id IS NULL THEN outcome ELSE 'reject' END AS outcome, split, component,
                      CASE WHEN surplus.id IS NULL THEN failed_rules ELSE list_prepend({rule}, failed_rules) END
                          AS failed_rules, unknown_rules, overruled
               FROM (SELECT * FROM contested WHERE {within}) AS decided
               LEFT JOIN (SELECT * FROM surplus WHERE {within}) AS surplus USING (id) ORDER BY decided.id"""
