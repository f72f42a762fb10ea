"""Openness of a mouth drawn with a known opening."""

import math
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.backends.mouth_motion import Box, MouthMotion

FACE: Box = (0.25, 0.2, 0.75, 0.8)


def _drawn(opening: float, *, light: float = 1.0, size: int = 240, shift: int = 0) -> NDArray[np.uint8]:
    """A grey face (skin 180) on a dark ground with a mouth (25) that is `opening` of a tenth of the face high."""
    picture = np.full((size, size), 40.0)
    left, top, right, bottom = (round(value * size) for value in FACE)
    middle = (left + right) // 2 + shift
    cv2.ellipse(picture, (middle, (top + bottom) // 2), ((right - left) // 2, (bottom - top) // 2), 0, 0, 360, 180, -1)
    lips = (middle, round(top + 0.79 * (bottom - top)))
    half = (round(0.14 * (bottom - top)), max(round(0.05 * opening * (bottom - top)), 1))
    cv2.ellipse(picture, lips, half, 0, 0, 360, 25, -1, cv2.LINE_AA)
    return np.clip(picture * light, 0, 255).astype(np.uint8)


def test_openness_grows_with_the_opening() -> None:
    values = [MouthMotion().add(_drawn(opening, size=960), FACE) for opening in (0.05, 0.2, 0.35, 0.5)]
    assert all(after > before + 0.03 for before, after in pairwise(values))
    assert all(0 <= value <= 1 for value in values)


@given(st.floats(0.4, 1.3))
def test_openness_does_not_depend_on_the_light(light: float) -> None:
    reference = MouthMotion().add(_drawn(1.2), FACE)
    assert MouthMotion().add(_drawn(1.2, light=light), FACE) == pytest.approx(reference, abs=0.03)


def test_openness_does_not_depend_on_the_resolution() -> None:
    small, large = (MouthMotion().add(_drawn(1.2, size=size), FACE) for size in (160, 960))
    assert small == pytest.approx(large, abs=0.06)


def test_a_shaking_box_matters_less_than_a_moving_mouth() -> None:
    rng = np.random.default_rng(0)
    openings = 0.28 + 0.22 * np.sin(np.arange(60) / 3)
    follower = MouthMotion()
    values = []
    for opening in openings:
        shake = rng.normal(0, 0.008, 4)
        box = (FACE[0] + shake[0], FACE[1] + shake[1], FACE[2] + shake[2], FACE[3] + shake[3])
        values.append(follower.add(_drawn(float(opening)), box))
    assert np.corrcoef(values, openings)[0, 1] > 0.9


def test_a_box_that_jumps_is_followed_at_once() -> None:
    follower = MouthMotion()
    follower.add(_drawn(1.0), FACE)
    aside = (FACE[0] + 0.2, FACE[1], FACE[2] + 0.2, FACE[3])
    moved = _drawn(1.0, shift=48)
    assert follower.add(moved, aside) == MouthMotion().add(moved, aside)


@pytest.mark.parametrize(
    "box",
    [None, (0.5, 0.5, 0.52, 0.53), (0.9, 0.9, 1.6, 1.7), (math.nan, 0.2, 0.7, 0.8), (0.7, 0.2, 0.3, 0.8)],
)
def test_no_measurable_face_is_nan(box: Box | None) -> None:
    assert math.isnan(MouthMotion().add(_drawn(1.0), box))
