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
PROPOSAL_STEP = 2 ** (1 / 3)
"""From one size of window to the next where a whole picture is searched: three to an octave."""
NEAR_STEP = 1.15
"""The same near a face."""
SAME_GROUP = 0.2
"""Windows whose edges differ by less of their size are of one face, as in OpenCV's own grouping."""
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

Window = list[int]
"""Left, top, width and height in pixels of the picture."""


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
        """All frontal faces. The colours are not looked at.

        A sparse search proposes, and a dense one near each proposal decides. OpenCV puts its windows on every second
        pixel of a picture scaled to the window, but on every pixel where it scales by two or more, so that windows
        twice as large cost as much as all smaller ones: those are sought in a picture of half the size.
        """
        height, width = gray_hw.shape
        scale = min(1.0, (self._scan_pixels / (height * width)) ** 0.5)
        least = self._smallest * height * scale / FACE_HEIGHT
        whole = (0, 0, width, height)
        windows = [
            *self._windows(gray_hw, whole, scale, (least, 2 * WINDOW_PX - 1), PROPOSAL_STEP),
            *self._windows(gray_hw, whole, scale / 2, (least / 2, max(height, width)), PROPOSAL_STEP),
        ]
        # Twice each: a window that no other agrees with is a proposal too.
        squares, _ = cv2.groupRectangles(windows * 2, 1, SAME_GROUP)
        found = self.find_near(frame_hwc, gray_hw, [_face_box(square, gray_hw) for square in squares])
        return [face for face in found if face.box[3] - face.box[1] >= self._smallest]

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
            windows = self._windows(gray_hw, region, scale, (least, most), NEAR_STEP)
            squares, counts = cv2.groupRectangles(windows, 1, SAME_GROUP)
            found += [
                Detection(
                    box=_face_box(face, gray_hw, NEAR_SIZE),
                    score=count / (count + HALF_SCORE_WINDOWS),
                    certain=count >= CERTAIN_WINDOWS,
                )
                for face, count in zip(squares, map(int, counts), strict=True)
            ]
        return distinct(found)

    def _windows(
        self,
        gray_hw: NDArray[np.uint8],
        region: tuple[int, int, int, int],
        scale: float,
        sides_px: tuple[float, float],
        step: float,
    ) -> list[Window]:
        """Windows that the cascade takes for a face, with sides in this range after scaling.

        `step`: the side of the next larger window over that of one.
        """
        x0, y0, x1, y1 = region
        size = (round((x1 - x0) * scale), round((y1 - y0) * scale))
        least, most = max(round(sides_px[0]), WINDOW_PX), round(sides_px[1])
        if min(size) < WINDOW_PX or most < WINDOW_PX:
            return []
        part = cv2.resize(gray_hw[y0:y1, x0:x1], size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        squares = self._cascade.detectMultiScale(
            part, scaleFactor=step, minNeighbors=0, minSize=(least, least), maxSize=(most, most)
        )
        placed = np.reshape(squares, (-1, 4)) / scale + (x0, y0, 0, 0)
        windows: list[Window] = np.rint(placed).astype(int).tolist()
        return windows


def _face_box(square: Sequence[int], gray_hw: NDArray[np.uint8], share: float = 1.0) -> Box:
    """The face in a square of the cascade, in pixels of a picture (H, W); `share` corrects its size."""
    height, width = gray_hw.shape
    x, y, side = map(float, square[:3])
    middle_x, middle_y = x + side / 2, y + FACE_Y * side
    half_x, half_y = share * FACE_WIDTH * side / 2, share * FACE_HEIGHT * side / 2
    return (
        (middle_x - half_x) / width,
        (middle_y - half_y) / height,
        (middle_x + half_x) / width,
        (middle_y + half_y) / height,
    )
