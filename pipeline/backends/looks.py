"""What a picture of head and shoulders looks like beside the face: the colours of the background and of the clothes."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.backends.face_detector import Box

LIGHTNESS_BINS, COLOUR_BINS = 4, 12
LEAST_SHARE = 0.02
"""A region of less of the picture says nothing."""

# In face heights: clothes begin so far below the chin and reach so far to either side of the face's middle; the
# background begins so far to either side, above the chin.
BELOW_CHIN, CLOTHES_SIDE, BACKGROUND_SIDE = 0.1, 0.9, 0.55

Colours = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Looks:
    """Histograms of colour: share of a region's pixels in each of 4 x 12 x 12 bins of lightness and CIELAB's a and b.

    None where the picture shows too little of the region.
    """

    background: Colours | None
    clothing: Colours | None


def looks_of(png: bytes, shown: Box, face: Box) -> Looks:
    """Measure a picture that shows the part `shown` of a frame in which the face has the box `face`.

    Where clothes and background are follows from the face alone: an arm or a second person may be in either.
    Raises ValueError where the picture cannot be read.
    """
    picture = cv2.imdecode(np.frombuffer(png, dtype=np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError("a reference picture cannot be read")
    height, width = picture.shape[:2]
    across, down = max(shown[2] - shown[0], 1e-6), max(shown[3] - shown[1], 1e-6)
    middle = ((face[0] + face[2]) / 2 - shown[0]) / across * width
    chin = (face[3] - shown[1]) / down * height
    tall = (face[3] - face[1]) / down * height
    y, x = np.mgrid[:height, :width] + 0.5
    beside = np.abs(x - middle)
    clothes = (y > chin + BELOW_CHIN * tall) & (beside < CLOTHES_SIDE * tall)
    behind = (y < chin) & (beside > BACKGROUND_SIDE * tall)
    lab = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2LAB), dtype=np.uint8)
    # Colours of people and rooms fill little more than the middle of the a and b axes.
    lab[..., 1:] = np.clip(lab[..., 1:], 80, 175)
    return Looks(background=_colours(lab, behind), clothing=_colours(lab, clothes))


def colour_distance(one: Colours | None, other: Colours | None) -> float | None:
    """Hellinger distance of two histograms: 0 the same colours, 1 none in common; None where one is not known."""
    if one is None or other is None:
        return None
    return float(np.sqrt(max(1.0 - float(np.sqrt(one * other).sum()), 0.0)))


def _colours(lab: NDArray[np.uint8], region: NDArray[np.bool_]) -> Colours | None:
    if region.mean() < LEAST_SHARE:
        return None
    bins, ranges = [LIGHTNESS_BINS, COLOUR_BINS, COLOUR_BINS], [0, 256, 80, 176, 80, 176]
    counts = cv2.calcHist([lab], [0, 1, 2], region.astype(np.uint8), bins, ranges).ravel()
    return np.asarray(counts / float(counts.sum()), dtype=np.float32)
