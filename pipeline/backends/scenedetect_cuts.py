"""PySceneDetect's detectors, fed picture by picture. They propose hard cuts; `transitions` disposes."""

from fractions import Fraction
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

BACKEND = f"scenedetect {version('scenedetect-headless')}"

LONGEST_LAG = 2
"""A cut is proposed at most this many pictures late (half of the adaptive detector's window)."""

# The detectors count frames; times are ours, so that a variable frame rate needs no average.
_ANY_RATE = Fraction(25)


class CutProposer:
    """The content detector (absolute change in hue, saturation and brightness) joined with the adaptive detector
    (change relative to its neighbours). Minimum scene lengths and their own flash filter are off.

    The adaptive detector is a content detector that looks at the changes around too: each is measured once, for both.
    """

    def __init__(self, *, content_threshold: float, adaptive_ratio: float) -> None:
        from scenedetect.common import FrameTimecode
        from scenedetect.detectors import AdaptiveDetector

        class BothDetectors(AdaptiveDetector):  # type: ignore[misc]
            """The adaptive detector, and what the content detector within it finds."""

            def process_frame(self, timecode: Any, frame_img: NDArray[np.uint8]) -> list[Any]:
                adaptive = super().process_frame(timecode, frame_img)
                return [*adaptive, timecode] if self._frame_score >= content_threshold else adaptive

        self._timecode = FrameTimecode
        self._detector = BothDetectors(adaptive_threshold=adaptive_ratio, min_scene_len=0, window_width=LONGEST_LAG)

    def add(self, index: int, picture_bgr: NDArray[np.uint8]) -> set[int]:
        """Take picture `index`, BGR uint8 (H, W, 3). Returns numbers of pictures that may begin a shot."""
        proposed = self._detector.process_frame(self._timecode(index, fps=_ANY_RATE), picture_bgr)
        return {int(cut.frame_num) for cut in proposed}
