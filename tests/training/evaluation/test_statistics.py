import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.evaluation.statistics import difference_of, holm, mean_of, share_interval, sign_flip_p


def test_sign_flips_have_their_exact_p_values() -> None:
    # Of 2^n patterns, only all plus and all minus are as far from zero.
    assert sign_flip_p(np.array([1.0, 2.0, 3.0])) == 2 / 8
    assert sign_flip_p(np.ones(8)) == 2 / 256
    assert sign_flip_p(np.array([1.0, -1.0])) == 1
    # Five cases can show nothing.
    assert sign_flip_p(np.arange(1.0, 6.0)) > 0.05


def test_drawn_sign_flips_keep_their_level_and_find_an_effect() -> None:
    random = np.random.default_rng(1)
    false = [sign_flip_p(random.standard_normal(20)) < 0.05 for _ in range(60)]
    assert sum(false) <= 8
    assert sign_flip_p(random.standard_normal(30) + 1.5) < 0.001


def test_a_mean_s_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(2)
    covered = 0
    for _ in range(60):
        found = mean_of(random.normal(3, 1, 25).tolist())
        assert found is not None
        covered += found.low <= 3 <= found.high
    assert 50 <= covered <= 60
    assert mean_of([]) is None


def test_pairing_sees_a_small_difference_among_unlike_cases() -> None:
    random = np.random.default_rng(3)
    level = random.normal(0, 10, 20)
    found = difference_of(level.tolist(), (level + 0.2 + random.normal(0, 0.1, 20)).tolist())
    assert found is not None
    assert found.low > 0.1
    assert found.high < 0.3
    assert found.p_value < 0.01
    assert difference_of([], []) is None


def test_holm_multiplies_the_smallest_most_and_never_falls() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_between_the_raw_value_and_bonferroni(p_values: list[float]) -> None:
    for raw, corrected in zip(p_values, holm(p_values), strict=True):
        assert raw <= corrected <= max(raw, min(1.0, len(p_values) * raw) if raw == min(p_values) else 1.0)


def test_a_vote_s_interval_is_wilson_s() -> None:
    # Values of the published formula for 8 of 10 and 0 of 10.
    assert share_interval(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert share_interval(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert share_interval(0, 0) == (0, 1)
