"""How a picture moves as a whole, and how long it stands still."""

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 96
GRID = 8
"""Points that are followed, along either side."""
REACH = (15, 15)
LEAST_STRUCTURE = 1e-3
"""Smallest eigenvalue of a point's surroundings below which it cannot be followed."""
FEWEST = 8
"""Points that must be followed to tell what the picture does."""
SAME = 0.1
"""Mean change of a small picture, in grey levels, up to which it is the same picture again."""
FPS = 25

Gray = NDArray[np.uint8]


class PictureMotion:
    """Takes small pictures of a clip (SIDE x SIDE), one a frame."""

    def __init__(self) -> None:
        at = (np.arange(GRID, dtype=np.float32) + 0.5) * SIDE / GRID
        self._points = np.stack(np.meshgrid(at, at), axis=-1).reshape(-1, 1, 2)
        self._compared: Gray | None = None
        self._since = 0
        self._shifts: list[float] = []
        self._repeats = 0
        self._steps = 0
        self._run = self._longest = 0

    def add(self, small: Gray, change: float | None, *, compare: bool) -> None:
        """The next picture, and its mean change since the one before in grey levels; None for the first.

        `compare`: measure the shift since the last picture for which this was asked; it costs about a millisecond.
        """
        if change is not None:
            self._steps += 1
            self._run = self._run + 1 if change < SAME else 0
            self._repeats += change < SAME
            self._longest = max(self._longest, self._run)
        self._since += 1
        if not compare:
            return
        if self._compared is not None:
            moved, followed, _ = cv2.calcOpticalFlowPyrLK(
                self._compared,
                small,
                self._points,
                np.zeros_like(self._points),
                winSize=REACH,
                maxLevel=2,
                minEigThreshold=LEAST_STRUCTURE,
            )
            shifts = (moved - self._points)[followed[:, 0] == 1, 0]
            if len(shifts) >= FEWEST:
                self._shifts.append(float(np.hypot(*np.median(shifts, axis=0))) / SIDE * FPS / self._since)
        self._compared, self._since = small, 0

    @property
    def camera(self) -> float | None:
        """Median shift of the whole picture in frames a second, the frame's sides counting alike; None if never told.

        The median over points spread over the picture, each followed by itself (Lucas and Kanade 1981, in pyramids):
        what fills less than half of the picture does not matter. A zoom or turn about the middle is no shift.
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
