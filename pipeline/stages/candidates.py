"""Reference candidates: for each track, pictures of the same person from other shots, unfiltered."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from pipeline.backends import vector_index
from pipeline.backends.face_detector import Box
from pipeline.backends.looks import Looks, colour_distance, looks_of
from pipeline.backends.vector_index import Found, VectorIndex, quoted
from pipeline.decide.components import components
from pipeline.stage import Row, SetRows
from pipeline.stages.identities import embeddings
from schemas.configuration import Configuration

VERSION = 4
BACKEND = f"{vector_index.BACKEND}/{VERSION}"

FACTS = (
    "id", "clip_id", "source_id", "shot_id", "track", "size", "sharpness", "luma", "yaw_deg",
    "reference_frame", "reference_box", "reference_face", "reference_sha256",
)  # fmt: skip
"""Columns of a track that are held in memory."""
PICTURES_HELD = 4096
FAR_DEG = 45.0
"""Between two views of a head that count as altogether different."""


class CandidatesConfig(Configuration):
    """How many candidates are stored. Bounds on similarity, size and quality are applied later, when deciding."""

    limit: int = Field(default=16, ge=1, description="Candidates of each track, most similar first")


def retrieve(
    tracks: Iterable[pa.Table],
    identities: Iterable[Row],
    duplicates: Iterable[Row],
    *,
    folder: Path,
    read: Callable[[str], bytes],
    config: CandidatesConfig,
    before: Iterable[Row] = (),
) -> SetRows:
    """Rows of `candidates`: for each track the most similar tracks of the same identity, one reference picture each.

    Never from the track's own shot, nor from a shot of which any clip copies one of its own: that is the same shot in
    another file. From the same source first, then from others. A track
    whose person is seen nowhere else has none. `differs` says how unlike track and candidate are: `pose_deg`, the
    difference of their yaw; `light`, of the brightness of their faces (0 to 1); `background` and `clothing`, of the
    colours beside the head and below it (0 to 1, see `pipeline.backends.looks`).

    Args:
        tracks: the table `tracks` in pieces, in any order.
        identities: rows with id (of a track) and identity.
        duplicates: rows with id (of a clip) and group; clips of one group are copies of each other.
        folder: an empty folder for the index.
        read: the bytes at a path under the run.
        config: how many.
        before: rows that this function gave for an earlier state; those of identities whose tracks and copies are as
            they were are taken over. They change how long it takes, and nothing else.
    """
    identity = {row["id"]: row["identity"] for row in identities}
    group = {row["id"]: row.get("group") for row in duplicates}
    facts: list[Row] = []
    digests: list[bytes] = []
    index: VectorIndex | None = None
    for piece in tracks:
        piece = piece.filter(piece["embedding"].is_valid())
        rows = piece.select(FACTS).to_pylist()
        if not rows:
            continue
        vectors = embeddings(piece)
        index = index or VectorIndex(folder, dimension=vectors.shape[1], columns=_COLUMNS)
        columns = {
            "identity": [identity[row["id"]] for row in rows],
            "source_id": [row["source_id"] for row in rows],
            "shot_id": [row["shot_id"] for row in rows],
        }
        index.add(vectors, columns)
        facts += rows
        for row, vector in zip(rows, vectors, strict=True):
            digests.append(hashlib.blake2b(f"{row}".encode() + vector.tobytes()).digest())
    if index is None:
        return SetRows(rows=[], computed=0)
    index.speed_up("identity")
    same = _same_shots(facts, group)
    looks = lru_cache(PICTURES_HELD)(lambda path, shown, face: looks_of(read(path), shown, face))
    vectors = index.vectors()
    people: dict[str, list[int]] = defaultdict(list)
    for place in sorted(range(len(facts)), key=lambda place: str(facts[place]["id"])):
        people[identity[facts[place]["id"]]].append(place)
    earlier: dict[str, list[Row]] = defaultdict(list)
    for row in before:
        earlier[row["inputs"]].append(row)
    result: list[Row] = []
    computed = 0
    for person, places in people.items():
        if len({same[facts[place]["shot_id"]][0] for place in places}) == 1:
            continue
        families = [f"{same[facts[place]['shot_id']]}".encode() for place in places]
        whole = b"".join([digests[place] + family for place, family in zip(places, families, strict=True)])
        inputs = hashlib.blake2b(person.encode() + whole, digest_size=8).hexdigest()
        if inputs in earlier:
            result += earlier[inputs]
            continue
        computed += len(places)
        for place in places:
            track = facts[place]
            others = ", ".join(quoted(shot) for shot in same[track["shot_id"]])
            allowed = f"identity = {quoted(person)} AND shot_id NOT IN ({others})"
            found = _search(index, vectors[place], allowed, track["source_id"], facts, config.limit)
            for rank, (other, similarity) in enumerate(found):
                result.append({**_row(track, facts[other], rank, similarity, looks), "inputs": inputs})
    return SetRows(rows=sorted(result, key=lambda row: str(row["id"])), computed=computed)


def _same_shots(facts: list[Row], group: dict[str, str | None]) -> dict[str, list[str]]:
    """Shot -> itself and its copies, also by way of others."""
    shots = sorted({fact["shot_id"] for fact in facts})
    links = [(fact["shot_id"], copies) for fact in facts if (copies := group.get(fact["clip_id"])) is not None]
    first = components(shots, links)
    members: dict[str, list[str]] = defaultdict(list)
    for shot in shots:
        members[first[shot]].append(shot)
    return {shot: members[first[shot]] for shot in shots}


def _search(
    index: VectorIndex, vector_d: NDArray[np.float32], allowed: str, source_id: str, facts: list[Row], limit: int
) -> Found:
    """At most `limit`: of the same source first, then of others, each the most similar first, then by id."""
    best: Found = []
    for where in (f"source_id = {quoted(source_id)}", f"source_id <> {quoted(source_id)}"):
        if len(best) < limit:
            # Twice as many, so that among equally similar ones the id decides and not the search.
            found = index.nearest(vector_d, limit=2 * limit, where=f"{allowed} AND {where}")
            best += sorted(found, key=lambda pair: (-pair[1], str(facts[pair[0]]["id"])))
    return best[:limit]


def _row(track: Row, other: Row, rank: int, similarity: float, looks: Callable[[str, Box, Box], Looks]) -> Row:
    one, two = (
        looks(reference_path(each["reference_sha256"]), tuple(each["reference_box"]), tuple(each["reference_face"]))
        for each in (track, other)
    )
    differs = {
        "pose_deg": _apart(track["yaw_deg"], other["yaw_deg"]),
        "light": _apart(track["luma"], other["luma"]),
        "background": colour_distance(one.background, two.background),
        "clothing": colour_distance(one.clothing, two.clothing),
    }
    return {
        "id": f"{track['id']}_c{rank}",
        "clip_id": track["clip_id"],
        "track": track["track"],
        "rank": rank,
        "reference_clip_id": other["clip_id"],
        "reference_track": other["track"],
        "frame": other["reference_frame"],
        "similarity": similarity,
        "box": other["reference_box"],
        "size": other["size"],
        "sharpness": other["sharpness"],
        "differs": differs,
        "difference": difference(differs),
        "file": reference_path(other["reference_sha256"]),
    }


def difference(differs: dict[str, float | None]) -> float:
    """How unlike two pictures are, 0 to 1: the mean over the four; a pose 45 degrees off or more is 1, unknown is 0."""
    pose = min((differs["pose_deg"] or 0.0) / FAR_DEG, 1.0)
    return (pose + sum(differs[name] or 0.0 for name in ("light", "background", "clothing"))) / 4


def reference_path(sha256: str) -> str:
    """Where a reference picture lies under the run."""
    return f"media/references/{sha256[:2]}/{sha256}.png"


def _apart(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else abs(one - other)


_COLUMNS = pa.schema([(name, pa.string()) for name in ("identity", "source_id", "shot_id")])
