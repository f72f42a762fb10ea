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
    None where the picture has no structure (black, white, one colour), or is no larger than the blur.
    """
    if min(gray_hw.shape) <= TAPS:
        return None
    lost: list[float] = []
    middle = TAPS // 2
    # Neighbours in a box blur share all pixels but two, so that their difference needs no blur: it is that of the two
    # pixels TAPS apart, over TAPS.
    for beside, apart in (
        ((gray_hw[middle + 1 : -middle], gray_hw[middle : -middle - 1]), (gray_hw[TAPS:], gray_hw[:-TAPS])),
        ((gray_hw[:, middle + 1 : -middle], gray_hw[:, middle : -middle - 1]), (gray_hw[:, TAPS:], gray_hw[:, :-TAPS])),
    ):
        steps, blurred = cv2.absdiff(*beside), cv2.absdiff(*apart)
        total = cv2.sumElems(steps)[0]
        if total < LEAST_VARIATION * steps.size:
            return None
        # A step less its blur, where that is more than nothing, is the step less the lesser of both. No blur is above
        # 255, where OpenCV cuts.
        lesser = cv2.min(cv2.convertScaleAbs(steps, alpha=TAPS), blurred)
        lost.append((TAPS * total - cv2.sumElems(lesser)[0]) / (TAPS * total))
    return min(lost)
