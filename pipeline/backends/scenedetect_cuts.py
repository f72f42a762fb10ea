"""PySceneDetect's detectors, fed picture by picture. They propose hard cuts; `transitions` disposes."""

from fractions import Fraction
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

BACKEND = f"scenedetect {version('scenedetect-headless')}"

LONGEST_LAG = 2
"""A cut is proposed at most this many pictures late (half of the adaptive detector's window)."""

# The detectors count frames; times are ours, so that a variable frame rate needs no average.
_ANY_RATE = Fraction(25)


class CutProposer:
    """The content detector (absolute change in hue, saturation and brightness) joined with the adaptive detector
    (change relative to its neighbours). Minimum scene lengths and their own flash filter are off."""

    def __init__(self, *, content_threshold: float, adaptive_ratio: float) -> None:
        from scenedetect.common import FrameTimecode
        from scenedetect.detectors import AdaptiveDetector, ContentDetector

        self._timecode = FrameTimecode
        self._content = ContentDetector(threshold=content_threshold, min_scene_len=0)
        self._adaptive = AdaptiveDetector(adaptive_threshold=adaptive_ratio, min_scene_len=0, window_width=LONGEST_LAG)

    def add(self, index: int, picture_bgr: NDArray[np.uint8]) -> set[int]:
        """Take picture `index`, BGR uint8 (H, W, 3). Returns numbers of pictures that may begin a shot."""
        timecode = self._timecode(index, fps=_ANY_RATE)
        proposed = [
            *self._content.process_frame(timecode, picture_bgr),
            *self._adaptive.process_frame(timecode, picture_bgr),
        ]
        return {int(cut.frame_num) for cut in proposed}
