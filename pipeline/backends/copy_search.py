"""Finds copies among many clips without comparing each with each, also where a studio makes them all look alike.

Clips that move are compared where a stretch of a third of a second moves alike in both: its direction, told by the
signs of 26 random projections, is a key, joined with six such signs of the looks; so are those of every livelier
stretch, eight times over with other projections (locality-sensitive hashing: Charikar 2002, "Similarity estimation
techniques from rounding algorithms"). Copies share many keys whatever their shift in time; two clips of one desk share
one by chance, if at all. Clips in which nothing moves are compared where they look alike, by keys of the same kind.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.backends.signature import LOOKS_SIDE, MOVES_SIDE, STILL, Signature, distance, read_signature

MOVES_BITS, WITH_LOOKS_BITS, BANDS = 26, 6, 8
"""Projections of the moves and of the looks in a key, and keys of a stretch."""
STRETCH = 4
"""Moves in a stretch."""
LIVELY = 0.5
"""Share of a clip's stretches that have keys: those that move most."""
LOOKS_BITS, LOOKS_BANDS = 24, 12
NEAR_STILL = 2.0
"""Between `STILL` and so many times as much movement a clip has keys of both kinds, as its copies may."""
MOST = 32
"""Of more clips with one key, each is compared with the first so many alone: enough to join all that are copies."""
HELD = 8192
"""Signatures held at a time."""
BLOCK = 65_536

Keys = NDArray[np.uint32]


class CopySearch:
    """Clips in the order in which they are added; their signatures lie in a file."""

    def __init__(self, folder: Path, *, limit: float) -> None:
        """`folder`: an empty folder. `limit`: clips that are closer than this are copies."""
        self._file = (folder / "signatures").open("w+b")
        self._limit = limit
        self._ends = [0]
        self._looks: list[NDArray[np.float16]] = []
        self._keys: list[list[Keys]] = [[] for _ in range(BANDS + LOOKS_BANDS)]
        self._owners: list[list[NDArray[np.int32]]] = [[] for _ in range(BANDS + LOOKS_BANDS)]
        rng = np.random.default_rng(0)
        self._moves_planes = rng.normal(size=(STRETCH * MOVES_SIDE**2, BANDS * MOVES_BITS)).astype(np.float32)
        self._with_planes = rng.normal(size=(LOOKS_SIDE**2, BANDS * WITH_LOOKS_BITS)).astype(np.float32)
        self._looks_planes = rng.normal(size=(LOOKS_SIDE**2, LOOKS_BANDS * LOOKS_BITS)).astype(np.float32)
        self._signature = lru_cache(HELD)(self._read)

    def add(self, data: bytes) -> None:
        """Take the next clip, by its signature."""
        place = len(self._ends) - 1
        self._file.write(data)
        self._ends.append(self._ends[-1] + len(data))
        found = read_signature(data)
        self._looks.append(found.looks.astype(np.float16))
        movement = float(np.sqrt((found.moves**2).mean())) if len(found.moves) else 0.0
        if movement >= STILL and len(found.moves) >= STRETCH:
            moves = _keys(_stretches(found.moves), self._moves_planes, MOVES_BITS)
            looks = _keys(found.looks[None], self._with_planes, WITH_LOOKS_BITS)
            for band, (own, same) in enumerate(zip(moves, looks, strict=True)):
                self._keep(band, own | same << np.uint32(MOVES_BITS), place)
        if movement < NEAR_STILL * STILL and found.looks.any():
            for band, keys in enumerate(_keys(found.looks[None], self._looks_planes, LOOKS_BITS), start=BANDS):
                self._keep(band, keys, place)

    def copies(
        self, old: Sequence[bool], found: Mapping[tuple[int, int], float], *, gone: int
    ) -> Iterator[tuple[tuple[int, int], float]]:
        """Pairs of copies, by place (the smaller first), with their distance.

        Args:
            old: for each clip, whether it was compared with the other old ones before.
            found: the pairs that were copies then.
            gone: clips that were compared then and are not there any more.
        """
        self._file.flush()
        is_old = np.array(old, dtype=bool)
        looks = np.stack(self._looks) if self._looks else np.zeros((0, LOOKS_SIDE**2), np.float16)
        settled: set[int] = set()
        open_: set[int] = set()
        for keys, owners in zip(self._keys, self._owners, strict=True):
            for pairs, known in _candidates(keys, owners, is_old, gone):
                some = pairs[self._look_alike(looks, pairs)]
                numbers = (some[:, 0] * len(is_old) + some[:, 1]).tolist()
                (settled if known else open_).update(numbers)
        for number in sorted(settled | open_):
            pair = divmod(number, len(is_old))
            if number in settled:
                if pair in found:
                    yield pair, found[pair]
                continue
            apart = distance(self._signature(pair[0]), self._signature(pair[1]))
            if apart < self._limit:
                yield pair, apart

    def _keep(self, band: int, keys: Keys, place: int) -> None:
        own = np.unique(keys)
        self._keys[band].append(own)
        self._owners[band].append(np.full(len(own), place, np.int32))

    def _look_alike(self, looks: NDArray[np.float16], pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
        # Half precision is off by less than this.
        least = 1 - self._limit - 0.01
        alike = np.zeros(len(pairs), dtype=bool)
        for first in range(0, len(pairs), BLOCK):
            block = pairs[first : first + BLOCK]
            one, other = (looks[block[:, side]].astype(np.float32) for side in (0, 1))
            alike[first : first + BLOCK] = np.einsum("ij,ij->i", one, other) > least
        return alike

    def _read(self, place: int) -> Signature:
        self._file.seek(self._ends[place])
        return read_signature(self._file.read(self._ends[place + 1] - self._ends[place]))


def _stretches(moves_tc: NDArray[np.float32]) -> NDArray[np.float32]:
    """The livelier stretches, (stretches, STRETCH * cells)."""
    windows = np.lib.stride_tricks.sliding_window_view(moves_tc, STRETCH, axis=0)
    flat = windows.transpose(0, 2, 1).reshape(len(windows), -1)
    energy = np.einsum("ij,ij->i", flat, flat)
    return np.ascontiguousarray(flat[energy >= np.quantile(energy, 1 - LIVELY)])


def _keys(vectors_nd: NDArray[np.float32], planes: NDArray[np.float32], bits: int) -> Iterator[Keys]:
    """For each band the keys of all vectors."""
    signs = np.asarray(vectors_nd @ planes > 0, dtype=np.uint32)
    weights = np.uint32(1) << np.arange(bits, dtype=np.uint32)
    for first in range(0, signs.shape[1], bits):
        yield np.asarray((signs[:, first : first + bits] * weights).sum(axis=1, dtype=np.uint32))


def _candidates(
    keys: list[Keys], owners: list[NDArray[np.int32]], is_old: NDArray[np.bool_], gone: int
) -> Iterator[tuple[NDArray[np.int64], bool]]:
    """Pairs (n, 2) of clips that share a key, the smaller place first, each with whether all of them are settled.

    Settled are pairs of old clips whose key has so few clips, those that are gone included, that all were compared.
    """
    if not keys:
        return
    joined, places = np.concatenate(keys), np.concatenate(owners).astype(np.int64)
    order = np.lexsort((places, joined))
    joined, places = joined[order], places[order]
    starts = np.flatnonzero(np.concatenate([[True], joined[1:] != joined[:-1]]))
    sizes = np.diff(np.concatenate([starts, [len(joined)]]))
    # Pairs of neighbours at each distance within a key, all keys at once; larger keys by their first members alone.
    rank = np.arange(len(joined)) - np.repeat(starts, sizes)
    size = np.repeat(sizes, sizes)
    shared = size > 1
    places, rank, size = places[shared], rank[shared], size[shared]
    few = size <= MOST
    for far in range(1, MOST):
        at = np.flatnonzero(few & (rank + far < size))
        yield from _split(np.column_stack([places[at], places[at + far]]), size[at], is_old, gone)
    for first in range(MOST):
        at = np.flatnonzero(~few & (rank > first))
        base = at - rank[at] + first
        yield from _split(np.column_stack([places[base], places[at]]), size[at], is_old, gone)


def _split(
    pairs: NDArray[np.int64], sizes: NDArray[np.int64], is_old: NDArray[np.bool_], gone: int
) -> Iterator[tuple[NDArray[np.int64], bool]]:
    if not len(pairs):
        return
    settled = is_old[pairs].all(axis=1) & (sizes + gone <= MOST)
    yield pairs[settled], True
    yield pairs[~settled], False
