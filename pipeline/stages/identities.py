"""Identities: tracks of one person joined across shots and sources."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from pipeline.backends import vector_index
from pipeline.backends.vector_index import VectorIndex
from pipeline.decide.components import components
from pipeline.stage import Row, SetRows
from schemas.configuration import Configuration

VERSION = 3
BACKEND = f"centroid linkage, {vector_index.BACKEND}/{VERSION}"


class IdentitiesConfig(Configuration):
    """When two tracks are one person. Similarity is the cosine of their identity descriptors."""

    classical: float = Field(
        default=0.87, ge=-1, le=1, description="Least similarity with the descriptor classical, which is weak"
    )
    sface: float = Field(default=0.363, ge=-1, le=1, description="Least similarity with the descriptor sface")
    arcface: float = Field(default=0.4, ge=-1, le=1, description="Least similarity with the descriptor arcface")
    neighbours: int = Field(default=32, ge=2, description="Most similar tracks that each track is compared with")
    index: Literal["exact", "ivf"] = Field(
        default="exact",
        description="exact: every track is compared with every other, which takes hours from some 200,000 tracks on; "
        "ivf: by an index, which finds nearly all of the most similar ones",
    )
    probes: int = Field(default=24, ge=1, description="With ivf: of sqrt(tracks) partitions, how many are looked at")

    def threshold(self, descriptor: str) -> float:
        """Least similarity with a descriptor, by its name in `faces.descriptor`."""
        return float({"classical": self.classical, "sface": self.sface, "arcface": self.arcface}[descriptor])


_COLUMNS = ["id", "clip_id", "track", "first_frame", "last_frame"]
BLOCK = 4096
"""Tracks compared at once."""


@dataclass(frozen=True, kw_only=True)
class _Span:
    """Where a track is seen."""

    id: str
    clip_id: str
    track: int
    first_frame: int
    last_frame: int
    seen: str


def cluster(
    tracks: Iterable[pa.Table],
    *,
    descriptor: str,
    folder: Path,
    config: IdentitiesConfig,
    before: Iterable[Row] = (),
) -> SetRows:
    """A row of `identities` for each track, sorted by id.

    The most similar pairs are joined first. Two groups become one where their mean descriptors are similar enough, and
    where nobody of one is seen together with somebody of the other: tracks that share frames of a clip are different
    people. An identity is named `p_` and the first 12 hex digits of the SHA-256 of its smallest track id, so that the
    result depends on nothing but the set of tracks.

    Args:
        tracks: the table `tracks` in pieces, in any order. A track without a descriptor is a person of its own.
        descriptor: what made the embeddings, as `faces.descriptor` names it.
        folder: an empty folder for the index.
        config: thresholds.
        before: rows that this function gave for an earlier state. Only components of tracks alike that a new, changed
            or vanished track touches are joined anew. They change how long it takes, and nothing else.
    """
    spans: list[_Span] = []
    loose: list[_Span] = []
    index: VectorIndex | None = None
    for piece in tracks:
        known = np.array(piece["embedding"].is_valid().to_pylist(), dtype=bool)
        vectors = embeddings(piece)
        vector = iter(vectors)
        for row, has in zip(piece.select(_COLUMNS).to_pylist(), known, strict=True):
            (spans if has else loose).append(_Span(**row, seen=_seen(row, next(vector)) if has else ""))
        if len(vectors):
            index = index or VectorIndex(folder, dimension=vectors.shape[1])
            index.add(vectors)
    least = config.threshold(descriptor)
    rows = {span.id: _row(span, [span], span.id) for span in loose}
    anew: list[int] = []
    if index is not None:
        earlier = {row["id"]: row for row in before if row["seen"]}
        anew = _touched(spans, index.vectors(), earlier, least)
        again = {spans[place].id for place in anew}
        rows.update({span.id: earlier[span.id] for span in spans if span.id not in again})
        if config.index == "ivf" and anew:
            index.partition(config.probes)
        groups = _Groups(spans, index.vectors(), least)
        pairs = list(_pairs(index, spans, anew, least, config.neighbours))
        for one, other in pairs:
            groups.join(one, other)
        members: dict[int, list[_Span]] = defaultdict(list)
        for place in anew:
            members[groups.root(place)].append(spans[place])
        component = components([spans[place].id for place in anew], _links(spans, pairs))
        rows.update({span.id: _row(span, person, component[span.id]) for person in members.values() for span in person})
    return SetRows(rows=[rows[id_] for id_ in sorted(rows)], computed=len(anew))


def _row(span: _Span, person: list[_Span], component: str) -> Row:
    return {
        "id": span.id,
        "clip_id": span.clip_id,
        "track": span.track,
        "identity": _name(person),
        "component": component,
        "seen": span.seen,
    }


def _seen(row: Row, vector_d: NDArray[np.float32]) -> str:
    """Over all that is looked at of a track."""
    said = f"{row['clip_id']} {row['track']} {row['first_frame']} {row['last_frame']}".encode()
    return hashlib.blake2b(said + vector_d.tobytes(), digest_size=8).hexdigest()


def _touched(
    spans: list[_Span], vectors_nd: NDArray[np.float32], earlier: Mapping[str, Row], least: float
) -> list[int]:
    """Places of the tracks to be joined anew: those not seen before, and whole components that a change touches."""
    new = [place for place, span in enumerate(spans) if earlier.get(span.id, {}).get("seen") != span.seen]
    if not earlier:
        return new
    same = {span.id for span in spans} - {spans[place].id for place in new}
    touched = {row["component"] for id_, row in earlier.items() if id_ not in same}
    for first in range(0, len(new), BLOCK):
        block = vectors_nd[new[first : first + BLOCK]]
        for start in range(0, len(spans), BLOCK):
            # Rounded similarities decide later; who is almost similar enough may be touched for nothing.
            near = (vectors_nd[start : start + BLOCK] @ block.T).max(axis=1) >= least - 1e-4
            touched.update(
                earlier[spans[start + p].id]["component"] for p in np.flatnonzero(near) if spans[start + p].id in same
            )
    return [p for p, span in enumerate(spans) if span.id not in same or earlier[span.id]["component"] in touched]


def _links(spans: list[_Span], pairs: Iterable[tuple[int, int]]) -> Iterator[tuple[str, str]]:
    for number, pair in enumerate(pairs):
        for place in pair:
            yield spans[place].id, str(number)


def embeddings(tracks: pa.Table) -> NDArray[np.float32]:
    """The descriptors of those tracks that have one, shape (n, dimension)."""
    column = tracks["embedding"].drop_null().combine_chunks()
    flat = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
    return flat.reshape(len(column), -1) if len(column) else np.zeros((0, 0), dtype=np.float32)


def _pairs(
    index: VectorIndex, spans: list[_Span], places: list[int], least: float, neighbours: int
) -> Iterator[tuple[int, int]]:
    """Pairs of these with others, at least so similar, the most similar first, then by the ids of the two."""
    near = {
        (min(place, other, key=lambda p: spans[p].id), max(place, other, key=lambda p: spans[p].id))
        for place, found in zip(places, index.neighbours(places, limit=neighbours), strict=True)
        for other, similarity in found
        if other != place and similarity >= least
    }
    # Measured again from the two vectors alone: the same number whichever of them was searched for.
    vectors = index.vectors()
    similar = {pair: float(vectors[pair[0]].astype(np.float64) @ vectors[pair[1]]) for pair in near}
    yield from sorted(near, key=lambda pair: (-similar[pair], spans[pair[0]].id, spans[pair[1]].id))


class _Groups:
    """Tracks in groups, each with the sum of its descriptors and where its people are seen."""

    def __init__(self, spans: list[_Span], vectors_nd: NDArray[np.float32], least: float) -> None:
        self._parent = list(range(len(spans)))
        self._vectors = vectors_nd
        self._least = least
        # Groups of one are read from the index; only grown ones are held.
        self._sums: dict[int, NDArray[np.float64]] = {}
        self._seen: dict[int, dict[str, list[tuple[int, int]]]] = {
            place: {span.clip_id: [(span.first_frame, span.last_frame)]} for place, span in enumerate(spans)
        }

    def root(self, place: int) -> int:
        """The group that a track is in."""
        while self._parent[place] != place:
            self._parent[place] = self._parent[self._parent[place]]
            place = self._parent[place]
        return place

    def join(self, one: int, other: int) -> None:
        """Make the groups of two tracks one, where nothing speaks against it."""
        one, other = sorted((self.root(one), self.root(other)))
        if one == other or self._together(one, other):
            return
        first, second = self._sum(one), self._sum(other)
        if float(first @ second) < self._least * float(np.linalg.norm(first) * np.linalg.norm(second)):
            return
        self._parent[other] = one
        self._sums[one] = first + second
        self._sums.pop(other, None)
        for clip, frames in self._seen.pop(other).items():
            self._seen[one].setdefault(clip, []).extend(frames)

    def _sum(self, root: int) -> NDArray[np.float64]:
        return self._sums[root] if root in self._sums else self._vectors[root].astype(np.float64)

    def _together(self, one: int, other: int) -> bool:
        """Whether somebody of one group shares a frame with somebody of the other."""
        few, many = sorted((self._seen[one], self._seen[other]), key=len)
        return any(
            first <= end and start <= last
            for clip, spans in few.items()
            for first, last in spans
            for start, end in many.get(clip, [])
        )


def _name(person: list[_Span]) -> str:
    smallest = min(span.id for span in person)
    return f"p_{hashlib.sha256(smallest.encode()).hexdigest()[:12]}"
