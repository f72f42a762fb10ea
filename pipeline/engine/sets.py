"""Set stages: functions of all committed rows. Each writes one part a table, named by all that it was computed from."""

import shutil
import time
from pathlib import Path

from pipeline.config import CurateConfig
from pipeline.decide.decisions import decide
from pipeline.decide.references import choose_references
from pipeline.engine.fingerprint import fingerprints, input_digest
from pipeline.engine.other_runs import other_runs
from pipeline.engine.plan import Terms, lineages
from pipeline.engine.progress import Progress, silent
from pipeline.engine.rows import About
from pipeline.engine.set_stages import BACKENDS, found
from pipeline.engine.set_table import write_found
from pipeline.flow import DECISIONS, STAGE
from pipeline.pack.card import write_card
from pipeline.pack.pack import pack
from pipeline.store.bundles import write_rows
from pipeline.store.files import Files
from pipeline.store.parts import part_path, to_arrow, write_table
from pipeline.store.relations import Relations
from pipeline.store.snapshots import Snapshot
from pipeline.verdicts.fold import all_verdicts, as_table_rows, folded
from pipeline.verdicts.people import edits, edits_digest
from pipeline.verdicts.standing import bad_references_digest

OF_PEOPLE = ("identities", "candidates")
"""Set stages that follow from who is who."""


def set_parts(stage: str, relations: Relations, config: CurateConfig) -> dict[str, str]:
    """Table -> the part that a set stage makes of this snapshot; known before it runs."""
    fingerprint = fingerprints(config)[stage]
    needs = ("shots", "clips", *STAGE[stage].needs)
    upstream = [rows_digest(relations, tuple(need for need in needs if STAGE[need].per != "set"))]
    upstream += [
        relations.snapshot.sets.get(table, "")
        for need in needs
        if STAGE[need].per == "set"
        for table in STAGE[need].tables
    ]
    if stage == "references":
        upstream += [bad] if (bad := bad_references_digest(relations)) else []
    if stage == "decide":
        upstream.append(places_digest(relations))
        upstream += [said] if (said := relations.snapshot.sets.get("verdicts")) else []
    if stage == "identities":
        # Who is who by hand; other verdicts change no identity.
        upstream += [edited] if (edited := edits_digest(edits(relations))) else []
    if stage == "duplicates":
        upstream += [run.snapshot.sets["decisions"] for run in other_runs(config.duplicates.against)]
    digest = input_digest(*upstream)
    return {table: part_path(table, fingerprint, digest) for table in STAGE[stage].tables}


def rows_digest(relations: Relations, stages: tuple[str, ...]) -> str:
    """Over the committed rows of these item stages, wherever they lie: which sources, and what each follows from.

    Hashes of ids are added up, so that no order and no list of a million sources is needed.
    """
    sums: dict[str, list[int]] = {}
    for text, *numbers in relations.ledger_sums:
        lineage = lineages(Terms.from_json(text))
        total = sums.setdefault(" ".join(lineage[stage] for stage in stages), [0, 0, 0])
        sums[" ".join(lineage[stage] for stage in stages)] = [
            one + other for one, other in zip(total, numbers, strict=True)
        ]
    return input_digest(*(f"{lineage} {numbers}" for lineage, numbers in sorted(sums.items())))


def places_digest(relations: Relations) -> str:
    """Over what the locations say of the use of each source."""
    query = """WITH said AS (SELECT concat_ws('|', id, source_id, coalesce(licence, '-'), coalesce(consent, '-'))
                             AS text FROM locations)
               SELECT count(*), sum(md5_number_lower(text)::HUGEINT), sum(md5_number_upper(text)::HUGEINT) FROM said"""
    return input_digest(str(relations.connection.execute(query).fetchall()[0]))


def run_set(stage: str, files: Files, snapshot: Snapshot, config: CurateConfig) -> Snapshot:
    """The snapshot with this stage's parts in it, computed where they are missing."""
    relations = Relations(files, snapshot)
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
    return snapshot.with_set(paths).with_work(work)


def follow_verdicts(files: Files, snapshot: Snapshot, config: CurateConfig) -> Snapshot:
    """The snapshot with all verdicts in their table, and what stands on them: people, references, decisions."""
    before, snapshot = snapshot, folded(files, snapshot)
    if snapshot != before:
        was, now = (edits_digest(edits(Relations(files, one))) for one in (before, snapshot))
        for stage in OF_PEOPLE if was != now else ():
            snapshot = run_set(stage, files, snapshot, config)
    for stage in DECISIONS:
        snapshot = run_set(stage, files, snapshot, config)
    return snapshot


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


def pack_into(files: Files, snapshot: Snapshot, config: CurateConfig, *, progress: Progress = silent) -> Snapshot:
    """The snapshot with the shards of its decisions; where these are packed already, as it is."""
    paths = set_parts("pack", Relations(files, snapshot), config)
    if snapshot.sets.get("index") == paths["index"] and files.exists("shards/manifest.json"):
        return snapshot
    start, began = time.process_time(), time.monotonic()
    manifest, index = pack(
        files, snapshot, config.pack, told=lambda done, total: progress("runs of samples packed", done, total)
    )
    write_table(files, paths["index"], index)
    write_card(files, Relations(files, snapshot), config, manifest)
    work = {
        "seconds.pack": time.process_time() - start,
        "wall.pack": time.monotonic() - began,
        "computed.pack": len(manifest.shards),
    }
    return snapshot.with_set(paths).with_work(work)


def _compute(stage: str, relations: Relations, config: CurateConfig, folder: Path) -> tuple[dict[str, Path], int]:
    """Table -> a file of its rows in `folder`, and for how many items something was computed."""
    fingerprint = fingerprints(config)[stage]
    if stage in DECISIONS:
        made = decide_stage(stage, relations, config, folder, fingerprint)
        return made, relations.connection.execute("SELECT count(*) FROM clips WHERE status = 'ok'").fetchall()[0][0]
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
