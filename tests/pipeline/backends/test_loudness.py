"""Loudness against known values, SNR against constructed noise."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.backends.loudness import measure_loudness, measure_snr

RATE = 16_000


def _sine(hertz: float, *, seconds: float, rate: int = RATE) -> NDArray[np.float32]:
    return np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate).astype(np.float32)


@pytest.mark.parametrize(
    ("rate", "hertz", "lufs", "tolerance"),
    [
        # BS.1770-4: a 0 dBFS sine of 997 Hz on one channel reads -3.01 LKFS.
        (48_000, 997, -3.01, 0.01),
        (48_000, 1000, -3.01, 0.01),
        (16_000, 1000, -3.01, 0.06),
    ],
)
def test_a_full_scale_sine(rate: int, hertz: float, lufs: float, tolerance: float) -> None:
    assert measure_loudness(_sine(hertz, seconds=5, rate=rate), rate=rate).lufs == pytest.approx(lufs, abs=tolerance)


def test_low_and_high_tones_are_weighted_as_the_standard_says() -> None:
    # Gains of the published 48 kHz filters relative to 1 kHz: 25 Hz -10.9 dB, 10 kHz +3.3 dB.
    reference = measure_loudness(_sine(1000, seconds=5, rate=48_000), rate=48_000).lufs or math.nan
    low = measure_loudness(_sine(25, seconds=5, rate=48_000), rate=48_000).lufs or math.nan
    high = measure_loudness(_sine(10_000, seconds=5, rate=48_000), rate=48_000).lufs or math.nan
    assert low - reference == pytest.approx(-10.9, abs=0.2)
    assert high - reference == pytest.approx(3.3, abs=0.1)


@given(st.floats(-50, 0))
def test_loudness_follows_the_gain(gain_db: float) -> None:
    tone = _sine(440, seconds=1)
    full = measure_loudness(tone).lufs or math.nan
    assert measure_loudness(tone * np.float32(10 ** (gain_db / 20))).lufs == pytest.approx(full + gain_db, abs=0.01)


def test_pauses_are_gated_out() -> None:
    tone = 0.1 * _sine(1000, seconds=10)
    with_pause = np.concatenate([tone, np.zeros(10 * RATE, dtype=np.float32)])
    assert measure_loudness(with_pause).lufs == pytest.approx(measure_loudness(tone).lufs, abs=0.1)


def test_quiet_parts_fall_under_the_relative_gate() -> None:
    tone = 0.1 * _sine(1000, seconds=10)
    loud = measure_loudness(tone).lufs
    assert measure_loudness(np.concatenate([tone, 0.1 * tone])).lufs == pytest.approx(loud, abs=0.1)
    # 6 dB under the loud half is above the gate and counts: the mean power is (1 + 1/4) / 2.
    mixed = measure_loudness(np.concatenate([tone, 0.5 * tone])).lufs or math.nan
    assert mixed - (loud or math.nan) == pytest.approx(10 * math.log10(0.625), abs=0.1)


@pytest.mark.parametrize(
    ("wave", "cause"),
    [
        (np.zeros(RATE, dtype=np.float32), "nothing above"),
        (_sine(1000, seconds=0.3), "shorter"),
        (np.full(RATE, np.nan, dtype=np.float32), "no numbers"),
        (np.zeros(0, dtype=np.float32), "shorter"),
    ],
)
def test_nothing_to_hear_is_none_with_a_cause(wave: NDArray[np.float32], cause: str) -> None:
    measure = measure_loudness(wave)
    assert measure.lufs is None
    assert cause in (measure.cause or "")


@given(st.floats(3, 45), st.integers(0, 2**31))
def test_snr_of_constructed_speech(snr_db: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    wave = 0.01 * rng.standard_normal(4 * RATE)
    spans = ((0.5, 1.5), (2.0, 3.5))
    for start, end in spans:
        part = slice(int(start * RATE), int(end * RATE))
        wave[part] += 0.01 * 10 ** (snr_db / 20) * rng.standard_normal(part.stop - part.start)
    assert measure_snr(wave.astype(np.float32), spans).snr_db == pytest.approx(snr_db, abs=0.7)


@pytest.mark.parametrize(
    ("spans", "rest", "cause"),
    [
        ((), 0.01, "of speech"),
        (((0.0, 4.0),), 0.01, "without speech"),
        (((1.0, 3.0),), 0.0, "digital silence"),
        (((1.0, 3.0),), 0.5, "no louder"),
    ],
)
def test_snr_is_none_with_a_cause(spans: tuple[tuple[float, float], ...], rest: float, cause: str) -> None:
    rng = np.random.default_rng(1)
    wave = rest * rng.standard_normal(4 * RATE)
    wave[RATE : 3 * RATE] = 0.1 * rng.standard_normal(2 * RATE)
    measure = measure_snr(wave.astype(np.float32), spans)
    assert measure.snr_db is None
    assert cause in (measure.cause or "")
