"""Pieces cut out around a face: the aligned grey face, its sharpness, and the head with shoulders."""

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.backends.face_detector import Box, Detection

ALIGNED_PX = 48
"""Side of an aligned face."""
EYE_DISTANCE, EYE_ROW = 0.42, 0.36
"""Distance between the eyes and their row in the aligned face, in fractions of its side."""

# Where the eyes of an upright frontal face are within its box.
BOX_EYE_X = (0.28, 0.72)
BOX_EYE_Y = 0.389

SHARPNESS_PX = 96
"""Faces are brought to at most this height before their sharpness is measured."""

HEAD_SIDE, HEAD_ABOVE, HEAD_BELOW = 1.3, 0.7, 1.3
"""How far head and shoulders reach: to either side of the face's middle, above its top, below its chin, in face
heights."""


def aligned_face(gray_hw: NDArray[np.uint8], face: Detection) -> NDArray[np.uint8]:
    """The face turned and scaled so that the eyes stand at fixed places: uint8 (ALIGNED_PX, ALIGNED_PX).

    Without landmarks the eyes are taken to be where they are in the box of an upright frontal face.
    """
    size = np.array([gray_hw.shape[1], gray_hw.shape[0]], dtype=np.float64)
    # Warping counts from the middle of the first pixel.
    if face.landmarks_5xy is not None:
        left, right = face.landmarks_5xy[0] * size - 0.5, face.landmarks_5xy[1] * size - 0.5
    else:
        x0, y0, x1, y1 = face.box
        row = y0 + BOX_EYE_Y * (y1 - y0)
        left, right = (np.array([x0 + share * (x1 - x0), row]) * size - 0.5 for share in BOX_EYE_X)
    across = right - left
    apart = max(float(np.hypot(*across)), 1.0)
    scale = EYE_DISTANCE * ALIGNED_PX / apart
    cos, sin = across / apart * scale
    linear = np.array([[cos, sin], [-sin, cos]])
    shift = np.array([0.5, EYE_ROW]) * ALIGNED_PX - 0.5 - linear @ ((left + right) / 2)
    step = int(1 / scale)
    # Warping alone would pick single pixels out of a large face.
    reach = round(ALIGNED_PX / scale)
    middle = ((left + right) / 2).round().astype(int)
    x0_px, y0_px = (max(int(value) - reach, 0) for value in middle)
    part = gray_hw[y0_px : int(middle[1]) + reach, x0_px : int(middle[0]) + reach]
    if part.size == 0:
        return np.zeros((ALIGNED_PX, ALIGNED_PX), dtype=np.uint8)
    if step > 1:
        part = cv2.blur(part, (step, step)).astype(np.uint8)
    transform = np.column_stack([linear, shift + linear @ (x0_px, y0_px)])
    warped = cv2.warpAffine(
        part, transform, (ALIGNED_PX, ALIGNED_PX), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(warped, dtype=np.uint8)


def face_pixels(gray_hw: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    """The part of a picture inside a box; empty where the box lies outside."""
    height, width = gray_hw.shape
    rows = slice(max(round(box[1] * height), 0), max(min(round(box[3] * height), height), 0))
    columns = slice(max(round(box[0] * width), 0), max(min(round(box[2] * width), width), 0))
    return gray_hw[rows, columns]


def face_sharpness(face_hw: NDArray[np.uint8]) -> float:
    """Sharpness of a face, 0 (blurred) to 1 (sharp); NaN for less than 8 pixels.

    The share of the differences between neighbours that a blur over 9 pixels takes away: a sharp picture loses most
    of them, a blurred one hardly any (Crete et al. 2007, "The blur effect"). Faces are compared at the same height.
    """
    if min(face_hw.shape) < 8:
        return float("nan")
    scale = min(1.0, SHARPNESS_PX / face_hw.shape[0])
    size = (max(round(face_hw.shape[1] * scale), 8), max(round(face_hw.shape[0] * scale), 8))
    face = cv2.resize(face_hw, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    shares = []
    for axis, kernel in ((0, (1, 9)), (1, (9, 1))):
        blurred = cv2.blur(face, kernel)
        before = np.abs(np.diff(face, axis=axis))
        lost = np.maximum(before - np.abs(np.diff(blurred, axis=axis)), 0)
        shares.append(float(lost.sum() / max(float(before.sum()), 1e-6)))
    return min(shares)


def head_box(face: Box, *, aspect: float) -> Box:
    """Head and shoulders around a face, clamped to the frame; `aspect` is the frame's width over its height."""
    tall = face[3] - face[1]
    middle, side = (face[0] + face[2]) / 2, HEAD_SIDE * tall / aspect
    return (
        max(middle - side, 0.0),
        max(face[1] - HEAD_ABOVE * tall, 0.0),
        min(middle + side, 1.0),
        min(face[3] + HEAD_BELOW * tall, 1.0),
    )
