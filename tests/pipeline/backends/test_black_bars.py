import numpy as np
import pytest

from pipeline.backends.black_bars import bar_area, depths_of_gray, picture_within
from tests.pipeline.made_videos import texture


def gray(seed: int, width: int, height: int) -> np.ndarray:
    return texture(seed, width=width, height=height).mean(axis=2).clip(40, 255).astype(np.uint8)


def test_letterbox() -> None:
    pictures = []
    for seed in (1, 2):
        picture = np.full((240, 320), 16, np.uint8)
        picture[30:-30] = gray(seed, 320, 180)
        pictures.append(depths_of_gray(picture))
    box = picture_within(pictures)
    assert box == pytest.approx((0, 30 / 240, 1, 210 / 240), abs=1e-6)
    assert bar_area(box) == pytest.approx(0.25, abs=1e-6)


def test_pillarbox_beside_a_subtitle() -> None:
    picture = np.full((240, 320), 18, np.uint8)
    picture[:, 40:-40] = gray(3, 240, 240)
    assert picture_within([depths_of_gray(picture)]) == pytest.approx((40 / 320, 0, 280 / 320, 1), abs=1e-6)


def test_bars_are_only_what_all_pictures_share() -> None:
    boxed = np.full((240, 320), 16, np.uint8)
    boxed[30:-30] = gray(1, 320, 180)
    full = gray(2, 320, 240)
    assert picture_within([depths_of_gray(boxed), depths_of_gray(full)]) == pytest.approx((0, 0, 1, 1))


def test_a_lit_middle_in_the_dark_has_no_bars() -> None:
    y, x = np.mgrid[:240, :320]
    spot = np.where((x - 160) ** 2 + (y - 120) ** 2 < 60**2, 200, 16).astype(np.uint8)
    assert picture_within([depths_of_gray(spot)]) is None


def test_black_tells_nothing() -> None:
    assert picture_within([depths_of_gray(np.full((240, 320), 16, np.uint8))]) is None
    assert picture_within([]) is None
