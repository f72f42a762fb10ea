"""What a face detector gives. A face's box reaches from the hairline to the chin and from temple to temple."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in fractions of the frame; may reach out of it."""

SAME_FACE_IOU = 0.4
"""Two boxes of one picture that overlap more are one face."""


@dataclass(frozen=True, kw_only=True)
class Detection:
    """A face in a picture."""

    box: Box
    score: float
    """0 to 1: how sure the detector is. Comparable within one detector."""
    certain: bool
    """Sure enough to begin a track with; other detections may only continue one."""
    landmarks_5xy: NDArray[np.float64] | None = None
    """Eyes, nose tip, mouth corners, each pair from the picture's left to its right, in fractions of the frame."""


class FaceDetector(Protocol):
    """Finds faces in a picture. Not picklable: made in the process that uses it."""

    name: str

    def find(self, frame_hwc: NDArray[np.uint8], gray_hw: NDArray[np.uint8]) -> list[Detection]:
        """All faces of a picture (RGB, and its grey version)."""
        ...

    def find_near(
        self, frame_hwc: NDArray[np.uint8], gray_hw: NDArray[np.uint8], boxes: Sequence[Box]
    ) -> list[Detection]:
        """Faces where faces were a moment ago: cheaper than `find`, and better at small or turned ones."""
        ...


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, 0 to 1."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def distinct(detections: Sequence[Detection]) -> list[Detection]:
    """The surest detection of every face, surest first."""
    kept: list[Detection] = []
    for found in sorted(detections, key=lambda d: (-d.score, d.box)):
        if all(overlap(found.box, other.box) <= SAME_FACE_IOU for other in kept):
            kept.append(found)
    return kept


def around(box: Box, gray_hw: NDArray[np.uint8], margin: float) -> tuple[int, int, int, int]:
    """Pixels x0, y0, x1, y1 of a square around a box, `margin` face heights beyond it, clamped to the picture."""
    height, width = gray_hw.shape
    half = (0.5 + margin) * (box[3] - box[1]) * height
    x, y = (box[0] + box[2]) / 2 * width, (box[1] + box[3]) / 2 * height
    x0, y0 = max(round(x - half), 0), max(round(y - half), 0)
    return x0, y0, max(min(round(x + half), width), x0), max(min(round(y + half), height), y0)
