"""Reference candidates: for each track, pictures of the same person from other shots, unfiltered."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.backends.face_detector import Box
from pipeline.backends.looks import Looks, colour_distance, looks_of
from pipeline.decide.components import components
from pipeline.stage import Row, SetRows
from pipeline.stages.identities import embeddings
from pipeline.stages.options.candidates import VERSION, CandidatesConfig

BACKEND = f"exact/{VERSION}"

FACTS = (
    "id", "clip_id", "source_id", "shot_id", "track", "size", "sharpness", "luma", "yaw_deg",
    "reference_frame", "reference_box", "reference_face", "reference_sha256",
)  # fmt: skip
"""What is looked at of a track, beside its descriptor."""
BLOCK = 512
"""Tracks compared with all others of their person at once."""
DIGITS = 6
"""Of a similarity: what lies beyond depends on the order in which a processor adds."""
PICTURES_HELD = 4096
FAR_DEG = 45.0
"""Between two views of a head that count as altogether different."""


def retrieve(
    people: Iterable[pa.Table],
    copies: Iterable[tuple[str, str]],
    *,
    read: Callable[[str], bytes],
    config: CandidatesConfig,
    before: Collection[str] = (),
) -> Iterator[SetRows]:
    """Rows of `candidates`, a person at a time: for each track the most similar tracks of the same identity, one
    reference picture each. Compared is every track with every other of its person, and no other.

    Never from the track's own shot, nor from a shot of which any clip copies one of its own: that is the same shot in
    another file. From the same source first, then from others. A track
    whose person is seen nowhere else has none. `differs` says how unlike track and candidate are: `pose_deg`, the
    difference of their yaw; `light`, of the brightness of their faces (0 to 1); `background` and `clothing`, of the
    colours beside the head and below it (0 to 1, see `pipeline.backends.looks`).

    Args:
        people: the tracks of one identity each, sorted by id: `FACTS`, `embedding` (of length 1) and `identity`.
        copies: (shot, group) of clips that are copies of each other; clips of one group are.
        read: the bytes at a path under the run.
        config: how many.
        before: `inputs` of the rows that this function gave for an earlier state. Of people whose tracks and copies
            are as they were, these are kept instead of made again.
    """
    same = _same_shots(copies)
    for person in people:
        vectors_nd = embeddings(person)
        tracks = person.select(FACTS).to_pylist()
        families = [same.get(track["shot_id"], [track["shot_id"]]) for track in tracks]
        if len({family[0] for family in families}) == 1:
            continue
        inputs = _inputs(person["identity"][0].as_py(), tracks, families, vectors_nd)
        if inputs in before:
            yield SetRows(kept=(inputs,))
            continue
        looks = lru_cache(PICTURES_HELD)(lambda path, shown, face: looks_of(read(path), shown, face))
        rows = [
            {**_row(tracks[place], tracks[other], rank, similarity, looks), "inputs": inputs}
            for place, found in enumerate(_ranked(tracks, families, vectors_nd, config.limit))
            for rank, (other, similarity) in enumerate(found)
        ]
        yield SetRows(rows=rows, computed=len(tracks))


def _same_shots(copies: Iterable[tuple[str, str]]) -> Mapping[str, list[str]]:
    """Shot -> itself and its copies, sorted, also by way of others; for shots that have any."""
    links = [(shot, group) for shot, group in copies]
    shots = sorted({shot for shot, _ in links})
    first = components(shots, links)
    members: dict[str, list[str]] = defaultdict(list)
    for shot in shots:
        members[first[shot]].append(shot)
    return {shot: members[first[shot]] for shot in shots}


def _inputs(person: str, tracks: list[Row], families: list[list[str]], vectors_nd: NDArray[np.float32]) -> str:
    """Digest of all that the candidates of an identity follow from."""
    said = hashlib.blake2b(person.encode(), digest_size=8)
    for track, family, vector_d in zip(tracks, families, vectors_nd, strict=True):
        said.update(f"{track} {family}".encode() + vector_d.tobytes())
    return said.hexdigest()


def _ranked(
    tracks: list[Row], families: list[list[str]], vectors_nd: NDArray[np.float32], limit: int
) -> Iterator[list[tuple[int, float]]]:
    """For each track at most `limit` others, with their similarities: of the same source first, then of others, each
    the most similar first, then by id."""
    numbers = {family[0]: number for number, family in enumerate(families)}
    shots = np.array([numbers[family[0]] for family in families])
    sources = np.array([track["source_id"] for track in tracks])
    # In double precision, so that the digits that count do not depend on how many are compared at once.
    vectors = vectors_nd.astype(np.float64)
    for first in range(0, len(tracks), BLOCK):
        similar = np.round(vectors[first : first + BLOCK] @ vectors.T, DIGITS)
        for place, row in enumerate(similar, first):
            elsewhere = shots != shots[place]
            own = sources == sources[place]
            found = [*_best(row, elsewhere & own, limit), *_best(row, elsewhere & ~own, limit)]
            yield [(other, float(row[other])) for other in found[:limit]]


def _best(similar_n: NDArray[np.float64], allowed_n: NDArray[np.bool_], limit: int) -> list[int]:
    """The places of the `limit` largest of those allowed, the largest first, then in order."""
    places = np.flatnonzero(allowed_n)
    values = similar_n[places]
    if len(places) > limit:
        enough = values >= np.partition(values, -limit)[-limit]
        places, values = places[enough], values[enough]
    return [int(place) for place in places[np.argsort(-values, kind="stable")][:limit]]


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
