"""Takedown: a source, a person or a sample leaves the run, and does not come back.

Rows are taken out of the parts of the sources concerned, without measuring anything again; the set stages, the
decisions and the shards follow from what is left, so that reference pictures of a person vanish from other samples
too and untouched shards keep their bytes. Then everything that no commit needs any more is deleted.
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import CurateConfig
from pipeline.engine import attempts
from pipeline.engine.clean import leftovers
from pipeline.engine.commits import with_sources
from pipeline.engine.curate import run_sets
from pipeline.engine.fetching import sweep_fetching
from pipeline.engine.pending import ledger, rows_of_sources
from pipeline.engine.plan import Terms
from pipeline.engine.removal import overlaps
from pipeline.engine.state import UNFINISHED, refuse_stale, refuse_unfinished
from pipeline.stage import Row
from pipeline.stages.crawl import NO_VERSION, version_id
from pipeline.store.bundles import homes, merged
from pipeline.store.files import Files
from pipeline.store.relations import Relations
from pipeline.store.snapshots import ALL, Snapshot, commit
from pipeline.verdicts.fold import people_edited_since
from schemas.errors import UserError


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

    A person leaves with every shot that shows one of that person's tracks; others in these shots leave with them.

    Raises UserError where the run knows no such thing, several are named, or a person whose tracks are about to change.
    """
    if source is identity is sample is None:
        if not files.exists(UNFINISHED):
            raise UserError("name one of --source, --identity and --sample")
        if json.loads(files.read(UNFINISHED))["base"] == snapshot.number:
            files.remove(UNFINISHED)
            raise UserError("that takedown was interrupted before it removed anything; give it again, with its names")
        return _finish(files, snapshot, config, Removed(snapshot=snapshot, sources=0, clips=0, files=0, copies=[]))
    refuse_unfinished(files)
    relations = Relations(files, snapshot)
    refuse_stale(relations, config)
    if identity is not None and people_edited_since(files, snapshot):
        raise UserError(
            f"people were merged or split by hand since the last decisions: give 'humo decide {files.root}' first, and "
            "then the person by the name that 'humo trace' shows"
        )
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


def _finish(files: Files, snapshot: Snapshot, config: CurateConfig, removed: Removed) -> Removed:
    """All that follows from the rows. A kill in here leaves the mark, and everything is done again."""
    whole = commit(files, snapshot, merged(files, snapshot, every_dropped=True))
    new = run_sets(files, whole, config)
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
    """The clips to remove, each with the span that must not come back: of a person the whole shot, however cut."""
    named = [name for name in (source, identity, sample) if name is not None]
    if len(named) > 1:
        raise UserError("name one of --source, --identity and --sample, not several")
    columns = ("id", "source_id", "start_us", "end_us")
    query = f"SELECT {', '.join(columns)} FROM clips WHERE status = 'ok' AND "
    if identity is not None:
        query = """SELECT clips.id, clips.source_id, shots.start_us, shots.end_us
                   FROM clips JOIN shots ON shots.id = clips.shot_id WHERE clips.status = 'ok' AND clips.shot_id IN
                   (SELECT shot_id FROM clips JOIN identities ON identities.clip_id = clips.id WHERE identity = ?)
                   ORDER BY clips.id"""
    else:
        query += ("id = ?" if sample is not None else "source_id = ?") + " ORDER BY id"
    rows = relations.connection.execute(query, named).fetchall()
    clips = [dict(zip(columns, row, strict=True)) for row in rows]
    known = "SELECT count(*) FROM locations WHERE source_id = ?"
    if not clips and not (source is not None and relations.connection.execute(known, named).fetchall()[0][0]):
        raise UserError(f"{relations.files.root} holds no such source, identity or sample: {named[0]}")
    return clips


def _copies(relations: Relations, gone: set[str]) -> list[str]:
    rows = relations.connection.execute('SELECT id, "group" FROM duplicates WHERE "group" IS NOT NULL').fetchall()
    groups = {group for id_, group in rows if id_ in gone}
    return sorted(id_ for id_, group in rows if group in groups and id_ not in gone)


def _without_source(files: Files, snapshot: Snapshot, source: str) -> Snapshot:
    query = "SELECT id, uri, etag FROM locations WHERE source_id = ?"
    rows = Relations(files, snapshot).connection.execute(query, [source]).fetchall()
    places = homes(snapshot, files, "locations", [id_ for id_, _, _ in rows])
    versions = {version_id(uri, etag): [ALL] for _, uri, etag in rows if etag != NO_VERSION}
    left = snapshot.dropping(homes(snapshot, files, "ledger", [source])).dropping(places)
    return replace(left, removed={**snapshot.removed, **versions, source: [ALL]})


def _without_clips(files: Files, snapshot: Snapshot, clips: list[Row]) -> Snapshot:
    spans: dict[str, list[list[int]]] = defaultdict(list)
    for clip in clips:
        span = [clip["start_us"], clip["end_us"]]
        if span not in spans[clip["source_id"]]:
            spans[clip["source_id"]].append(span)
    removed = {source: sorted([*snapshot.removed.get(source, []), *new]) for source, new in spans.items()}
    return without_spans(files, snapshot, removed)


def without_spans(files: Files, snapshot: Snapshot, removed: Mapping[str, list[list[int]]]) -> Snapshot:
    """The sources' rows as the passes would have made them had clips of these spans never been made.

    `removed`: source -> all spans of it that are taken down from now on, sorted.
    """
    new = replace(snapshot, removed={**snapshot.removed, **removed})
    for name, sources in homes(snapshot, files, "ledger", removed).items():
        tables = rows_of_sources(files, snapshot.bundles[name].parts, sources)
        terms = {row["id"]: Terms.from_json(row["terms"]) for row in tables["ledger"].to_pylist()}
        clips_here = (row for row in tables["clips"].to_pylist() if row["status"] == "ok")
        gone = {row["id"] for row in clips_here if overlaps(row, removed[row["source_id"]])}
        left = {table: _but_clips(rows, gone) for table, rows in tables.items()}
        left["ledger"] = ledger({id_: replace(found, removed=removed[id_]) for id_, found in terms.items()})
        new = with_sources(files, new, left, sources)
    return new


def _but_clips(rows: pa.Table, gone: set[str]) -> pa.Table:
    own = rows["clip_id"] if "clip_id" in rows.column_names else rows["id"]
    return rows.filter(pc.invert(pc.is_in(own, pa.array(sorted(gone), pa.string()))))
