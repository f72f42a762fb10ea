"""Black bars around a picture: letterbox and pillarbox."""

import av
import cv2
import numpy as np
from numpy.typing import NDArray

PARTS = 64
"""Parts of a line, each of which is averaged."""
BLACK = 26.0
"""A part is black up to this brightness (0..255; video black is 16)."""
EDGE = 0.01
STRAIGHT = 0.5
"""A bar ends in a straight line: of both together this share must be lit in some picture within `EDGE` (of the frame's
height or width), and half as much of either, or it is no bar but a dark scene with a lit middle."""
THICKEST = 0.4
"""A bar takes at most this share of the picture."""

Depths = NDArray[np.float32]
"""(4, PARTS): for the top, bottom, left and right side the share of the picture that is black from there inwards, at
each of 64 places along the side."""

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in fractions of the frame."""


def depths_of_frame(frame: av.VideoFrame) -> Depths:
    """Measure a decoded frame, as it was coded. Every row and every column is looked at in full."""
    tall, wide = (
        frame.reformat(width=width, height=height, format="gray", interpolation="AREA", threads=1).to_ndarray()
        for width, height in ((PARTS, frame.height), (frame.width, PARTS))
    )
    return _depths(np.asarray(tall > BLACK), np.asarray(wide.T > BLACK))


def depths_of_gray(gray_hw: NDArray[np.uint8]) -> Depths:
    """Measure a grey picture uint8 (H, W)."""
    # Sums of any part of any line are differences of these.
    sums = np.asarray(cv2.integral(gray_hw), dtype=np.int32)
    return _depths(_parts(sums) > BLACK, _parts(sums.T) > BLACK)


def picture_within(depths: list[Depths]) -> Box | None:
    """The part of the frame inside the bars that all of these pictures have in common; None if it cannot be told.

    Bars lie on opposite sides and are equally thick, so that the thinner one counts. It can be told where the picture
    is lit along most of two opposite sides, with or without a bar there.
    """
    if not depths:
        return None
    least = np.min(depths, axis=0)
    rows = _thickness(least[0], least[1])
    columns = _thickness(least[2], least[3])
    if rows is None and columns is None:
        return None
    y, x = rows or 0.0, columns or 0.0
    return (x, y, 1 - x, 1 - y)


def bar_area(box: Box) -> float:
    """The share of the frame outside the box."""
    return 1 - (box[2] - box[0]) * (box[3] - box[1])


def _thickness(one: NDArray[np.float32], other: NDArray[np.float32]) -> float | None:
    thin = [float(side.min()) for side in (one, other)]
    straight = [float((side <= least + EDGE).mean()) for side, least in zip((one, other), thin, strict=True)]
    if min(straight) < STRAIGHT / 2 or sum(straight) / 2 < STRAIGHT:
        return None
    return min(thin) if min(thin) <= THICKEST else None


def _depths(rows: NDArray[np.bool_], columns: NDArray[np.bool_]) -> Depths:
    """`rows` (H, PARTS) and `columns` (W, PARTS) say which parts of every line are lit."""
    sides = [_first(lit) for lit in (rows, rows[::-1], columns, columns[::-1])]
    return np.stack([np.interp(np.linspace(0, 1, PARTS), np.linspace(0, 1, len(side)), side) for side in sides]).astype(
        np.float32
    )


def _first(lit: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How far down each column the first lit cell is, as a share of the column."""
    return np.where(lit.any(axis=0), lit.argmax(axis=0), len(lit)) / len(lit)


def _parts(sums: NDArray[np.int32]) -> NDArray[np.float32]:
    """Means of the parts of every line (lines, PARTS), from the sums of all that is above and left of a point."""
    length = sums.shape[1] - 1
    edges = np.linspace(0, length, min(PARTS, length) + 1).astype(int)
    parts = np.diff(np.diff(sums[:, edges], axis=0), axis=1)
    return np.asarray(parts / np.diff(edges), dtype=np.float32)
