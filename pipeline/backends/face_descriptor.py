"""What an identity descriptor gives: a vector for a face; faces of one person lie close by cosine similarity."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.backends.face_detector import Detection


class FaceDescriptor(Protocol):
    """Describes faces. Not picklable: made in the process that uses it."""

    name: str

    def describe(
        self, frame_hwc: NDArray[np.uint8], gray_hw: NDArray[np.uint8], face: Detection
    ) -> NDArray[np.float32]:
        """A vector of length 1, shape (dimension,), for a face in a picture (RGB, and its grey version)."""
        ...


def unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """The vector at length 1; a vector of zeros stays."""
    length = float(np.linalg.norm(vector))
    return np.asarray(vector / length if length > 0 else vector, dtype=np.float32)
