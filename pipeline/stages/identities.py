"""Identities: tracks of one person joined across shots and sources."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.backends import vector_index
from pipeline.backends.vector_index import VectorIndex
from pipeline.decide.components import connected
from pipeline.stage import Row, SetRows
from pipeline.stages.options.identities import VERSION, IdentitiesConfig

BACKEND = f"centroid linkage, {vector_index.BACKEND}/{VERSION}"


_COLUMNS = ["id", "clip_id", "track", "first_frame", "last_frame"]
BLOCK = 4096
"""Tracks compared at once."""
ROUNDED = 1e-4
"""More than similarities differ by that were summed in another order."""

Places = NDArray[np.int64]


def cluster(
    tracks: Iterable[pa.Table],
    *,
    descriptor: str,
    folder: Path,
    config: IdentitiesConfig,
    before: pa.Table | None = None,
) -> Iterator[SetRows]:
    """A row of `identities` for each track.

    The most similar pairs are joined first. Two groups become one where their mean descriptors are similar enough, and
    where nobody of one is seen together with somebody of the other: tracks that share frames of a clip are different
    people. An identity is named `p_` and the first 12 hex digits of the SHA-256 of its smallest track id, so that the
    result depends on nothing but the set of tracks.

    In memory are some hundred bytes of each track, and up to 60 of each pair that is alike; the descriptors are on
    disk.

    Args:
        tracks: the table `tracks` in pieces, in any order. A track without a descriptor is a person of its own.
        descriptor: what made the embeddings, as `faces.descriptor` names it.
        folder: an empty folder for the index.
        config: thresholds.
        before: id, identity, component and seen, as this function gave them for an earlier state. Only components of
            tracks alike that a new, changed or vanished track touches are joined anew. It changes how long it takes,
            and nothing else.
    """
    pieces: list[pa.Table] = []
    index: VectorIndex | None = None
    for piece in tracks:
        loose = piece.filter(piece["embedding"].is_null()).select(["id", "clip_id", "track"]).to_pylist()
        yield SetRows(rows=[{**row, "identity": _name(row["id"]), "component": row["id"], "seen": ""} for row in loose])
        piece = piece.filter(piece["embedding"].is_valid())
        vectors = embeddings(piece)
        if not len(vectors):
            continue
        index = index or VectorIndex(folder, dimension=vectors.shape[1])
        index.add(vectors)
        piece = piece.select(_COLUMNS)
        seen = [_seen(row, vector_d) for row, vector_d in zip(piece.to_pylist(), vectors, strict=True)]
        pieces.append(piece.append_column("seen", pa.array(seen, pa.string())))
    if index is None:
        return
    before = before if before is not None and len(before) else None
    known = pa.concat_tables(pieces).combine_chunks()
    least = config.threshold(descriptor)
    earlier, anew = _touched(known, index.vectors(), before, least)
    # Ids as numbers in the same order.
    order = np.asarray(pc.sort_indices(known["id"])).astype(np.int64)
    if config.index == "ivf" and anew.any():
        index.partition(config.probes, order)
    rank = np.empty(len(known), np.int64)
    rank[order] = np.arange(len(known))
    one, other = _pairs(index, rank, order, np.flatnonzero(anew), least, config.neighbours)
    groups = _Groups(known, index.vectors(), least)
    for pair in zip(one, other, strict=True):
        groups.join(int(pair[0]), int(pair[1]))
    person = _smallest(rank, np.array([groups.root(place) for place in range(len(known))]))
    component = _smallest(rank, connected(one, other, count=len(known)))
    for start in range(0, len(known), BLOCK):
        few = slice(start, start + BLOCK)
        rows = known.slice(start, BLOCK).select(["id", "clip_id", "track", "seen"])
        new, was = pa.array(anew[few]), earlier[few].clip(min=0)
        for name, of in (("identity", person), ("component", component)):
            first = known["id"].take(order[of[few]])
            named = pa.array(map(_name, first.to_pylist())) if name == "identity" else first
            kept = named if before is None else before[name].take(was)
            rows = rows.append_column(name, pc.if_else(new, named, kept))
        yield SetRows(rows=rows.to_pylist(), computed=int(anew[few].sum()))


def _seen(row: Row, vector_d: NDArray[np.float32]) -> str:
    """Over all that is looked at of a track."""
    said = f"{row['clip_id']} {row['track']} {row['first_frame']} {row['last_frame']}".encode()
    return hashlib.blake2b(said + vector_d.tobytes(), digest_size=8).hexdigest()


def _touched(
    known: pa.Table, vectors_nd: NDArray[np.float32], before: pa.Table | None, least: float
) -> tuple[Places, NDArray[np.bool_]]:
    """For each track its row of before, or -1, and whether it is to be joined anew: it was not seen before, or is of a
    component that a change touches."""
    if before is None:
        return np.full(len(known), -1), np.ones(len(known), np.bool_)
    earlier = np.asarray(pc.index_in(known["id"], before["id"].combine_chunks()).fill_null(-1)).astype(np.int64)
    there = earlier >= 0
    same = np.zeros(len(known), np.bool_)
    same[there] = np.asarray(pc.equal(before["seen"].take(earlier[there]), known["seen"].filter(pa.array(there))))
    codes = np.asarray(before["component"].combine_chunks().dictionary_encode().indices)
    touched = np.zeros(len(before), np.bool_)
    """By code of component."""
    gone = np.asarray(pc.not_equal(before["seen"], "")).copy()
    gone[earlier[same]] = False
    touched[codes[gone]] = True
    new = np.flatnonzero(~same)
    for first in range(0, len(new), BLOCK):
        block = vectors_nd[new[first : first + BLOCK]]
        for start in range(0, len(known), BLOCK):
            # Rounded similarities decide later; who is almost similar enough may be touched for nothing.
            near = (vectors_nd[start : start + BLOCK] @ block.T).max(axis=1) >= least - ROUNDED
            old = start + np.flatnonzero(near & same[start : start + BLOCK])
            touched[codes[earlier[old]]] = True
    anew = ~same
    anew[same] = touched[codes[earlier[same]]]
    return earlier, anew


def embeddings(tracks: pa.Table) -> NDArray[np.float32]:
    """The descriptors of those tracks that have one, shape (n, dimension)."""
    column = tracks["embedding"].drop_null().combine_chunks()
    flat = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
    return flat.reshape(len(column), -1) if len(column) else np.zeros((0, 0), dtype=np.float32)


def _pairs(
    index: VectorIndex, rank: Places, order: Places, places: Places, least: float, neighbours: int
) -> tuple[Places, Places]:
    """Pairs of these with others, at least so similar, the most similar first, then by the ids of the two.

    `rank`: of each track's id among all; `order`: the track of each rank.
    """
    found: list[Places] = []
    for near in index.neighbours(places, limit=neighbours, least=least - ROUNDED):
        one, other = np.broadcast_to(rank[near.places, None], near.positions.shape), rank[near.positions]
        there = (near.positions >= 0) & (one != other)
        found.append((np.minimum(one, other) * len(rank) + np.maximum(one, other))[there])
    pairs = np.concatenate([*found, np.zeros(0, np.int64)])
    found.clear()
    pairs.sort()
    first, second = np.divmod(pairs[np.flatnonzero(np.diff(pairs, prepend=-1))], len(rank))
    one, other = order[first], order[second]
    # Measured again from the two vectors alone: the same number whichever of them was searched for.
    vectors_nd = index.vectors()
    similar = np.empty(len(one), np.float32)
    for start in range(0, len(one), BLOCK):
        few = slice(start, start + BLOCK)
        similar[few] = np.vecdot(vectors_nd[one[few]], vectors_nd[other[few]])
    by_similarity = np.lexsort((second, first, -similar))[: np.count_nonzero(similar >= least)]
    return one[by_similarity], other[by_similarity]


def _smallest(rank: Places, label: NDArray[np.int32] | Places) -> Places:
    """For each track the smallest rank among those of its label."""
    least: Places = np.full(int(label.max()) + 1, len(rank))
    np.minimum.at(least, label, rank)
    return least[label]


class _Groups:
    """Tracks in groups, each with the sum of its descriptors and where its people are seen.

    Groups of one are read from what is given; only grown ones are held.
    """

    def __init__(self, known: pa.Table, vectors_nd: NDArray[np.float32], least: float) -> None:
        self._parent = list(range(len(known)))
        self._vectors = vectors_nd
        self._least = least
        self._clip = np.asarray(known["clip_id"].combine_chunks().dictionary_encode().indices)
        # A track without frames is seen together with nobody.
        self._first = np.asarray(known["first_frame"].fill_null(0))
        self._last = np.asarray(known["last_frame"].fill_null(-1))
        self._sums: dict[int, NDArray[np.float64]] = {}
        self._seen: dict[int, dict[int, list[tuple[int, int]]]] = {}

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
        seen = self._spans(one)
        for clip, frames in self._spans(other).items():
            seen.setdefault(clip, []).extend(frames)
        self._seen[one] = seen
        self._seen.pop(other, None)

    def _sum(self, root: int) -> NDArray[np.float64]:
        return self._sums[root] if root in self._sums else self._vectors[root].astype(np.float64)

    def _spans(self, root: int) -> dict[int, list[tuple[int, int]]]:
        """Clip -> the frames in which somebody of a group is seen."""
        if root in self._seen:
            return self._seen[root]
        return {int(self._clip[root]): [(int(self._first[root]), int(self._last[root]))]}

    def _together(self, one: int, other: int) -> bool:
        """Whether somebody of one group shares a frame with somebody of the other."""
        few, many = sorted((self._spans(one), self._spans(other)), key=len)
        return any(
            first <= end and start <= last
            for clip, spans in few.items()
            for first, last in spans
            for start, end in many.get(clip, [])
        )


def _name(track: str) -> str:
    """Of the person whose smallest track id this is."""
    return f"p_{hashlib.sha256(track.encode()).hexdigest()[:12]}"
