"""The table `verdicts`: all that was ever said, from the table before and the journal."""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from pipeline.engine.removal import overlaps
from pipeline.engine.rows import About, completed
from pipeline.store.files import Files
from pipeline.store.media import media_path
from pipeline.store.parts import part_path, read_part, write_part
from pipeline.store.relations import Relations
from pipeline.store.snapshots import Snapshot
from pipeline.verdicts.journal import FOLDER, journal, journal_path
from pipeline.verdicts.verdict import OF_PEOPLE
from schemas.tables import TABLES

Row = dict[str, Any]

TABLE = "verdicts"
ABOUT: About = {"backend": "people", "fingerprint": FOLDER, "seconds": 0.0}
COLUMNS = ("id", *(field.name for field in TABLES[TABLE].columns))

Removed = Mapping[str, Sequence[Sequence[int]]]


def all_verdicts(files: Files, snapshot: Snapshot, *, removed: Removed | None = None) -> list[Row]:
    """Every verdict, also those that are not in the table yet, but for what was taken down. Sorted by id.

    `removed`: what was taken down, where that is more than the snapshot knows of.
    """
    rows = _committed(files, snapshot)
    rows.update({verdict.id: verdict.row() for verdict in journal(files, but=rows)})
    found = _kept(rows, files, snapshot, snapshot.removed if removed is None else removed)
    return [row for _, row in sorted(found.items())]


def said_since(files: Files, snapshot: Snapshot, known: Mapping[str, Row], *, read: Collection[str]) -> dict[str, Row]:
    """Id -> verdict, of those in the journal that are neither known nor among the `read`, but for what was taken down.

    An empty value stands for a verdict of which nothing is left.
    """
    new = {verdict.id: verdict.row() for verdict in journal(files, but=read)}
    found = _kept({**known, **new}, files, snapshot, snapshot.removed) if new else {}
    return {id_: found.get(id_, {}) for id_ in new}


def folded(files: Files, snapshot: Snapshot) -> Snapshot:
    """The snapshot with every verdict in its table. The caller holds the writer's lock, and decides after that."""
    rows = all_verdicts(files, snapshot)
    if not rows and TABLE not in snapshot.sets:
        return snapshot
    digest = hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()[:16]
    path = part_path(TABLE, FOLDER, digest)
    write_part(files, TABLE, path, as_table_rows(rows))
    return snapshot.with_set({TABLE: path})


def as_table_rows(rows: list[Row]) -> list[Row]:
    """With the columns that every table has."""
    return [completed(row, **ABOUT) for row in rows]


def settled(files: Files, snapshot: Snapshot) -> Iterator[str]:
    """Files of the journal that nobody needs any more: they are in the table, or speak of what was taken down."""
    rows = _committed(files, snapshot)
    for name in files.names(FOLDER):
        if name.removesuffix(".json") in rows:
            yield f"{FOLDER}/{name}"
    left = {row["id"]: row for row in all_verdicts(files, snapshot)}
    for verdict in journal(files, but=rows):
        if left.get(verdict.id) != verdict.row():
            yield journal_path(verdict.id)


def committed_ids(files: Files, snapshot: Snapshot) -> set[str]:
    """Verdicts that the decisions of this commit heard."""
    return set(_committed(files, snapshot))


def people_edited_since(files: Files, snapshot: Snapshot) -> bool:
    """Whether somebody merged or split people, or took that back, and no decision heard it yet."""
    heard = committed_ids(files, snapshot)
    rows = {row["id"]: row for row in all_verdicts(files, snapshot)}
    edits = {id_ for id_, row in rows.items() if row["kind"] in OF_PEOPLE}
    return any(id_ in edits or rows[id_]["undoes"] in edits for id_ in rows.keys() - heard)


def _committed(files: Files, snapshot: Snapshot) -> dict[str, Row]:
    if TABLE not in snapshot.sets:
        return {}
    return {row["id"]: row for row in read_part(files, snapshot.sets[TABLE]).select(COLUMNS).to_pylist()}


def _kept(rows: Mapping[str, Row], files: Files, snapshot: Snapshot, removed: Removed) -> dict[str, Row]:
    """Id -> verdict, without what was taken down."""
    if not removed:
        return dict(rows)
    pictures = {str(row["reference"]) for row in rows.values() if row["reference"] is not None}
    lost = pictures - _shown(pictures, files, snapshot, removed) if pictures else set()
    left = {id_: cut for id_, row in rows.items() if (cut := _cut(row, removed, lost)) is not None}
    # What is left of an undo of what went is somebody's note.
    return {id_: row for id_, row in left.items() if row["kind"] != "undo" or row["undoes"] in left}


def _shown(pictures: Collection[str], files: Files, snapshot: Snapshot, removed: Removed) -> set[str]:
    """Those of the pictures that show a track which is left."""
    rows = Relations(files, snapshot).connection.execute(
        "SELECT clip_id, reference_sha256 FROM tracks WHERE list_contains(?, reference_sha256)",
        [[path.rsplit("/", 1)[-1].removesuffix(".png") for path in pictures]],
    )
    return {media_path("references", sha256) for clip, sha256 in rows.fetchall() if not _gone(clip, removed)}


def _cut(row: Row, removed: Removed, lost: Collection[str]) -> Row | None:
    """The verdict without what was taken down; None where nothing is left of it. `lost`: pictures that are gone."""
    if (row["clip_id"] is not None and _gone(row["clip_id"], removed)) or row["reference"] in lost:
        return None
    if row["tracks"]:
        places = [place for place, track in enumerate(row["tracks"]) if not _gone(track, removed)]
        if len(places) == len(row["tracks"]):
            return row
        # One person is no merge any more.
        if len(places) < (2 if row["kind"] == "merge" else 1):
            return None
        # The note may tell of who is gone.
        return {**row, "note": "", **{name: [row[name][place] for place in places] for name in ("tracks", "seen")}}
    if row["details"] is not None:
        details = json.loads(row["details"])
        clips = [clip for clip in details["clips"] if not _gone(clip, removed)]
        if len(clips) < len(details["clips"]):
            return {**row, "note": "", "details": json.dumps({**details, "clips": clips})}
    return row


def _gone(id_: str, removed: Removed) -> bool:
    """Whether a clip, or the clip of a track, was taken down."""
    source, start, end = id_.split("_")[:3]
    return overlaps({"start_us": int(start), "end_us": int(end)}, removed.get(source, ()))
