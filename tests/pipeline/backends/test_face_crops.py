"""Aligned faces, sharpness, head and shoulders."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.backends.face_crops import (
    ALIGNED_PX,
    EYE_DISTANCE,
    EYE_ROW,
    aligned_face,
    face_pixels,
    face_sharpness,
    head_box,
)
from pipeline.backends.face_detector import Box, Detection
from tests.pipeline.face_pictures import FACE_IN_COLLINS, collins, fractions, gray


@pytest.mark.parametrize("scale", [0.5, 1.0, 6.0])
@pytest.mark.parametrize("turn", [0.0, 20.0])
def test_eyes_stand_where_they_should(scale: float, turn: float) -> None:
    # Two white discs for eyes in a dark picture, turned about its middle.
    side = round(200 * scale)
    picture = np.zeros((side, side), dtype=np.uint8)
    angle = math.radians(turn)
    eyes = [
        (side / 2 + sign * 0.2 * side * math.cos(angle), side / 2 + sign * 0.2 * side * math.sin(angle))
        for sign in (-1, 1)
    ]
    for x, y in eyes:
        cv2.circle(picture, (round(x), round(y)), round(0.03 * side), 255, -1)
    landmarks = np.array([*eyes, (side / 2, side / 2), *eyes]) / side
    face = Detection(box=(0.2, 0.3, 0.8, 0.9), score=1, certain=True, landmarks_5xy=landmarks)
    aligned = aligned_face(picture, face)
    assert aligned.shape == (ALIGNED_PX, ALIGNED_PX)
    weights = aligned.astype(float)
    columns, rows = np.meshgrid(np.arange(ALIGNED_PX), np.arange(ALIGNED_PX))
    for half, sign in ((columns < ALIGNED_PX / 2, -1), (columns >= ALIGNED_PX / 2, 1)):
        x = (columns * weights)[half].sum() / weights[half].sum()
        y = (rows * weights)[half].sum() / weights[half].sum()
        assert x == pytest.approx(ALIGNED_PX * (0.5 + sign * EYE_DISTANCE / 2), abs=0.8)
        assert y == pytest.approx(ALIGNED_PX * EYE_ROW, abs=0.8)


@given(st.tuples(*[st.floats(-2, 3)] * 4))
def test_boxes_anywhere_give_a_face_and_no_error(box: Box) -> None:
    picture = np.full((40, 60), 90, dtype=np.uint8)
    assert aligned_face(picture, Detection(box=box, score=1, certain=True)).shape == (ALIGNED_PX, ALIGNED_PX)
    assert face_pixels(picture, box).size >= 0


def test_sharpness_falls_with_blur_and_knows_nothing_of_light_or_size() -> None:
    picture = gray(collins())
    box = fractions(FACE_IN_COLLINS, picture)
    values = [
        face_sharpness(face_pixels(np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), dtype=np.uint8), box))
        for sigma in (0.01, 1.5, 3.0, 6.0, 12.0)
    ]
    assert values == sorted(values, reverse=True)
    assert values[0] > 0.55
    assert values[-1] < 0.2
    darker = (picture // 2).astype(np.uint8)
    assert face_sharpness(face_pixels(darker, box)) == pytest.approx(values[0], abs=0.05)
    larger = np.asarray(cv2.resize(picture, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
    assert face_sharpness(face_pixels(larger, box)) == pytest.approx(values[0], abs=0.05)
    assert math.isnan(face_sharpness(picture[:5, :5]))


def test_head_and_shoulders() -> None:
    # A face of 0.2 of the height in a frame twice as wide as high.
    assert head_box((0.45, 0.3, 0.53, 0.5), aspect=2.0) == pytest.approx((0.36, 0.16, 0.62, 0.76))
    assert head_box((0.0, 0.0, 0.5, 0.9), aspect=1.0) == (0.0, 0.0, 1.0, 1.0)
