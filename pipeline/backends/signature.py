"""A clip's signature: small grey pictures over time, by which copies are known after re-encoding and resizing."""

import cv2
import numpy as np
from numpy.typing import NDArray

SIGNATURE_EVERY = 5
"""Frames from one picture to the next (0.2 s)."""
SIDE = 12
SHIFTS = range(-3, 4)
"""Copies may begin this many pictures earlier or later."""
SHORTEST_OVERLAP = 6
STILL = 0.4
"""Mean change in grey levels from picture to picture below which nothing moves, and only the looks can be compared."""


def thumbnail(gray_hw: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture of SIDE x SIDE grey values."""
    return np.asarray(cv2.resize(gray_hw, (SIDE, SIDE), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def to_signature(thumbnails: list[NDArray[np.uint8]]) -> bytes:
    """The pictures as bytes, one after the other."""
    return np.stack(thumbnails).tobytes()


def pictures_of(signature: bytes) -> NDArray[np.float32]:
    """The pictures of a signature, (pictures, SIDE * SIDE)."""
    return np.frombuffer(signature, np.uint8).reshape(-1, SIDE * SIDE).astype(np.float32)


def distance(one_pn: NDArray[np.float32], other_pn: NDArray[np.float32]) -> float:
    """How unlike two clips are: 0 for copies, about 1 for clips with nothing in common; best over small shifts in time.

    Looks alone do not make a copy: two clips of one person at one desk look the same. What moves, where and when, must
    agree too; the worse of the two counts. Where neither moves, looks are all there is.
    """
    found = [_distance_at(one_pn, other_pn, shift) for shift in SHIFTS]
    return min((value for value in found if value is not None), default=1.0)


def _distance_at(one_pn: NDArray[np.float32], other_pn: NDArray[np.float32], shift: int) -> float | None:
    one, other = one_pn[max(0, shift) :], other_pn[max(0, -shift) :]
    length = min(len(one), len(other))
    if length < SHORTEST_OVERLAP:
        return None
    one, other = one[:length], other[:length]
    looks = 1 - _correlation(one - one.mean(), other - other.mean())
    moves = [np.diff(pictures, axis=0) for pictures in (one, other)]
    if all(np.abs(move).mean() < STILL for move in moves):
        return looks
    return max(looks, 1 - _correlation(*moves))


def _correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    norm = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float((one * other).sum() / norm) if norm > 0 else 0.0
