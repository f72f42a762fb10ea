"""Faces by OpenCV's Haar cascade, which its wheel carries: frontal faces, upright to about 15 degrees.

Viola and Jones 2001, "Rapid object detection using a boosted cascade of simple features". The cascade says neither how
sure it is nor where the eyes are; how many overlapping windows agree stands in for the first.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import cv2.data
import numpy as np
from numpy.typing import NDArray

from pipeline.backends.face_detector import Box, Detection, around, distinct

CASCADE = "haarcascade_frontalface_alt.xml"
"""Of the frontal cascades the one with the fewest false alarms at the same recall."""
WINDOW_PX = 20
"""Side of the cascade's own window: nothing smaller is found."""
SCALE_STEP = 1.15
CERTAIN_WINDOWS = 5
"""So many agreeing windows hardly ever happen without a face."""
HALF_SCORE_WINDOWS = 10.0
"""Agreeing windows at which the score is one half."""

# The cascade's square reaches from ear to ear; the face box measured within it, in fractions of the square's side
# (medians over faces that another detector saw too, whose boxes reach from hairline to chin).
FACE_Y, FACE_WIDTH, FACE_HEIGHT = 0.51, 0.81, 1.115

NEAR_SQUARE_PX = 40
"""Near a known face the picture is scaled so that the square is this large."""
NEAR_MARGIN = 0.4
NEAR_RANGE = (0.7, 1.4)
"""Squares are sought between these multiples of the known one."""
NEAR_SIZE = 0.935
"""Squares found near a known face come out larger than those of a whole picture: a face's size over theirs."""


class HaarDetector:
    """Frontal faces of a picture scaled down to `scan_pixels`."""

    name = "haar"

    def __init__(self, *, scan_pixels: int, smallest: float) -> None:
        """Load the cascade.

        Args:
            scan_pixels: a whole picture is scaled down to this many pixels before it is searched.
            smallest: least face height over the picture's height.
        """
        self._cascade = cv2.CascadeClassifier(str(Path(cv2.data.haarcascades) / CASCADE))
        assert not self._cascade.empty()
        self._scan_pixels = scan_pixels
        self._smallest = smallest

    def find(self, frame_hwc: NDArray[np.uint8], gray_hw: NDArray[np.uint8]) -> list[Detection]:
        """All frontal faces. The colours are not looked at."""
        height, width = gray_hw.shape
        scale = min(1.0, (self._scan_pixels / (height * width)) ** 0.5)
        least = max(self._smallest * height * scale / FACE_HEIGHT, WINDOW_PX)
        found = self._squares(gray_hw, (0, 0, width, height), scale, (least, float(max(height, width))), 1.0)
        return distinct(found)

    def find_near(
        self, frame_hwc: NDArray[np.uint8], gray_hw: NDArray[np.uint8], boxes: Sequence[Box]
    ) -> list[Detection]:
        """Frontal faces around these boxes and about as large."""
        height = gray_hw.shape[0]
        found: list[Detection] = []
        for box in boxes:
            square = (box[3] - box[1]) * height / FACE_HEIGHT
            scale = min(NEAR_SQUARE_PX / max(square, 1.0), 2.0)
            least, most = (square * scale * factor for factor in NEAR_RANGE)
            region = around(box, gray_hw, NEAR_MARGIN)
            found += self._squares(gray_hw, region, scale, (max(least, WINDOW_PX), most), NEAR_SIZE)
        return distinct(found)

    def _squares(
        self,
        gray_hw: NDArray[np.uint8],
        region: tuple[int, int, int, int],
        scale: float,
        sides_px: tuple[float, float],
        share: float,
    ) -> list[Detection]:
        """Squares with sides in this range after scaling; `share` corrects the size of the faces in them."""
        x0, y0, x1, y1 = region
        size = (round((x1 - x0) * scale), round((y1 - y0) * scale))
        least, most = (round(side) for side in sides_px)
        if min(size) < WINDOW_PX or most < WINDOW_PX:
            return []
        part = cv2.resize(gray_hw[y0:y1, x0:x1], size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        squares, windows = self._cascade.detectMultiScale2(
            part,
            scaleFactor=SCALE_STEP,
            minNeighbors=1,
            minSize=(least, least),
            maxSize=(most, most),
        )
        height, width = gray_hw.shape
        found = []
        for (x, y, side), count in zip((map(float, square[:3]) for square in squares), windows, strict=True):
            middle_x, middle_y, side_px = x0 + (x + side / 2) / scale, y0 + (y + FACE_Y * side) / scale, side / scale
            half_x, half_y = share * FACE_WIDTH * side_px / 2, share * FACE_HEIGHT * side_px / 2
            box = (
                (middle_x - half_x) / width,
                (middle_y - half_y) / height,
                (middle_x + half_x) / width,
                (middle_y + half_y) / height,
            )
            score = float(count) / (float(count) + HALF_SCORE_WINDOWS)
            found.append(Detection(box=box, score=score, certain=int(count) >= CERTAIN_WINDOWS))
        return found
