"""Set stages: functions of all committed rows. Each writes one part a table, named by all that it was computed from."""

import shutil
import time
from pathlib import Path

from pipeline.config import CurateConfig
from pipeline.decide.decisions import decide
from pipeline.decide.references import choose_references
from pipeline.engine.fingerprint import fingerprints
from pipeline.engine.rows import About
from pipeline.engine.set_parts import set_parts
from pipeline.engine.set_table import write_found
from pipeline.flow import DECISIONS
from pipeline.store.bundles import write_rows
from pipeline.store.parts import to_arrow
from pipeline.store.relations import Relations
from pipeline.store.snapshots import Snapshot
from pipeline.verdicts.fold import all_verdicts, as_table_rows, folded
from pipeline.verdicts.people import edits, edits_digest

OF_PEOPLE = ("identities", "candidates")
"""Set stages that follow from who is who."""


def run_set(stage: str, relations: Relations, config: CurateConfig) -> Snapshot:
    """The snapshot with this stage's parts in it, computed where they are missing. The relations show it then."""
    files = relations.files
    paths = set_parts(stage, relations, config)
    work: dict[str, float] = {}
    if not all(files.exists(path) for path in paths.values()):
        start, began = time.process_time(), time.monotonic()
        folder = files.scratch()
        try:
            made, computed = _compute(stage, relations, config, folder)
            for table, path in paths.items():
                files.create_from(path, made[table])
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        work = {
            f"seconds.{stage}": time.process_time() - start,
            f"wall.{stage}": time.monotonic() - began,
            f"computed.{stage}": computed,
        }
    relations.move(relations.snapshot.with_set(paths).with_work(work))
    return relations.snapshot


def follow_verdicts(relations: Relations, config: CurateConfig) -> Snapshot:
    """The snapshot with all verdicts in their table, and what stands on them: people, references, decisions. The
    relations show it from then on."""
    now = folded(relations.files, relations.snapshot)
    if now != relations.snapshot:
        was = edits_digest(edits(relations))
        relations.move(now)
        for stage in OF_PEOPLE if was != edits_digest(edits(relations)) else ():
            run_set(stage, relations, config)
    for stage in DECISIONS:
        run_set(stage, relations, config)
    return relations.snapshot


def show_verdicts(relations: Relations, config: CurateConfig, folder: Path) -> bool:
    """Like `follow_verdicts` up to the decisions, but for this connection alone: nothing is written to the run.

    Returns whether who is who changed."""
    said = all_verdicts(relations.files, relations.snapshot)
    if not said and "verdicts" not in relations.snapshot.sets:
        return False
    before = edits_digest(edits(relations))
    rows = to_arrow("verdicts", as_table_rows(said))
    write_rows(folder / "verdicts", [rows], rows.schema)
    relations.show("verdicts", folder / "verdicts")
    edited = edits_digest(edits(relations)) != before
    if edited:
        for stage in OF_PEOPLE:
            (folder / stage).mkdir()
            made, _ = _compute(stage, relations, config, folder / stage)
            relations.show(stage, made[stage])
    return edited


def _compute(stage: str, relations: Relations, config: CurateConfig, folder: Path) -> tuple[dict[str, Path], int]:
    """Table -> a file of its rows in `folder`, and for how many items something was computed."""
    fingerprint = fingerprints(config)[stage]
    if stage in DECISIONS:
        made = decide_stage(stage, relations, config, folder, fingerprint)
        return made, relations.connection.execute("SELECT count(*) FROM clips WHERE status = 'ok'").fetchall()[0][0]
    # Here alone: deciding needs none of the stages that measure, and these take long to load.
    from pipeline.engine.set_stages import BACKENDS, found

    scratch = folder / "index"
    scratch.mkdir()
    about = About(backend=BACKENDS[stage], fingerprint=fingerprint, seconds=0.0)
    pieces = found(stage, relations, config, scratch, fingerprint)
    return {stage: folder / stage}, write_found(folder / stage, stage, pieces, relations, about=about)


def decide_stage(
    stage: str, relations: Relations, config: CurateConfig, folder: Path, fingerprint: str
) -> dict[str, Path]:
    """Table -> a file in `folder` of what these thresholds make of it."""
    if stage == "references":
        bounds, descriptor = config.decide.references, config.faces.descriptor
        return choose_references(
            relations,
            bounds,
            descriptor,
            folder=folder,
            fingerprint=fingerprint,
            looks=config.looks.backend != "none",
        )
    return decide(relations, config.decide, folder=folder, fingerprint=fingerprint)
