"""Identities merged and split by hand."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pipeline.stage import Row, SetRows
from pipeline.store.relations import Relations
from pipeline.verdicts.standing import EDITS


@dataclass(frozen=True, kw_only=True)
class Edit:
    """merge: the people of these tracks are one. split: these tracks are a person of their own.

    `seen`: for each track the digest of what it showed; a track that shows something else now is left alone.
    """

    kind: str
    tracks: list[str]
    seen: list[str]


def edits(relations: Relations) -> list[Edit]:
    """Those that stand, in the order in which they were made."""
    rows = relations.connection.execute(EDITS).fetchall()
    return [Edit(kind=kind, tracks=tracks, seen=seen) for kind, tracks, seen in rows]


def edits_digest(found: list[Edit]) -> str:
    """Of all that the identities follow from beside the tracks; empty where nothing was edited."""
    if not found:
        return ""
    text = json.dumps([[edit.kind, edit.tracks, edit.seen] for edit in found])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def by_hand(clustered: Iterable[SetRows], found: list[Edit]) -> Iterator[SetRows]:
    """Rows of `identities` after the edits. Only where there are any are all rows held at once."""
    if not found:
        yield from clustered
        return
    pieces = list(clustered)
    rows = [row for piece in pieces for row in piece.rows]
    yield SetRows(rows=edited(rows, found), computed=sum(piece.computed for piece in pieces))


def edited(rows: list[Row], found: list[Edit]) -> list[Row]:
    """The same rows after the edits; `clustered` is what was computed, where that is something else."""
    seen = {row["id"]: row["seen"] for row in rows}
    person = {row["id"]: row["identity"] for row in rows}
    tracks: dict[str, set[str]] = {}
    for track, name in person.items():
        tracks.setdefault(name, set()).add(track)
    for edit in found:
        meant = [track for track, digest in zip(edit.tracks, edit.seen, strict=True) if _same(seen, track, digest)]
        people = {person[track] for track in meant}
        if edit.kind == "merge":
            groups = [set().union(*(tracks[name] for name in people))] if len(people) > 1 else []
        else:
            rest = [tracks[name] - set(meant) for name in sorted(people)]
            groups = [set(meant), *(group for group in rest if group)] if meant else []
        if groups:
            for name in people:
                del tracks[name]
        for group in groups:
            name = _name(group)
            tracks[name] = group
            person.update(dict.fromkeys(group, name))
    return [
        {**row, "identity": person[row["id"]], "clustered": row["identity"] if changed else None}
        for row in rows
        for changed in [person[row["id"]] != row["identity"]]
    ]


def _same(seen: dict[str, str | None], track: str, digest: str) -> bool:
    return bool(digest) and seen.get(track) == digest


def _name(group: set[str]) -> str:
    """As `pipeline.stages.identities` names a person, so that no two have one name."""
    return f"p_{hashlib.sha256(min(group).encode()).hexdigest()[:12]}"
