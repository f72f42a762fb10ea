import numpy as np
import pytest

from training.draws import Draw, generator, timestep


def test_a_draw_depends_on_everything_it_is_for() -> None:
    first = generator(0, Draw.NOISE, 3, 5).random(8)
    assert np.array_equal(generator(0, Draw.NOISE, 3, 5).random(8), first)
    for other in ((1, Draw.NOISE, 3, 5), (0, Draw.CROP, 3, 5), (0, Draw.NOISE, 5, 3), (0, Draw.NOISE, 3, 6)):
        assert not np.array_equal(generator(*other).random(8), first)


def test_the_numbers_are_the_same_on_every_machine() -> None:
    assert generator(0, Draw.NOISE, 7, 2).standard_normal(3, np.float32).tolist() == [
        0.1646544635295868,
        1.068232774734497,
        0.4677102267742157,
    ]


def test_timesteps() -> None:
    assert timestep(0.0, 1.0) == 0.5
    assert timestep(0.0, 3.0) == 0.75
    assert timestep(np.log(3), 2.0) == pytest.approx(2 * 0.75 / 1.75)
    drawn = [timestep(normal, 5.0) for normal in generator(0, Draw.TIMESTEP).standard_normal(4000)]
    # The median of u is a half, so the median of s is k / (k + 1).
    assert np.median(drawn) == pytest.approx(5 / 6, abs=0.01)
    assert 0 < min(drawn) < max(drawn) < 1
