"""Small pictures are means of areas, whichever way they are reached."""

import cv2
import numpy as np
import pytest

from pipeline.backends.signature import BASE_SIDE, small_picture


@pytest.mark.parametrize(
    ("height", "width", "most"),
    [(480, 848, 0), (848, 480, 0), (480, 864, 0), (768, 480, 0), (352, 848, 0), (96, 176, 0), (288, 512, 1)],
)
def test_a_small_picture_is_the_mean_of_areas(height: int, width: int, most: int) -> None:
    """`most`: grey levels; where means lie in the middle between two levels, either is right."""
    noise = np.random.default_rng(0).integers(0, 256, (height, width), dtype=np.uint8)
    for gray in (noise, cv2.GaussianBlur(noise, (0, 0), 3).astype(np.uint8)):
        expected = cv2.resize(gray, (BASE_SIDE, BASE_SIDE), interpolation=cv2.INTER_AREA)
        small = small_picture(gray)
        assert small.shape == (BASE_SIDE, BASE_SIDE)
        assert small.flags.c_contiguous
        assert int(cv2.absdiff(small, expected).max()) <= most
