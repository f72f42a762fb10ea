"""PySceneDetect's detectors, fed picture by picture. They propose hard cuts; `transitions` disposes."""

from importlib.metadata import version
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

BACKEND = f"scenedetect {version('scenedetect-headless')}"

LONGEST_LAG = 2
"""A cut is proposed at most this many pictures late (half of the adaptive detector's window)."""


class CutProposer:
    """The content detector (absolute change in hue, saturation and brightness) joined with the adaptive detector
    (change relative to its neighbours). Minimum scene lengths and their own flash filter are off.

    The adaptive detector is a content detector that looks at the changes around too: each is measured once, for both,
    and by OpenCV, which needs a fifth of the time that the detector's own way of it takes. Times are numbers of
    pictures: nothing in the detectors asks for more, and a variable frame rate needs no average.
    """

    def __init__(self, *, content_threshold: float, adaptive_ratio: float) -> None:
        from scenedetect.detectors import AdaptiveDetector

        class BothDetectors(AdaptiveDetector):  # type: ignore[misc]
            """The adaptive detector, and what the content detector within it finds."""

            _hsv: NDArray[Any] | None = None

            def process_frame(self, timecode: int, frame_img: NDArray[np.uint8]) -> list[int]:
                adaptive: list[int] = super().process_frame(timecode, frame_img)
                return [*adaptive, timecode] if self._frame_score >= content_threshold else adaptive

            def _calculate_frame_score(self, timecode: int, frame_img: NDArray[np.uint8]) -> float:
                """Mean change of hue, saturation and brightness, which weigh alike; 0 for the first picture."""
                before, self._hsv = self._hsv, cv2.cvtColor(frame_img, cv2.COLOR_BGR2HSV)
                return 0.0 if before is None else cv2.norm(before, self._hsv, cv2.NORM_L1) / before.size

        self._detector = BothDetectors(adaptive_threshold=adaptive_ratio, min_scene_len=0, window_width=LONGEST_LAG)

    def add(self, index: int, picture_bgr: NDArray[np.uint8]) -> set[int]:
        """Take picture `index`, BGR uint8 (H, W, 3). Returns numbers of pictures that may begin a shot."""
        return set(self._detector.process_frame(index, picture_bgr))
