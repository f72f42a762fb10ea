"""A weak identity descriptor without a learned model: gradients and binary patterns on a grid over the aligned face.

It tells apart people in like pictures (the same portrait under another light, crop or size) and recognises hardly
anybody in an unlike one: it is there so that everything downstream runs, not to be believed. A face and its mirror
image get the same descriptor.

Histograms of oriented gradients: Dalal and Triggs 2005, "Histograms of oriented gradients for human detection".
Binary patterns: Ahonen et al. 2004, "Face recognition with local binary patterns".
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.backends.face_crops import ALIGNED_PX, aligned_face
from pipeline.backends.face_descriptor import unit
from pipeline.backends.face_detector import Detection

DIMENSION = 1456

GRADIENT_CELLS, ORIENTATIONS = 8, 8
CLIP = 0.3
"""Histogram values are cut here, in lengths of their neighbourhood, so that no single edge decides."""
PATTERN_CELLS, PATTERN_NEIGHBOURS = 4, 8
PATTERN_RADIUS_PX = 2.0
FINE_PX, COARSE_PX, CONTRAST_PX = 1.0, 3.0, 6.0
"""Light is taken out: blur at COARSE_PX off, local contrast within CONTRAST_PX evened out."""


class ClassicalDescriptor:
    """Gradient histograms (8 x 8 cells, 8 directions) and uniform binary patterns (4 x 4 cells, 59 bins)."""

    name = "classical"

    def describe(
        self, frame_hwc: NDArray[np.uint8], gray_hw: NDArray[np.uint8], face: Detection
    ) -> NDArray[np.float32]:
        """Shape (1456,), length 1. The colours are not looked at."""
        straight = aligned_face(gray_hw, face)
        mirrored = np.ascontiguousarray(straight[:, ::-1])
        gradients = unit(_gradients(straight) + _gradients(mirrored))
        patterns = unit(_patterns(straight) + _patterns(mirrored))
        return unit(np.concatenate([gradients, patterns]))


def _gradients(face_hw: NDArray[np.uint8]) -> NDArray[np.float32]:
    even = np.sqrt(face_hw.astype(np.float32) / 255)
    even = _blurred(even, FINE_PX) - _blurred(even, COARSE_PX)
    even /= np.sqrt(_blurred(even * even, CONTRAST_PX)) + 0.02
    even = np.clip(even, -3, 3)
    across, down = cv2.Sobel(even, cv2.CV_32F, 1, 0), cv2.Sobel(even, cv2.CV_32F, 0, 1)
    strength, direction = np.hypot(across, down) * FACE_SHARE, np.arctan2(down, across)
    cell = ALIGNED_PX // GRADIENT_CELLS
    layers = []
    for number in range(ORIENTATIONS):
        near = np.clip(np.cos(direction - 2 * np.pi * number / ORIENTATIONS), 0, 1) ** 4
        layers.append(
            cv2.resize(_blurred(near * strength, cell / 3.5), (GRADIENT_CELLS,) * 2, interpolation=cv2.INTER_AREA)
        )
    cells = np.ascontiguousarray(np.stack(layers, axis=-1), dtype=np.float32)
    around = np.sqrt((_blurred(cells, 1.0) ** 2).sum(axis=-1, keepdims=True)) + 1e-3 * float(cells.max())
    cells = np.minimum(cells / np.maximum(around, 1e-9), CLIP)
    return unit((cells - cells.mean()).ravel())


def _patterns(face_hw: NDArray[np.uint8]) -> NDArray[np.float32]:
    face = _blurred(face_hw.astype(np.float32), FINE_PX)
    code = np.zeros(face.shape, dtype=np.int64)
    for number in range(PATTERN_NEIGHBOURS):
        angle = 2 * np.pi * number / PATTERN_NEIGHBOURS
        shift = np.array([[1, 0, -PATTERN_RADIUS_PX * np.cos(angle)], [0, 1, -PATTERN_RADIUS_PX * np.sin(angle)]])
        there = cv2.warpAffine(face, shift, face.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
        code |= (there >= face).astype(np.int64) << number
    label = UNIFORM[code]
    cell = ALIGNED_PX // PATTERN_CELLS
    histograms = [
        np.sqrt(np.bincount(label[y : y + cell, x : x + cell].ravel(), minlength=int(UNIFORM.max()) + 1) / cell**2)
        for y in range(0, ALIGNED_PX, cell)
        for x in range(0, ALIGNED_PX, cell)
    ]
    joined = np.concatenate(histograms).astype(np.float32)
    return unit(joined - joined.mean())


def _blurred(picture: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), dtype=np.float32)


def _uniform_labels() -> NDArray[np.int64]:
    """A label of its own for every pattern with at most two changes around the circle; one for all the others."""
    labels = np.zeros(2**PATTERN_NEIGHBOURS, dtype=np.int64)
    following = 0
    for pattern in range(2**PATTERN_NEIGHBOURS):
        bits = [pattern >> number & 1 for number in range(PATTERN_NEIGHBOURS)]
        if sum(bit != bits[number - 1] for number, bit in enumerate(bits)) <= 2:
            labels[pattern] = following
            following += 1
        else:
            labels[pattern] = -1
    labels[labels < 0] = following
    return labels


def _face_share() -> NDArray[np.float32]:
    """How much each pixel of an aligned face belongs to the face: 1 inside an ellipse, 0 outside."""
    y, x = (np.mgrid[:ALIGNED_PX, :ALIGNED_PX] + 0.5) / ALIGNED_PX
    inside = ((x - 0.5) / 0.46) ** 2 + ((y - 0.52) / 0.52) ** 2 < 1
    return _blurred(inside.astype(np.float32), 0.03 * ALIGNED_PX)


UNIFORM = _uniform_labels()
FACE_SHARE = _face_share()
