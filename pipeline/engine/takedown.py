"""Takedown: a source, a person or a sample leaves the run, and does not come back.

Rows are taken out of the parts of the sources concerned, without measuring anything again; the set stages, the
decisions and the shards follow from what is left, so that reference pictures of a person vanish from other samples
too and untouched shards keep their bytes. Then everything that no commit needs any more is deleted.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pipeline.config import CurateConfig
from pipeline.engine import attempts
from pipeline.engine.clean import leftovers
from pipeline.engine.curate import run_sets
from pipeline.engine.fetching import sweep_fetching
from pipeline.engine.fingerprint import input_digest
from pipeline.engine.plan import clips_part_of, unit_parts
from pipeline.engine.removal import overlaps
from pipeline.engine.sets import set_parts
from pipeline.engine.unit import CLIPS_PER_UNIT
from pipeline.flow import CUT, MEASURE, SETS, STAGE
from pipeline.stage import Row
from pipeline.stages.crawl import version_id
from pipeline.store.files import Files
from pipeline.store.parts import part_path, read_part, write_part
from pipeline.store.relations import Relations
from pipeline.store.snapshots import ALL, Snapshot, commit
from schemas.errors import UserError

UNFINISHED = "takedowns/unfinished.json"
"""There from before anything is removed until everything is."""


@dataclass(frozen=True, kw_only=True)
class Removed:
    """What a takedown took out. `copies`: clips left in the run that are copies of removed ones."""

    snapshot: Snapshot
    sources: int
    clips: int
    files: int
    copies: list[str]


def take_down(
    files: Files,
    snapshot: Snapshot,
    config: CurateConfig,
    *,
    source: str | None = None,
    identity: str | None = None,
    sample: str | None = None,
) -> Removed:
    """Remove one of these; with none, go on with a takedown that was interrupted. The caller holds the writer's lock.

    A person leaves with every clip that shows one of that person's tracks; others in these clips leave with them.

    Raises UserError where the run knows no such thing, or several are named.
    """
    if source is identity is sample is None:
        if not files.exists(UNFINISHED):
            raise UserError("name one of --source, --identity and --sample")
        if json.loads(files.read(UNFINISHED))["base"] == snapshot.number:
            files.remove(UNFINISHED)
            raise UserError("that takedown was interrupted before it removed anything; give it again, with its names")
        return _finish(files, snapshot, config, Removed(snapshot=snapshot, sources=0, clips=0, files=0, copies=[]))
    refuse_unfinished(files)
    refuse_stale(files, snapshot, config)
    relations = Relations(files, snapshot)
    clips = _clips_of(relations, source=source, identity=identity, sample=sample)
    gone = {row["id"] for row in clips}
    copies = _copies(relations, gone)
    new = _without_clips(files, snapshot, clips) if source is None else _without_source(files, snapshot, source)
    what = "source" if source is not None else "identity" if identity is not None else "sample"
    at = datetime.now(UTC).isoformat(timespec="seconds")
    record = {"what": what, "clips": len(gone), "at": at, "base": snapshot.number}
    files.create(UNFINISHED, json.dumps(record).encode())
    removed = Removed(snapshot=new, sources=int(source is not None), clips=len(gone), files=0, copies=copies)
    return _finish(files, commit(files, snapshot, new), config, removed)


def refuse_unfinished(files: Files) -> None:
    """Raises UserError where a takedown was interrupted: what it was to remove may still lie in the run."""
    if files.exists(UNFINISHED):
        raise UserError(f"a takedown was interrupted; give 'humo takedown {files.root}' first, which ends it")


def refuse_stale(files: Files, snapshot: Snapshot, config: CurateConfig) -> None:
    """Raises UserError where set tables are not those of the committed rows, as after an interrupted curation."""
    for stage in SETS:
        if set(set_parts(stage, snapshot, config).values()) != {
            path for table in STAGE[stage].tables for path in snapshot.paths(table)
        }:
            raise UserError(f"a curation was interrupted; give 'humo curate --out {files.root}' first, which ends it")


def _finish(files: Files, snapshot: Snapshot, config: CurateConfig, removed: Removed) -> Removed:
    """All that follows from the rows. A kill in here leaves the mark, and everything is done again."""
    new = run_sets(files, snapshot, config)
    files.sweep()
    files.sweep(attempts.FOLDER)
    sweep_fetching(files)
    deleted = 0
    for path in [*leftovers(files, new, keep_manifests=1), *files.walk("report")]:
        files.remove(path)
        deleted += 1
    files.create(f"takedowns/{new.number:08d}.json", files.read(UNFINISHED))
    files.remove(UNFINISHED)
    return replace(removed, snapshot=new, files=deleted)


def _clips_of(relations: Relations, *, source: str | None, identity: str | None, sample: str | None) -> list[Row]:
    named = [name for name in (source, identity, sample) if name is not None]
    if len(named) > 1:
        raise UserError("name one of --source, --identity and --sample, not several")
    columns = "SELECT id, source_id, start_us, end_us FROM clips WHERE status = 'ok' AND "
    if identity is not None:
        where = "id IN (SELECT clip_id FROM identities WHERE identity = ?)"
    else:
        where = "id = ?" if sample is not None else "source_id = ?"
    cursor = relations.connection.execute(f"{columns}{where} ORDER BY id", named)
    clips = [dict(zip(("id", "source_id", "start_us", "end_us"), row, strict=True)) for row in cursor.fetchall()]
    known = "SELECT count(*) FROM locations WHERE source_id = ?"
    if not clips and not (source is not None and relations.connection.execute(known, named).fetchall()[0][0]):
        raise UserError(f"{relations.files.root} holds no such source, identity or sample: {named[0]}")
    return clips


def _copies(relations: Relations, gone: set[str]) -> list[str]:
    rows = relations.connection.execute('SELECT id, "group" FROM duplicates WHERE "group" IS NOT NULL').fetchall()
    groups = {group for id_, group in rows if id_ in gone}
    return sorted(id_ for id_, group in rows if group in groups and id_ not in gone)


def _without_source(files: Files, snapshot: Snapshot, source: str) -> Snapshot:
    parts = {
        table: {group: paths for group, paths in groups.items() if group != source}
        for table, groups in snapshot.parts.items()
    }
    removed = {source: [ALL]}
    for group, paths in list(parts.get("locations", {}).items()):
        rows = [row for path in paths for row in read_part(files, path).to_pylist()]
        removed |= {version_id(row["uri"], row["etag"]): [ALL] for row in rows if row["source_id"] == source}
        left = _filtered(files, "locations", paths, lambda row: row["source_id"] != source)
        if left:
            parts["locations"][group] = left
        else:
            del parts["locations"][group]
    return replace(snapshot, parts=parts, removed={**snapshot.removed, **removed})


def _filtered(files: Files, table: str, paths: Iterable[str], stays: Callable[[Row], bool]) -> list[str]:
    """The parts with only the rows that stay; a part that loses none is itself."""
    kept: list[str] = []
    for path in paths:
        rows = read_part(files, path).to_pylist()
        left = [row for row in rows if stays(row)]
        if len(left) < len(rows):
            path = part_path(table, path.split("/")[2], input_digest(path, *(row["id"] for row in left)))
            write_part(files, table, path, left)
        if left:
            kept.append(path)
    return kept


def _without_clips(files: Files, snapshot: Snapshot, clips: list[Row]) -> Snapshot:
    spans: dict[str, list[list[int]]] = defaultdict(list)
    for clip in clips:
        spans[clip["source_id"]].append([clip["start_us"], clip["end_us"]])
    removed = {source: sorted([*snapshot.removed.get(source, []), *new]) for source, new in spans.items()}
    done = {source: _rewritten(files, snapshot, source, all_spans) for source, all_spans in removed.items()}
    new = snapshot.with_sources(done)
    locations = _without_copies(files, snapshot, set(removed))
    return replace(new, parts={**new.parts, "locations": locations}, removed={**snapshot.removed, **removed})


def _without_copies(files: Files, snapshot: Snapshot, sources: set[str]) -> dict[str, list[str]]:
    """The places, of which these sources' fetched files, which show what was removed, are kept no more."""
    groups = dict(snapshot.parts.get("locations", {}))
    for group, paths in groups.items():
        rows = [row for path in paths for row in read_part(files, path).to_pylist()]
        changed = {row["id"] for row in rows if row["source_id"] in sources and row["media_sha256"]}
        if changed:
            digest = input_digest(*paths, "without copies", *sorted(changed))
            path = part_path("locations", paths[0].split("/")[2], digest)
            left = [{**row, "media_sha256": None} if row["id"] in changed else row for row in rows]
            write_part(files, "locations", path, left)
            groups[group] = [path]
    return groups


def _rewritten(files: Files, snapshot: Snapshot, source: str, removed: list[list[int]]) -> dict[str, list[str]]:
    """The source's parts as the passes would name them if they had never made these clips."""
    tables = [table for name in (*CUT, *MEASURE) for table in STAGE[name].tables]
    current = {table: snapshot.parts[table][source] for table in tables if source in snapshot.parts.get(table, {})}
    prints = {name: current[STAGE[name].tables[0]][0].split("/")[2] for name in (*CUT, *MEASURE)}
    retries = snapshot.retries.get(source, {})
    rows = {
        table: [row for path in paths for row in read_part(files, path).to_pylist()] for table, paths in current.items()
    }
    clips = [row for row in rows["clips"] if row["status"] != "ok" or not overlaps(row, removed)]
    clips_part = clips_part_of(current["shots"][0], prints, retries, removed)
    write_part(files, "clips", clips_part, clips)
    parts = {table: current[table] for table in STAGE["shots"].tables} | {"clips": [clips_part]}
    left = sorted((row for row in clips if row["status"] == "ok"), key=lambda row: row["start_us"])
    for start in range(0, len(left), CLIPS_PER_UNIT):
        unit = {row["id"] for row in left[start : start + CLIPS_PER_UNIT]}
        for table, path in unit_parts(clips_part, start, prints, retries).items():
            write_part(files, table, path, [row for row in rows[table] if row.get("clip_id", row["id"]) in unit])
            parts.setdefault(table, []).append(path)
    return parts
