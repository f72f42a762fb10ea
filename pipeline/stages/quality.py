"""Quality: how sharp, bright and lively a clip is, a signature to tell copies by, and a strip of frames to look at."""

import hashlib

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.backends.sharpness import sharpness
from pipeline.backends.signature import SIGNATURE_EVERY, thumbnail, to_signature
from pipeline.stage import Clip, FrameMeter, FramesHWC, Gray, Measured, Media, Unmeasurable
from schemas.configuration import Configuration

VERSION = 1

STRIP_FRAMES = 5
STRIP_WIDTH_PX = 160
JPEG_QUALITY = 82
MOTION_PX = 64
"""Motion is measured on pictures of this size, so that noise and compression hardly count."""
BAR_LUMA = 20
"""A row or column that never holds a brighter pixel is a black bar."""


class QualityConfig(Configuration):
    """How often the costlier measurements look. Motion and bars look at every frame."""

    every: int = Field(default=4, ge=1, description="Frames from one measurement of sharpness and light to the next")


class QualityStage:
    """Measures from pixels; what is good enough is decided later."""

    name = "quality"
    backend = f"opencv {cv2.__version__}"

    def __init__(self, config: QualityConfig) -> None:
        self._config = config

    def start(self, clip: Clip) -> FrameMeter:
        """See FrameStage."""
        return _QualityMeter(clip, self._config)


class _QualityMeter:
    """Keeps one small picture of the frame before, running extremes of rows and columns, and the strip."""

    def __init__(self, clip: Clip, config: QualityConfig) -> None:
        self._clip = clip
        self._every = config.every
        self._sharpness: list[float] = []
        self._luma: list[float] = []
        self._contrast: list[float] = []
        self._motion: list[float] = []
        self._before: NDArray[np.float32] | None = None
        self._brightest_row = np.zeros(clip.height, np.uint8)
        self._brightest_column = np.zeros(clip.width, np.uint8)
        self._thumbnails: list[NDArray[np.uint8]] = []
        self._strip_at = set(np.linspace(0, clip.frames - 1, STRIP_FRAMES).round().astype(int).tolist())
        self._strip: list[FramesHWC] = []

    def add(self, index: int, frame_hwc: FramesHWC, gray_hw: Gray) -> None:
        small = cv2.resize(gray_hw, (MOTION_PX, MOTION_PX), interpolation=cv2.INTER_AREA).astype(np.float32)
        if self._before is not None:
            self._motion.append(float(np.abs(small - self._before).mean() / 255))
        self._before = small
        np.maximum(self._brightest_row, gray_hw.max(axis=1), out=self._brightest_row)
        np.maximum(self._brightest_column, gray_hw.max(axis=0), out=self._brightest_column)
        if index % self._every == 0:
            self._luma.append(float(gray_hw.mean() / 255))
            self._contrast.append(float(gray_hw.std() / 255))
            value = sharpness(gray_hw)
            if value is not None:
                self._sharpness.append(value)
        if index % SIGNATURE_EVERY == 0:
            self._thumbnails.append(thumbnail(gray_hw))
        if index in self._strip_at:
            height = max(1, round(gray_hw.shape[0] * STRIP_WIDTH_PX / gray_hw.shape[1]))
            resized = cv2.resize(frame_hwc, (STRIP_WIDTH_PX, height), interpolation=cv2.INTER_AREA)
            self._strip.append(resized.astype(np.uint8, copy=False))

    def finish(self) -> Measured:
        """One row of `quality`.

        sharpness: share of fine detail, 0 (blurred) to about 1; NULL in a picture without any structure.
        luma, contrast: mean and standard deviation of the grey values, 0 to 1.
        motion: mean change of a pixel from one frame to the next (40 ms), 0 to 1.
        bars: share of the picture that is black at its borders throughout.
        text_area: NULL; the local profile has no text detector.
        """
        if not self._luma:
            raise Unmeasurable("the clip has no frames")
        strip = cv2.imencode(
            ".jpg",
            cv2.cvtColor(np.hstack(self._strip), cv2.COLOR_RGB2BGR),
            [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY],
        )[1].tobytes()
        row = {
            "id": self._clip.id,
            "sharpness": float(np.median(self._sharpness)) if self._sharpness else None,
            "luma": float(np.mean(self._luma)),
            "contrast": float(np.mean(self._contrast)),
            "motion": float(np.mean(self._motion)) if self._motion else None,
            "text_area": None,
            "bars": _bars(self._brightest_row, self._brightest_column),
            "signature": to_signature(self._thumbnails),
            "thumbnail_sha256": hashlib.sha256(strip).hexdigest(),
        }
        return Measured(rows={"quality": [row]}, media=[Media(kind="thumbnails", data=strip, suffix=".jpg")])


def _bars(row_h: NDArray[np.uint8], column_w: NDArray[np.uint8]) -> float:
    """Share of the area outside the smallest rectangle that holds every row and column with light in it."""
    lit = [np.flatnonzero(line > BAR_LUMA) for line in (row_h, column_w)]
    if any(not found.size for found in lit):
        return 1.0
    seen = [(found[-1] - found[0] + 1) / len(line) for found, line in zip(lit, (row_h, column_w), strict=True)]
    return float(1 - seen[0] * seen[1])
