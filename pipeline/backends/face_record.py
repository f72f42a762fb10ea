"""What is learnt of one face while it is followed. Holds a few numbers a look and the best picture so far."""

import math
from collections.abc import Callable
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.backends.face_crops import face_pixels, face_sharpness, head_box
from pipeline.backends.face_descriptor import FaceDescriptor, unit
from pipeline.backends.face_detector import Box, Detection
from pipeline.backends.yunet import yaw_deg

HALF_SIZE_PX = 64.0
"""Face height at which size counts half in the choice of the best picture."""


class MouthMeter(Protocol):
    """Follows one mouth through consecutive frames."""

    def add(self, gray_hw_uint8: NDArray[np.uint8], box_fractions: Box | None) -> float:
        """How far the mouth is open in the next frame, NaN where that cannot be told."""
        ...


class FaceRecord:
    """Measurements of one track, added look by look in any order, mouths frame by frame in order."""

    def __init__(self, *, descriptor: FaceDescriptor, mouth: Callable[[], MouthMeter], describe_every: int) -> None:
        self._descriptor = descriptor
        self._mouth = mouth()
        self._describe_every = describe_every
        self._sharpness: list[float] = []
        self._luma: list[float] = []
        self._yaw: list[float] = []
        self._described: dict[int, NDArray[np.float32]] = {}
        self._best = -1.0
        self._best_hwc: NDArray[np.uint8] | None = None
        self.mouth: dict[int, float] = {}
        """Frame -> openness of the mouth."""
        self.reference_frame = -1
        self.reference_box: Box = (0.0, 0.0, 0.0, 0.0)
        """What the reference picture shows of the frame."""
        self.reference_face: Box = (0.0, 0.0, 0.0, 0.0)
        """Where the face is in that frame."""

    def look(self, index: int, frame_hwc: NDArray[np.uint8], gray_hw: NDArray[np.uint8], found: Detection) -> None:
        """Measure the face in one frame."""
        height, width = gray_hw.shape
        face = face_pixels(gray_hw, found.box)
        sharpness = face_sharpness(face)
        yaw = yaw_deg(found.landmarks_5xy, aspect=width / height) if found.landmarks_5xy is not None else None
        if not math.isnan(sharpness):
            self._sharpness.append(sharpness)
            self._luma.append(float(face.mean()) / 255)
        if yaw is not None:
            self._yaw.append(yaw)
        if all(abs(index - other) >= self._describe_every for other in self._described):
            self._described[index] = self._descriptor.describe(frame_hwc, gray_hw, found)
        tall = (found.box[3] - found.box[1]) * height
        frontal = 1.0 if yaw is None else max(math.cos(math.radians(yaw)), 0.0) ** 2
        worth = found.score * frontal * tall / (tall + HALF_SIZE_PX) * (0.0 if math.isnan(sharpness) else sharpness)
        if worth > self._best:
            self._best = worth
            self._keep(index, frame_hwc, found.box)

    def follow_mouth(self, index: int, gray_hw: NDArray[np.uint8], box: Box | None) -> None:
        """Measure the mouth in the next frame."""
        self.mouth[index] = self._mouth.add(gray_hw, box)

    @property
    def sharpness(self) -> float | None:
        """Median over the looks."""
        return float(np.median(self._sharpness)) if self._sharpness else None

    @property
    def luma(self) -> float | None:
        """Median brightness of the face, 0 to 1."""
        return float(np.median(self._luma)) if self._luma else None

    @property
    def yaw_deg(self) -> float | None:
        """Median; None without landmarks."""
        return float(np.median(self._yaw)) if self._yaw else None

    @property
    def embedding(self) -> NDArray[np.float32]:
        """Mean of the descriptions, length 1."""
        return unit(np.mean([vector for _, vector in sorted(self._described.items())], axis=0))

    def reference_png(self) -> bytes:
        """The best picture of head and shoulders, as it is in the frame."""
        assert self._best_hwc is not None
        encoded, data = cv2.imencode(".png", cv2.cvtColor(self._best_hwc, cv2.COLOR_RGB2BGR))
        assert encoded
        return bytes(data)

    def _keep(self, index: int, frame_hwc: NDArray[np.uint8], face: Box) -> None:
        height, width = frame_hwc.shape[:2]
        box = head_box(face, aspect=width / height)
        x0, y0 = int(box[0] * width), int(box[1] * height)
        x1, y1 = min(math.ceil(box[2] * width), width), min(math.ceil(box[3] * height), height)
        self._best_hwc = frame_hwc[y0:y1, x0:x1].copy()
        self.reference_frame = index
        self.reference_face = face
        self.reference_box = (x0 / width, y0 / height, x1 / width, y1 / height)
