"""Faces by YuNet through OpenCV's FaceDetectorYN: fast, with five landmarks, also for turned and small faces.

Wu et al. 2023, "YuNet: A Tiny Millisecond-level Face Detector". Its model file does not come with OpenCV.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.backends.face_detector import Box, Detection, around, distinct
from schemas.errors import UserError

LEAST_SCORE = 0.6
CERTAIN_SCORE = 0.8
SUPPRESSION_IOU = 0.3
NEAR_MARGIN = 0.75
NEAR_FACE_PX = 64
"""Near a known face the picture is scaled so that the face is this high."""
NOSE_DEPTH = 0.6
"""How far the tip of the nose stands before the line between the eyes, in distances between the eyes (mean head)."""


class YunetDetector:
    """Faces of a picture scaled down to `scan_pixels`."""

    def __init__(self, model: Path, *, scan_pixels: int, smallest: float) -> None:
        """Load the model. Raises UserError where the file is missing or is none that OpenCV reads."""
        try:
            self._net = cv2.FaceDetectorYN.create(str(model), "", (320, 320), LEAST_SCORE, SUPPRESSION_IOU)
            digest = hashlib.sha256(model.read_bytes()).hexdigest()
        except (cv2.error, OSError) as error:
            raise UserError(
                f"cannot load the YuNet model {model}: it must be the ONNX file of FaceDetectorYN"
            ) from error
        self.name = f"yunet:{digest[:8]}"
        self._scan_pixels = scan_pixels
        self._smallest = smallest

    def find(self, frame_hwc: NDArray[np.uint8], gray_hw: NDArray[np.uint8]) -> list[Detection]:
        """All faces of at least the smallest height. The grey version is used for its size only."""
        height, width = gray_hw.shape
        scale = min(1.0, (self._scan_pixels / (height * width)) ** 0.5)
        found = self._faces(frame_hwc, (0, 0, width, height), scale)
        return distinct([face for face in found if face.box[3] - face.box[1] >= self._smallest])

    def find_near(
        self, frame_hwc: NDArray[np.uint8], gray_hw: NDArray[np.uint8], boxes: Sequence[Box]
    ) -> list[Detection]:
        """Faces around these boxes."""
        found: list[Detection] = []
        for box in boxes:
            face_px = (box[3] - box[1]) * gray_hw.shape[0]
            scale = min(NEAR_FACE_PX / max(face_px, 1.0), 2.0)
            found += self._faces(frame_hwc, around(box, gray_hw, NEAR_MARGIN), scale)
        return distinct(found)

    def _faces(self, frame_hwc: NDArray[np.uint8], region: tuple[int, int, int, int], scale: float) -> list[Detection]:
        x0, y0, x1, y1 = region
        size = (round((x1 - x0) * scale), round((y1 - y0) * scale))
        if min(size) < 16:
            return []
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        part = cv2.resize(cv2.cvtColor(frame_hwc[y0:y1, x0:x1], cv2.COLOR_RGB2BGR), size, interpolation=method)
        self._net.setInputSize(size)
        _, rows = self._net.detect(part)
        height, width = frame_hwc.shape[:2]
        whole = np.array([width, height], dtype=np.float64)
        found = []
        for row in [] if rows is None else rows.astype(np.float64):
            x0y0 = (row[:2] / scale + (x0, y0)) / whole
            x1y1 = x0y0 + row[2:4] / scale / whole
            points = (row[4:14].reshape(5, 2) / scale + (x0, y0)) / whole
            found.append(
                Detection(
                    box=(float(x0y0[0]), float(x0y0[1]), float(x1y1[0]), float(x1y1[1])),
                    score=float(row[14]),
                    certain=bool(row[14] >= CERTAIN_SCORE),
                    landmarks_5xy=left_to_right(points),
                )
            )
        return found


def yaw_deg(landmarks_5xy: NDArray[np.float64], *, aspect: float) -> float:
    """How far a head is turned, in degrees, positive to the picture's right; good to about 10 degrees.

    The tip of the nose stands before the line between the eyes: seen along the line of sight, a turn by `a` moves it
    by depth * sin(a) while the eyes come closer by cos(a) (weak perspective).

    Args:
        landmarks_5xy: eyes, nose tip, mouth corners in fractions of the frame, pairs from left to right.
        aspect: width of the frame over its height.
    """
    points = landmarks_5xy * (aspect, 1.0)
    across = points[1] - points[0]
    apart = max(float(np.hypot(*across)), 1e-9)
    nose = float(np.dot(points[2] - (points[0] + points[1]) / 2, across / apart))
    return float(np.degrees(np.arctan2(nose / NOSE_DEPTH, apart)))


def left_to_right(points_5xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """YuNet names eyes and mouth corners by the person's side; in a mirrored picture the two may swap."""
    order = [0, 1, 2, 3, 4]
    if points_5xy[0, 0] > points_5xy[1, 0]:
        order[:2] = [1, 0]
    if points_5xy[3, 0] > points_5xy[4, 0]:
        order[3:] = [4, 3]
    return points_5xy[order]
