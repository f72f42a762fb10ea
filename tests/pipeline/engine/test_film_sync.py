"""Sync on the demo film: what belongs together is found, shifts are followed, and strangers do not pass."""

from pathlib import Path

import pytest

from tests.benchmarks.sync_table import LEVEL, SHIFTS, Heard, heard, shifted, strangers


@pytest.fixture(scope="module")
def speaking(film_run: Path) -> list[Heard]:
    return [one for one in heard(film_run) if one.ratio > 0.3]


def test_what_belongs_together_is_significant_and_shifts_are_followed(speaking: list[Heard]) -> None:
    plain = [one.measure() for one in speaking]
    assert len(plain) >= 24
    assert sum((measure.p_value or 1) <= LEVEL for measure in plain) >= 0.9 * len(plain)
    in_step = [one for one, measure in zip(speaking, plain, strict=True) if measure.offset_frames in (-1, 0, 1)]
    assert len(in_step) >= 22
    # The others are the shots planted late.
    assert {measure.offset_frames for measure in plain} <= {-1, 0, 1, 7, 8, 9}
    for number, one in enumerate(in_step):
        by = SHIFTS[number % len(SHIFTS)]
        assert abs((one.measure(shifted(one.wave, by)).offset_frames or 0) - by) <= 1


def test_another_clips_speech_does_not_pass(speaking: list[Heard]) -> None:
    """The first third of the benchmark's 200 pairs, of which 3 pass on this film, whose voices share one rhythm."""
    pairs = strangers(speaking, 66)
    assert len(pairs) == 66
    passed = [mine.key for mine, other in pairs if (mine.measure(other.wave).p_value or 1) <= LEVEL]
    assert len(passed) <= 2
