"""The most similar of many vectors to each of some, kept while matrices of similarities go by."""

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Places = NDArray[np.int64]

STEPS = 1_000_000
"""Similarities are told apart by so many steps from 0 to 1: sums in another order differ by less."""
_LAST = 2**32 - 1
_ROWS = 256
"""Rows of similarities that are sorted at once."""


class Nearest:
    """For each of `count` queries the `limit` most similar of the positions offered, and of equals the first.

    What is kept depends on what was offered, not on the order: steps of similarity and a position are one number.
    """

    def __init__(self, count: int, *, limit: int, least: float) -> None:
        """Nothing less similar than `least` is kept."""
        self._limit = limit
        # Steps of similarity, then the position counted from the end: 0 for nobody.
        self._best = np.full((count, limit), round(least * STEPS) << 32, np.int64)
        self._floor = np.full(count, round(least * STEPS), np.float32)
        """Fewer steps than a query's are not worth offering."""

    def offer(self, queries: Places, similar_qn: Vectors, positions: Places) -> None:
        """Similarities of some queries to the vectors at these positions (n,), which are new to each of them."""
        # A step less: rounding must not lose anybody. Most queries have nothing in a far partition.
        least = (self._floor[queries] - 1) / np.float32(STEPS)
        hot = np.flatnonzero(similar_qn.max(axis=1) >= least)
        for start in range(0, len(hot), _ROWS):
            few = hot[start : start + _ROWS]
            asking, similar = queries[few], similar_qn[few]
            # And those who have, have few: of these alone keys are made, and side by side compared with the best.
            worth = np.flatnonzero(similar >= least[few, None])
            row, column = np.divmod(worth, similar.shape[1])
            counts = np.bincount(row, minlength=len(few))
            slot = np.arange(len(worth)) - np.repeat(np.cumsum(counts) - counts, counts)
            keys = np.full((len(few), self._limit + int(counts.max())), np.iinfo(np.int64).min)
            keys[:, : self._limit] = self._best[asking]
            steps = np.rint(similar[row, column] * np.float32(STEPS)).astype(np.int64)
            keys[row, self._limit + slot] = (steps << 32) + (_LAST - positions[column])
            keys.partition(keys.shape[1] - self._limit, axis=1)
            self._best[asking] = keys[:, -self._limit :]
            self._floor[asking] = self._best[asking].min(axis=1) >> 32

    def found(self) -> tuple[Places, Vectors]:
        """Positions and their similarities (rounded to six digits), shape (count, limit), the most similar first.

        Where there are fewer, the last positions are -1.
        """
        keys = -np.sort(-self._best, axis=1)
        positions = _LAST - (keys & _LAST)
        positions[positions == _LAST] = -1
        return positions, ((keys >> 32) / STEPS).astype(np.float32)
