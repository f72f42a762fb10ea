"""A clip's signature: what it looks like and how it moves, by which copies are known after re-encoding and resizing.

Looks alone do not make a copy: two clips of one person at one desk look the same. What moves, where and when, must
agree too. Movement is read from small pictures kept to a fraction of a grey level, so that a mouth in a still picture
counts: re-encoding changes the mean of a cell by less than a tenth of a level, speech by one or more.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

EVERY = 2
"""Frames from one small picture to the next (80 ms)."""
BASE_SIDE = 96
LOOKS_SIDE = 12
MOVES_SIDE = 6
LAG = 4
"""A move is the change of a cell over this many small pictures (0.32 s)."""
MOST_SHIFT = 20
"""Copies may begin this many small pictures earlier or later (1.6 s)."""
SHORTEST = 12
"""Small pictures that must overlap, and at least half of the shorter clip."""
LEAST_SHARED = 0.4
"""Share of either clip's movement (squared) that must lie in the overlap."""
STILL = 0.1
"""Root mean square move in grey levels below which nothing moves, and only the looks can be compared."""
FLAT = 2.0
"""Spread of the looks in grey levels below which there is nothing to compare: black, or one tone."""
STILL_STRICTNESS = 3.0
"""Clips in which nothing moves must look this much more alike."""
MOVES_STRICTNESS = 1.3
"""Moves must agree more than looks: among the shifts there is always one at which they agree somewhat."""

Gray = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Signature:
    """What `distance` compares."""

    looks: NDArray[np.float32]
    """The mean picture without its mean, at unit length: (144,). All zero for a flat one."""
    moves: NDArray[np.float32]
    """Changes over `LAG` small pictures in grey levels: (moves, 36)."""

    @property
    def still(self) -> bool:
        """Whether nothing moves."""
        return len(self.moves) == 0 or float(np.sqrt((self.moves**2).mean())) < STILL


class SignatureMeter:
    """Makes a signature frame by frame."""

    def __init__(self) -> None:
        self._looks = np.zeros((LOOKS_SIDE, LOOKS_SIDE), np.float64)
        self._cells: list[NDArray[np.float32]] = []

    def add(self, base: Gray) -> None:
        """Take a grey picture of BASE_SIDE x BASE_SIDE; every second frame is enough."""
        cells = _cells(base.astype(np.float32), LOOKS_SIDE)
        self._looks += cells
        self._cells.append(_cells(cells, MOVES_SIDE).ravel())

    def to_bytes(self) -> bytes:
        """Looks (144 bytes), the step of the cells (float32), and every cell of every small picture in such steps."""
        cells = np.stack(self._cells)
        cells -= cells.mean(axis=0)
        step = np.float32(max(float(np.abs(cells).max()), 1e-3) / 127)
        looks = (self._looks / len(self._cells)).round().astype(np.uint8)
        return b"".join(
            [looks.tobytes(), step.astype("<f4").tobytes(), (cells / step).round().astype(np.int8).tobytes()]
        )


def small_picture(gray_hw: Gray) -> Gray:
    """A frame at BASE_SIDE x BASE_SIDE: means of areas."""
    height, width = gray_hw.shape
    if _sums_alone(height) and width % BASE_SIDE:
        # The sums of rows leave OpenCV a fifth of the picture to weigh. They are rounded, but at the middle between two
        # levels of a mean of an odd number of rows: a mean at exactly that place may come out a level off, no other.
        sums = np.add.reduce(gray_hw.reshape(BASE_SIDE, -1, width), axis=1, dtype=np.uint16)
        small = cv2.resize(sums, (BASE_SIDE, BASE_SIDE), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.convertScaleAbs(small, alpha=BASE_SIDE / height), dtype=np.uint8)
    if _sums_alone(width) and height % BASE_SIDE:
        return np.ascontiguousarray(small_picture(np.asarray(cv2.transpose(gray_hw), dtype=np.uint8)).T)
    return np.asarray(cv2.resize(gray_hw, (BASE_SIDE, BASE_SIDE), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def read_signature(data: bytes) -> Signature:
    """What `SignatureMeter.to_bytes` wrote."""
    area = LOOKS_SIDE**2
    looks = np.frombuffer(data[:area], np.uint8).astype(np.float32)
    looks -= looks.mean()
    spread = float(looks.std())
    step = np.frombuffer(data[area : area + 4], "<f4")[0]
    cells = np.frombuffer(data[area + 4 :], np.int8).reshape(-1, MOVES_SIDE**2) * step
    return Signature(
        looks=looks / np.float32(np.linalg.norm(looks)) if spread >= FLAT else np.zeros_like(looks),
        moves=(cells[LAG:] - cells[:-LAG]).astype(np.float32),
    )


def distance(one: Signature, other: Signature) -> float:
    """How unlike two clips are: 0 for copies, 1 or more for clips with nothing in common.

    One minus the correlation of their looks, or of their moves at the best shift in time; the worse of the two counts.
    Where nothing moves in either, looks are all there is, and must agree more closely.
    """
    looks = 1 - float(one.looks @ other.looks)
    if one.still and other.still:
        return STILL_STRICTNESS * looks
    return max(looks, MOVES_STRICTNESS * (1 - _best_correlation(one.moves, other.moves)))


def _best_correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """The highest correlation of two series (moves, cells) over all shifts with enough overlap; 0 if there is none."""
    least = max(SHORTEST, min(len(one), len(other)) // 2)
    shifts = np.arange(-min(MOST_SHIFT, len(other) - 1), min(MOST_SHIFT, len(one) - 1) + 1)
    first = np.maximum(shifts, 0)
    second = np.maximum(-shifts, 0)
    overlap = np.minimum(len(one) - first, len(other) - second)
    allowed = overlap >= least
    products = _diagonal_sums(one @ other.T, shifts)
    power: list[NDArray[np.float64]] = []
    for moves, start in ((one, first), (other, second)):
        summed = np.concatenate([[0.0], np.cumsum((moves**2).sum(axis=1))])
        power.append(summed[start + overlap] - summed[start])
        # One gesture that two clips happen to share is not the better part of what moves.
        allowed &= power[-1] >= LEAST_SHARED * summed[-1]
    scale = np.sqrt(power[0] * power[1])
    correlation = np.divide(products, scale, out=np.zeros(len(shifts)), where=scale > 0)
    return float(correlation[allowed].max(initial=0.0))


def _diagonal_sums(table: NDArray[np.float32], shifts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sum of table[t + shift, t] over t, for every shift."""
    rows, columns = table.shape
    # Read as rows one shorter, what was a diagonal stands in one column.
    padded = np.zeros((rows, rows + columns), np.float64)
    padded[:, :columns] = table[:, ::-1]
    sums = padded.ravel()[: rows * (rows + columns - 1)].reshape(rows, -1).sum(axis=0)
    return np.asarray(sums[columns - 1 + shifts])


def _cells(cells: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """The means of blocks. Their sides are powers of two, so that means of means lose nothing."""
    return cv2.resize(cells, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32, copy=False)


def _sums_alone(side: int) -> bool:
    """Whether every small pixel stands for a whole, odd number of lines, as with 480."""
    return side % (2 * BASE_SIDE) == BASE_SIDE
