"""Transitions in pictures made for the purpose; no codec is involved."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.backends.transitions import PICTURE_HEIGHT, PICTURE_WIDTH, Sensitivity, Transition, TransitionFinder
from tests.pipeline.made_videos import texture

Pictures = list[NDArray[np.uint8]]

SENSITIVITY = Sensitivity(
    content_threshold=27.0,
    adaptive_ratio=3.0,
    cut_spread=0.3,
    cut_prominence=2.0,
    flash_us=130_000,
    line_residual=0.15,
    likeness=0.55,
)


def find(pictures: Pictures, *, step_us: int = 40_000) -> list[Transition]:
    finder = TransitionFinder(SENSITIVITY)
    for number, picture in enumerate(pictures):
        finder.add(number * step_us, picture)
    return finder.finish()


def scene(seed: int, count: int, *, drift: float = 1.0) -> Pictures:
    """A scene that the camera slowly pans over."""
    wide = texture(seed, width=PICTURE_WIDTH + round(drift * count) + 8, height=PICTURE_HEIGHT)
    return [wide[:, round(drift * at) : round(drift * at) + PICTURE_WIDTH].copy() for at in range(count)]


def mixed(before: Pictures, after: Pictures, length: int) -> Pictures:
    """A dissolve over the last and first `length` pictures."""
    shares = [(at + 1) / (length + 1) for at in range(length)]
    middle = [
        (old * (1 - share) + new * share).astype(np.uint8)
        for share, old, new in zip(shares, before[-length:], after[:length], strict=True)
    ]
    return [*before[:-length], *middle, *after[length:]]


def test_hard_cuts_are_exact() -> None:
    pictures = [*scene(1, 40), *scene(2, 31), *scene(3, 9), *scene(4, 30)]
    assert find(pictures) == [Transition(first=at, last=at, kind="cut") for at in (40, 71, 80)]


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_flash_is_no_cut(length: int) -> None:
    pictures = scene(1, 60)
    for at in range(30, 30 + length):
        pictures[at] = np.clip(pictures[at].astype(int) + 150 + 10 * at % 30, 0, 255).astype(np.uint8)
    assert find(pictures) == []


def test_four_pictures_of_something_else_are_a_shot() -> None:
    pictures = [*scene(1, 30), *scene(2, 4), *scene(1, 30)]
    assert [each.first for each in find(pictures)] == [30, 34]


@pytest.mark.parametrize("length", [8, 12, 16, 20, 30])
def test_a_dissolve_is_found_whole(length: int) -> None:
    pictures = mixed(scene(5, 70, drift=0.4), scene(6, 70, drift=0.4), length)
    (found,) = find(pictures)
    assert found.kind == "dissolve"
    first, last = 70 - length, 70
    assert first - 3 <= found.first <= first + 1
    assert last - 1 <= found.last <= last + 3


def test_a_dissolve_keeps_its_length_at_sixty_pictures_a_second() -> None:
    pictures = mixed(scene(5, 120, drift=0.5), scene(6, 120, drift=0.5), 36)
    (found,) = find(pictures, step_us=16_667)
    assert found.kind == "dissolve"
    assert abs(found.first - 84) <= 4
    assert abs(found.last - 120) <= 4


def test_fades_through_black() -> None:
    black = [np.zeros((PICTURE_HEIGHT, PICTURE_WIDTH, 3), np.uint8)] * 12
    pictures = mixed(mixed(scene(1, 60), [*black, *black], 12), scene(2, 60), 12)
    (found,) = find(pictures)
    assert found.kind == "fade"
    assert abs(found.first - 48) <= 3
    assert abs(found.last - 72) <= 3


def test_a_long_black_is_a_shot_of_its_own() -> None:
    black = [np.zeros((PICTURE_HEIGHT, PICTURE_WIDTH, 3), np.uint8)] * 50
    assert find([*scene(1, 40), *black, *scene(2, 40)]) == [
        Transition(first=40, last=40, kind="cut"),
        Transition(first=90, last=90, kind="cut"),
    ]


@pytest.mark.parametrize("seed", [7, 8, 9])
@pytest.mark.parametrize("drift", [2.0, 4.0])
def test_a_pan_is_no_transition(seed: int, drift: float) -> None:
    assert find(scene(seed, 150, drift=drift)) == []


def test_something_that_appears_is_no_cut() -> None:
    pictures = scene(1, 60, drift=0.0)
    for picture in pictures[30:]:
        picture[20:70, 20:80] = 250
    assert find(pictures) == []
