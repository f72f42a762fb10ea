"""Deciding again from the tables, and what that changes."""

from dataclasses import dataclass

from pipeline.config import CurateConfig
from pipeline.decide.decisions import decide
from pipeline.decide.funnel import Funnel, funnel
from pipeline.engine.curate import write_run
from pipeline.engine.rows import About, completed
from pipeline.engine.sets import run_set
from pipeline.store.files import Files
from pipeline.store.parts import to_arrow
from pipeline.store.relations import Relations
from pipeline.store.snapshots import Snapshot, commit
from pipeline.store.writer import writing


@dataclass(frozen=True, kw_only=True)
class Again:
    """The new funnel, and the clips whose tier or outcome changed: change -> keys."""

    funnel: Funnel
    changes: dict[str, list[str]]


def decide_again(files: Files, snapshot: Snapshot, config: CurateConfig, *, dry_run: bool) -> Again:
    """Apply these thresholds to the measurements. Writes tables, commit and run.json, unless it is a dry run."""
    before = _verdicts(Relations(files, snapshot))
    if dry_run:
        relations = Relations(files, snapshot)
        _, rows = decide(relations, config.decide, config.faces.descriptor)
        about = About(backend="rules", fingerprint="", seconds=0.0)
        relations.replace("decisions", to_arrow("decisions", (completed(row, **about) for row in rows)))
    else:
        with writing(files):
            snapshot = commit(files, snapshot, run_set("decide", files, snapshot, config))
            write_run(files, config)
        relations = Relations(files, snapshot)
    changes: dict[str, list[str]] = {}
    for key, verdict in sorted(_verdicts(relations).items()):
        if before.get(key) != verdict:
            changes.setdefault(f"{before.get(key, 'new')} -> {verdict}", []).append(key)
    return Again(funnel=funnel(relations, config.decide), changes=changes)


def _verdicts(relations: Relations) -> dict[str, str]:
    rows = relations.connection.execute("SELECT id, outcome, tier FROM decisions").fetchall()
    return {key: tier if outcome == "keep" else outcome for key, outcome, tier in rows}
