"""How open a mouth looks, from the pixels of a face that has a box and no landmarks.

The inside of an open mouth is the darkest thing in the middle of the lower face. Its darkness against the skin of the
same face follows the jaw closely enough to be compared with speech (`mouth_sync`), for faces near the front, lit well
enough to see the cheeks. Beards, hands and heavy shadows weaken it.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]

FACE_PX = 64
"""Faces are brought to this height before anything is measured."""
MOUTH = (0.36, 0.62, 0.64, 0.92)
"""x0, y0, x1, y1 of where mouths open, in fractions of the face box's height, x from -0.5 to 0.5 moved to 0..1."""
SKIN = (0.25, 0.45, 0.75, 0.65)
"""Cheeks and nose, in the same fractions."""
DARKEST_SHARE = 1 / 7
"""Share of the region's pixels, the darkest ones, that are averaged. An open mouth larger than that reads no higher;
between 1/10 and 1/3 the offsets found on talking heads are the same."""
BOX_MEMORY = 0.6
"""Weight of the boxes before: detectors shake by a few per cent from frame to frame."""
JUMP = 0.25
"""A box that moved by more than this share of its height is another face, or a cut: nothing is carried over."""
SMALLEST_FACE_PX = 24
"""Below this height nothing of a mouth can be told."""


class MouthMotion:
    """Follows one face through a clip, a frame at a time."""

    def __init__(self) -> None:
        self._box: NDArray[np.float64] | None = None

    def add(self, gray_hw_uint8: NDArray[np.uint8], box_fractions: Box | None) -> float:
        """Openness of the mouth in the next frame.

        Args:
            gray_hw_uint8: the frame's luma, shape (height, width).
            box_fractions: x0, y0, x1, y1 of the face in fractions of the frame (brow or hairline to chin), or None
                where it was not found.

        Returns:
            0 (nothing in the lower face is darker than the skin) to 1 (black), without unit; comparable within a
            track, not between tracks. NaN without a box, or where the face is too small or lies outside the frame.
        """
        if box_fractions is None:
            self._box = None
            return math.nan
        height, width = gray_hw_uint8.shape
        box = np.asarray(box_fractions, dtype=np.float64) * (width, height, width, height)
        if not np.isfinite(box).all() or box[3] - box[1] < SMALLEST_FACE_PX or box[2] <= box[0]:
            self._box = None
            return math.nan
        if self._box is not None and np.abs(box - self._box).max() < JUMP * (box[3] - box[1]):
            box = BOX_MEMORY * self._box + (1 - BOX_MEMORY) * box
        self._box = box
        return _openness(gray_hw_uint8, box)


def _openness(gray: NDArray[np.uint8], box_px: NDArray[np.float64]) -> float:
    mouth = _part(gray, box_px, MOUTH)
    skin = _part(gray, box_px, SKIN)
    if mouth is None or skin is None:
        return math.nan
    count = max(round(mouth.size * DARKEST_SHARE), 1)
    dark = float(np.partition(mouth.ravel(), count)[:count].mean())
    bright = max(float(np.median(skin)), 8.0)
    return float(np.clip(1 - dark / bright, 0, 1))


def _part(
    gray: NDArray[np.uint8], box_px: NDArray[np.float64], part: tuple[float, float, float, float]
) -> NDArray[np.float32] | None:
    """A part of the face at the standard size, or None where most of it lies outside the frame."""
    x0, y0, x1, y1 = box_px
    face_height = y1 - y0
    left = (x0 + x1) / 2 + (part[0] - 0.5) * face_height
    right = (x0 + x1) / 2 + (part[2] - 0.5) * face_height
    top, bottom = y0 + part[1] * face_height, y0 + part[3] * face_height
    rows = slice(max(round(top), 0), min(round(bottom), gray.shape[0]))
    columns = slice(max(round(left), 0), min(round(right), gray.shape[1]))
    seen = gray[rows, columns]
    if seen.size < 0.5 * (right - left) * (bottom - top):
        return None
    scale = FACE_PX / face_height
    size = (max(round((right - left) * scale), 2), max(round((bottom - top) * scale), 2))
    return np.asarray(cv2.resize(seen, size, interpolation=cv2.INTER_AREA), dtype=np.float32)
