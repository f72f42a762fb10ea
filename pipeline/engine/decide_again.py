"""Deciding again from the tables, and what that changes."""

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.config import CurateConfig
from pipeline.decide.funnel import Funnel, funnel
from pipeline.engine.run_file import write_run
from pipeline.engine.set_parts import set_parts
from pipeline.engine.sets import decide_stage, follow_verdicts, show_verdicts
from pipeline.store.relations import SECONDS, Relations
from pipeline.store.snapshots import commit

EXAMPLES = 100
"""Keys named of each change."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """Clips whose tier or outcome changed alike. `examples`: the first of their keys."""

    before: str
    after: str
    clips: int
    hours: float
    examples: list[str]


@dataclass(frozen=True, kw_only=True)
class Again:
    """The new funnel, and what changed."""

    funnel: Funnel
    changes: list[Change]

    def to_dict(self) -> dict[str, Any]:
        """As JSON shows it."""
        return asdict(self)


def decide_again(relations: Relations, config: CurateConfig, *, dry_run: bool) -> Again:
    """Apply these thresholds to the measurements. Writes tables, commit and run.json, unless it is a dry run.

    But for a dry run the caller holds the writer's lock. `relations`: of the newest commit; of no use afterwards.
    """
    files, base = relations.files, relations.snapshot
    _show_before(relations, base.sets.get("decisions"))
    if dry_run:
        folder = files.scratch()
        try:
            edited = show_verdicts(relations, config, folder)
            chosen = set_parts("references", relations, config)["references"]
            if edited or not files.exists(chosen):
                _try("references", relations, config, folder)
            elif chosen != base.sets.get("references"):
                relations.show("references", files.address(chosen))
            _try("decide", relations, config, folder)
            return Again(funnel=funnel(relations, config.decide), changes=_changes(relations))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    commit(files, base, follow_verdicts(relations, config))
    write_run(files, config)
    return Again(funnel=funnel(relations, config.decide), changes=_changes(relations))


def _show_before(relations: Relations, decisions: str | None) -> None:
    """The decisions of this part as the view `before`; none of a run that was never decided."""
    if decisions is None:
        relations.connection.execute("CREATE TABLE before AS SELECT * FROM decisions WHERE false")
    else:
        relations.show("before", relations.files.address(decisions))


def _try(stage: str, relations: Relations, config: CurateConfig, folder: Path) -> None:
    """Show what the stage makes of its one table from now on."""
    ((table, path),) = decide_stage(stage, relations, config, folder, "dry run").items()
    relations.show(table, path)


def _changes(relations: Relations) -> list[Change]:
    """From the decisions of the view `before` to those that are shown."""
    rows = relations.connection.execute(
        f"""WITH b AS (SELECT id, CASE outcome WHEN 'keep' THEN tier ELSE outcome END AS verdict FROM before),
                 a AS (SELECT id, CASE outcome WHEN 'keep' THEN tier ELSE outcome END AS verdict FROM decisions)
            SELECT coalesce(b.verdict, 'new'), a.verdict, count(*), sum({SECONDS}) / 3600, min(id, {EXAMPLES})
            FROM a LEFT JOIN b USING (id)
            WHERE b.verdict IS DISTINCT FROM a.verdict GROUP BY 1, 2 ORDER BY 1, 2"""
    ).fetchall()
    names = ("before", "after", "clips", "hours", "examples")
    return [Change(**dict(zip(names, row, strict=True))) for row in rows]
