"""Identity by SFace through OpenCV's FaceRecognizerSF. Its model file does not come with OpenCV.

Zhong et al. 2021, "SFace: Sigmoid-constrained hypersphere loss for robust face recognition".
"""

import hashlib
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.backends.face_descriptor import unit
from pipeline.backends.face_detector import Detection
from schemas.errors import UserError


class SfaceDescriptor:
    """Needs faces with landmarks."""

    def __init__(self, model: Path) -> None:
        """Load the model. Raises UserError where the file is missing or is none that OpenCV reads."""
        try:
            self._net = cv2.FaceRecognizerSF.create(str(model), "")
            digest = hashlib.sha256(model.read_bytes()).hexdigest()
        except (cv2.error, OSError) as error:
            message = f"cannot load the SFace model {model}: it must be the ONNX file of FaceRecognizerSF"
            raise UserError(message) from error
        self.name = f"sface:{digest[:8]}"

    def describe(
        self, frame_hwc: NDArray[np.uint8], gray_hw: NDArray[np.uint8], face: Detection
    ) -> NDArray[np.float32]:
        """Length 1, shape (128,) with the published model. Raises ValueError for a face without landmarks."""
        if face.landmarks_5xy is None:
            raise ValueError("SFace aligns a face by its landmarks")
        height, width = gray_hw.shape
        # FaceRecognizerSF reads a row of FaceDetectorYN: box, five points, score. It aligns by the points alone.
        row = np.zeros((1, 15), dtype=np.float32)
        row[0, 4:14] = (face.landmarks_5xy * (width, height)).ravel()
        aligned = self._net.alignCrop(cv2.cvtColor(frame_hwc, cv2.COLOR_RGB2BGR), row)
        return unit(np.asarray(self._net.feature(aligned), dtype=np.float32).ravel())
