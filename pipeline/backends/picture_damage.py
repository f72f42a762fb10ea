"""What scaling would hide of a source's picture: blocks left by compression, and the combs of interlacing."""

import cv2
import numpy as np
from numpy.typing import NDArray

BLOCK = 8
"""Pixels of the grid on which codecs cut a picture into blocks."""
LEAST_STEP = 0.05
"""Mean step between neighbouring pixels, in grey levels, below which there is nothing to judge."""
COMB_LEVELS = 12
"""How far, in grey levels, a line must stand off both its neighbours to be a tooth; less is noise."""


def middle(height: int, width: int, side_px: int) -> tuple[slice, slice]:
    """Lines and columns of a square in the middle; whole blocks, and so pairs of lines, are left out before it."""
    top, left = (max(side - side_px, 0) // 2 // BLOCK * BLOCK for side in (height, width))
    return slice(top, top + side_px), slice(left, left + side_px)


def blocking(gray_hw: NDArray[np.uint8]) -> float | None:
    """How much larger steps between pixels are across the edges of 8 x 8 blocks than elsewhere: 0 none, 1 twice.

    In the picture as it was coded, not scaled: a grid that was scaled before it was coded is not seen. The more
    blocked of the two directions counts (Wang et al. 2000, "Blind measurement of blocking artifacts in images"). None
    in a picture without structure.
    """
    found: list[float] = []
    height, width = gray_hw.shape
    if min(height, width) < 4 * BLOCK:
        return None
    for across, along in (
        (cv2.absdiff(gray_hw[:, 1:], gray_hw[:, :-1]), 0),
        (cv2.absdiff(gray_hw[1:], gray_hw[:-1]), 1),
    ):
        steps = cv2.reduce(across, along, cv2.REDUCE_AVG, dtype=cv2.CV_32F).ravel()
        edge = np.arange(len(steps)) % BLOCK == BLOCK - 1
        beside = float(steps[~edge].mean())
        if beside < LEAST_STEP:
            return None
        found.append(max(float(steps[edge].mean()) / beside - 1, 0.0))
    return max(found)


def combing(gray_hw: NDArray[np.uint8]) -> float:
    """Share of the pixels that stand off the lines above and below them alike, while these two agree: 0 to 1.

    Of a progressive picture next to none do; where something moves in an interlaced one, most. Lines are those of the
    picture as it was coded.
    """
    if gray_hw.shape[0] < 3:
        return 0.0
    above, line, below = (gray_hw[at : gray_hw.shape[0] - 2 + at] for at in range(3))
    higher, lower = cv2.max(above, below), cv2.min(above, below)
    off = cv2.max(cv2.subtract(line, higher), cv2.subtract(lower, line))
    teeth = (off > COMB_LEVELS) & (higher - lower < off // 2)
    return float(teeth.mean())
