"""Faces by SCRFD and identity by ArcFace, through insightface, from a pack of ONNX files in its published layout.

Guo et al. 2022, "Sample and Computation Redistribution for Efficient Face Detection"; Deng et al. 2019, "ArcFace".
The published models are for non-commercial research only.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.backends.face_descriptor import unit
from pipeline.backends.face_detector import Box, Detection, around, distinct
from pipeline.backends.yunet import left_to_right
from pipeline.weights.weight import Weight, WeightFile
from schemas.errors import UserError

WEIGHTS = (
    Weight(
        name="insightface-buffalo-l",
        source="https://github.com/deepinsight/insightface/releases/tag/v0.7",
        licence="insightface models",
        licence_note="for non-commercial research only; a licence for other uses is sold by insightface",
        files=(
            WeightFile(
                path="models/buffalo_l/buffalo_l.zip",
                url="https://github.com/deepinsight/insightface/releases/download/v0.7/buffalo_l.zip",
                sha256="80ffe37d8a5940d59a7384c201a2a38d4741f2f3c51eef46ebb28218a7b0ca2f",
                size=288_621_354,
                unpack=(
                    ("det_10g.onnx", "5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91"),
                    ("w600k_r50.onnx", "4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43"),
                ),
            ),
        ),
    ),
)

LEAST_SCORE = 0.5
CERTAIN_SCORE = 0.65
SCAN_SIZE = (640, 640)
NEAR_SIZE = (320, 320)
NEAR_MARGIN = 0.75
PROVIDERS = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}


@cache
def _pack(root: Path, device: str) -> Any:
    """The detector and the recognizer of the one pack under `root/models`, on the device asked for and no other."""
    from insightface.app import FaceAnalysis

    packs = sorted(path for path in (root / "models").glob("*") if any(path.glob("*.onnx")))
    if len(packs) != 1:
        raise UserError(f"{root}/models must hold one folder of ONNX files, as insightface lays out its packs")
    provider = PROVIDERS[device]
    try:
        app = FaceAnalysis(
            name=packs[0].name,
            root=str(root),
            allowed_modules=["detection", "recognition"],
            providers=[provider],
        )
    except Exception as error:
        raise UserError(f"cannot load the insightface pack {packs[0]}: {' '.join(str(error).split())[:300]}") from error
    for task in ("detection", "recognition"):
        if task not in app.models:
            raise UserError(f"the insightface pack {packs[0]} has no model for {task}")
        used = app.models[task].session.get_providers()
        # onnxruntime takes the processor where the GPU cannot be had, and says so nowhere.
        if used[0] != provider:
            raise UserError(f"onnxruntime runs {task} on {used[0]}, not on {provider}: install onnxruntime-gpu")
    detector = app.models["detection"]
    detector.prepare(0 if device == "cuda" else -1, det_thresh=LEAST_SCORE, input_size=detector.input_size or SCAN_SIZE)
    return app


class InsightfaceDetector:
    """Faces of a picture, with five landmarks."""

    def __init__(self, root: Path, *, version: str, device: str, smallest: float) -> None:
        """Load the pack. Raises UserError where it cannot be loaded on that device."""
        detector = _pack(root, device).models["detection"]
        self._detector = detector
        # Graphs with a fixed input take no other.
        fixed = isinstance(detector.session.get_inputs()[0].shape[2], int)
        self._near = tuple(detector.input_size) if fixed else NEAR_SIZE
        self._scan = tuple(detector.input_size) if fixed else SCAN_SIZE
        self._smallest = smallest
        self.name = f"scrfd:{version}"

    def find(self, frame_hwc: NDArray[np.uint8], gray_hw: NDArray[np.uint8]) -> list[Detection]:
        """All faces of at least the smallest height."""
        height, width = gray_hw.shape
        found = self._faces(frame_hwc, (0, 0, width, height), self._scan)
        return distinct([face for face in found if face.box[3] - face.box[1] >= self._smallest])

    def find_near(
        self, frame_hwc: NDArray[np.uint8], gray_hw: NDArray[np.uint8], boxes: Sequence[Box]
    ) -> list[Detection]:
        """Faces around these boxes."""
        return distinct(
            [face for box in boxes for face in self._faces(frame_hwc, around(box, gray_hw, NEAR_MARGIN), self._near)]
        )

    def _faces(
        self, frame_hwc: NDArray[np.uint8], region: tuple[int, int, int, int], size: tuple[int, ...]
    ) -> list[Detection]:
        x0, y0, x1, y1 = region
        if min(x1 - x0, y1 - y0) < 16:
            return []
        part = cv2.cvtColor(np.ascontiguousarray(frame_hwc[y0:y1, x0:x1]), cv2.COLOR_RGB2BGR)
        rows, points = self._detector.detect(part, input_size=size)
        if points is None and len(rows):
            raise UserError("this detector gives no landmarks; ArcFace and yaw need them")
        whole = np.array(frame_hwc.shape[1::-1], dtype=np.float64)
        corner = np.array([x0, y0], dtype=np.float64)
        found = []
        for number, row in enumerate(np.asarray(rows, dtype=np.float64)):
            box = ((row[:4].reshape(2, 2) + corner) / whole).ravel()
            landmarks = (np.asarray(points[number], dtype=np.float64) + corner) / whole
            found.append(
                Detection(
                    box=(float(box[0]), float(box[1]), float(box[2]), float(box[3])),
                    score=float(row[4]),
                    certain=bool(row[4] >= CERTAIN_SCORE),
                    landmarks_5xy=left_to_right(landmarks),
                )
            )
        return found


class ArcfaceDescriptor:
    """Needs faces with landmarks."""

    def __init__(self, root: Path, *, version: str, device: str) -> None:
        """Load the pack. Raises UserError where it cannot be loaded on that device."""
        self._net = _pack(root, device).models["recognition"]
        self.name = f"arcface:{version}"

    def describe(
        self, frame_hwc: NDArray[np.uint8], gray_hw: NDArray[np.uint8], face: Detection
    ) -> NDArray[np.float32]:
        """Length 1, shape (512,) with the published model. Raises ValueError for a face without landmarks."""
        from insightface.utils import face_align

        if face.landmarks_5xy is None:
            raise ValueError("ArcFace aligns a face by its landmarks")
        height, width = gray_hw.shape
        points = (face.landmarks_5xy * (width, height)).astype(np.float32)
        picture = cv2.cvtColor(frame_hwc, cv2.COLOR_RGB2BGR)
        aligned = face_align.norm_crop(picture, landmark=points, image_size=self._net.input_size[0])
        return unit(np.asarray(self._net.get_feat(aligned), dtype=np.float32).ravel())
