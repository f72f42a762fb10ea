"""How a picture moves as a whole, and how long it stands still."""

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 96
SURE = 0.05
"""Response of the phase correlation below which two pictures have no shift in common."""
SAME = 0.1
"""Mean change of a small picture, in grey levels, up to which it is the same picture again."""
FPS = 25

Gray = NDArray[np.uint8]


class PictureMotion:
    """Takes small pictures of a clip (SIDE x SIDE), one a frame."""

    def __init__(self) -> None:
        self._window = cv2.createHanningWindow((SIDE, SIDE), cv2.CV_32F)
        self._compared: NDArray[np.float32] | None = None
        self._since = 0
        self._shifts: list[float] = []
        self._repeats = 0
        self._steps = 0
        self._run = self._longest = 0

    def add(self, small: Gray, change: float | None, *, compare: bool) -> None:
        """The next picture, and its mean change since the one before in grey levels; None for the first.

        `compare`: measure the shift since the last picture for which this was asked; it costs a Fourier transform.
        """
        if change is not None:
            self._steps += 1
            self._run = self._run + 1 if change < SAME else 0
            self._repeats += change < SAME
            self._longest = max(self._longest, self._run)
        self._since += 1
        if not compare:
            return
        picture = small.astype(np.float32)
        if self._compared is not None:
            (x, y), response = cv2.phaseCorrelate(self._compared, picture, self._window)
            if response >= SURE:
                self._shifts.append(float(np.hypot(x, y)) / SIDE * FPS / self._since)
        self._compared, self._since = picture, 0

    @property
    def camera(self) -> float | None:
        """Median shift of the whole picture in frames a second, the frame's sides counting alike; None if never told.

        By phase correlation (Kuglin and Hines 1975): what most of the picture does, so that somebody who fills it is
        taken for the camera. A zoom or turn about the middle is no shift.
        """
        return float(np.median(self._shifts)) if self._shifts else None

    @property
    def repeated(self) -> float | None:
        """Share of frames that show the picture before them again, 0 to 1; None for a single frame."""
        return self._repeats / self._steps if self._steps else None

    @property
    def longest_still_s(self) -> float:
        """Longest time without any change, in seconds."""
        return self._longest / FPS
