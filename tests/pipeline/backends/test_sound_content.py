"""Clipping, silence, bandwidth and what is no speech, on sounds made to measure."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.signal import butter, firwin, resample_poly, sosfilt

from pipeline.backends.silero_voice import SileroVoice
from pipeline.backends.sound_content import measure_content
from pipeline.demo.speech import VOICES, speak

RATE = 16_000


def _noise(seconds: float, level: float = 0.1, seed: int = 0) -> NDArray[np.float32]:
    return (level * np.random.default_rng(seed).standard_normal(round(seconds * RATE))).astype(np.float32)


def _chord(seconds: float) -> NDArray[np.float32]:
    times = np.arange(round(seconds * RATE)) / RATE
    tones = [np.sin(2 * np.pi * hertz * times) for root in (220, 277.2, 329.6) for hertz in (root, 2 * root, 3 * root)]
    return (0.05 * np.sum(tones, axis=0)).astype(np.float32)


@given(st.floats(1.1, 20))
def test_clipping_is_the_share_at_full_scale(gain: float) -> None:
    times = np.arange(RATE) / RATE
    measured = measure_content(np.clip(gain * np.sin(2 * np.pi * 100 * times), -1, 1).astype(np.float32), ())
    assert measured.clipping == pytest.approx(1 - 2 * np.arcsin(0.998 / gain) / np.pi, abs=0.02)


def test_a_sine_at_full_scale_is_not_clipped() -> None:
    times = np.arange(RATE) / RATE
    assert measure_content(np.sin(2 * np.pi * 1000 * times).astype(np.float32), ()).clipping == 0


@pytest.mark.parametrize("cutoff_hz", [2000, 3400, 5500])
def test_bandwidth_finds_the_cut(cutoff_hz: int) -> None:
    sos = butter(16, cutoff_hz, "low", fs=RATE, output="sos")
    measured = measure_content(sosfilt(sos, _noise(2)).astype(np.float32), ())
    # 96 dB an octave: 65 dB down half an octave above the corner.
    assert cutoff_hz < (measured.bandwidth_hz or 0) < 1.65 * cutoff_hz
    assert measure_content(_noise(2), ()).bandwidth_hz == pytest.approx(8000, abs=100)


def test_a_telephone_is_heard_as_one() -> None:
    """What was sampled at 8 kHz reaches up to 4 kHz, and the slope of the filter."""
    narrow = resample_poly(_noise(1), 2, 1, window=firwin(401, 0.5, window=("kaiser", 9.0))).astype(np.float32)
    assert measure_content(narrow, ()).bandwidth_hz == pytest.approx(4200, abs=300)


def test_music_is_tonal_and_noise_is_flat() -> None:
    music, noise = measure_content(_chord(3), ()), measure_content(_noise(3), ())
    assert music.other == noise.other == 1.0
    assert (music.other_flatness or 1) < 0.05
    assert (noise.other_flatness or 0) > 0.4


def test_speech_is_not_other_and_a_pause_is_silence() -> None:
    said = resample_poly(speak(np.random.default_rng(2), seconds=3, voice=VOICES["hopper"]).waveform_s, 1, 3)
    wave = np.concatenate([said, np.zeros(2 * RATE), _chord(1)]).astype(np.float32)
    spans = SileroVoice().measure(wave).spans
    measured = measure_content(wave, spans)
    # The synthesiser's room noise lies about the border of silence, so pauses within the speech count as either.
    assert 0.3 < measured.silence < 0.6
    assert measured.other == pytest.approx(1 / 6, abs=0.08)
    assert (measured.other_flatness or 1) < 0.05


@pytest.mark.parametrize(
    ("wave", "cause"),
    [
        (np.zeros(RATE, np.float32), "nothing but silence"),
        (np.zeros(0, np.float32), "shorter"),
        (np.full(RATE, np.nan, np.float32), "no numbers"),
    ],
)
def test_nothing_to_measure_has_a_cause(wave: NDArray[np.float32], cause: str) -> None:
    measured = measure_content(wave, ())
    assert measured.bandwidth_hz is None
    assert measured.other_flatness is None
    assert cause in (measured.cause or "")


def test_speech_alone_leaves_nothing_to_tell_by() -> None:
    measured = measure_content(_noise(1), ((0.0, 1.0),))
    assert (measured.other, measured.other_flatness) == (0.0, None)
    assert "beside the speech" in (measured.cause or "")
