"""The table `verdicts`: all that was ever said, from the table before and the journal."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.engine.removal import overlaps
from pipeline.engine.rows import About, completed
from pipeline.store.files import Files
from pipeline.store.parts import part_path, read_part, write_part
from pipeline.store.snapshots import Snapshot
from pipeline.verdicts.journal import FOLDER, journal, journal_path
from schemas.tables import TABLES

Row = dict[str, Any]

TABLE = "verdicts"
ABOUT: About = {"backend": "people", "fingerprint": FOLDER, "seconds": 0.0}
COLUMNS = ("id", *(field.name for field in TABLES[TABLE].columns))

Removed = Mapping[str, Sequence[Sequence[int]]]


def all_verdicts(files: Files, snapshot: Snapshot) -> list[Row]:
    """Every verdict, also those that are not in the table yet, but for what was taken down. Sorted by id."""
    rows = _committed(files, snapshot)
    rows.update({verdict.id: {**dict.fromkeys(COLUMNS), **verdict.row()} for verdict in journal(files, but=rows)})
    kept = (_kept(row, snapshot.removed) for _, row in sorted(rows.items()))
    return [row for row in kept if row is not None]


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
    for verdict in journal(files, but=rows):
        if _kept(verdict.row(), snapshot.removed) != verdict.row():
            yield journal_path(verdict.id)


def _committed(files: Files, snapshot: Snapshot) -> dict[str, Row]:
    if TABLE not in snapshot.sets:
        return {}
    return {row["id"]: row for row in read_part(files, snapshot.sets[TABLE]).select(COLUMNS).to_pylist()}


def _kept(row: Row, removed: Removed) -> Row | None:
    """The verdict without what was taken down; None where nothing is left of it."""
    if row["clip_id"] is not None and _gone(row["clip_id"], removed):
        return None
    if row["tracks"]:
        places = [place for place, track in enumerate(row["tracks"]) if not _gone(track, removed)]
        if not places:
            return None
        seen = row["seen"] and [row["seen"][place] for place in places]
        return {**row, "tracks": [row["tracks"][place] for place in places], "seen": seen}
    if row["details"] is not None:
        details = json.loads(row["details"])
        clips = [clip for clip in details["clips"] if not _gone(clip, removed)]
        if len(clips) < len(details["clips"]):
            return {**row, "details": json.dumps({**details, "clips": clips})}
    return row


def _gone(id_: str, removed: Removed) -> bool:
    """Whether a clip, or the clip of a track, was taken down."""
    source, start, end = id_.split("_")[:3]
    return overlaps({"start_us": int(start), "end_us": int(end)}, removed.get(source, ()))
