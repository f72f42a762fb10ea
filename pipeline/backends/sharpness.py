"""Sharpness without a reference: how much a picture loses when it is blurred once more."""

import cv2
import numpy as np
from numpy.typing import NDArray

TAPS = 11
LEAST_VARIATION = 0.05
"""Mean step between neighbouring pixels, in grey levels, below which there is no structure to judge."""


def sharpness(gray_hw: NDArray[np.uint8]) -> float | None:
    """Share of the differences between neighbouring pixels that a box blur of 11 taps takes away, in [0, 1].

    A blurred picture loses little, a sharp one most of it; the less sharp of the two directions counts. It is one
    minus the blur of Crete et al. 2007, "The blur effect". In the picture's own pixels: shrinking sharpens.
    None where the picture has no structure (black, white, one colour).
    """
    gray = gray_hw.astype(np.float32)
    kept: list[float] = []
    for axis, kernel in ((0, (1, TAPS)), (1, (TAPS, 1))):
        blurred = cv2.blur(gray, kernel)
        before = np.abs(np.diff(gray, axis=axis))
        after = np.abs(np.diff(np.asarray(blurred), axis=axis))
        if before.mean() < LEAST_VARIATION:
            return None
        kept.append(float(np.maximum(before - after, 0).sum() / before.sum()))
    return min(kept)
