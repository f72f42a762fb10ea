"""Silero VAD, held to the package's own code and to a recording everybody knows."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import resample_poly

from pipeline.backends.silero_voice import WINDOW, SileroVoice, speech_spans
from pipeline.demo.speech import VOICES, speak


@pytest.fixture(scope="module")
def voice() -> SileroVoice:
    return SileroVoice()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_spans_equal_those_of_the_streaming_model(voice: SileroVoice, seed: int) -> None:
    import torch
    from silero_vad import get_speech_timestamps, load_silero_vad

    rng = np.random.default_rng(seed)
    said = [speak(rng, seconds=3.3, voice=one).waveform_s for one in VOICES.values()]
    silence = np.zeros(48_000 * 2 // 3 + 7, dtype=np.float32)
    wave = resample_poly(np.concatenate([said[0], silence, said[1], said[2], silence]), 1, 3).astype(np.float32)
    theirs = get_speech_timestamps(torch.from_numpy(wave), load_silero_vad(onnx=True), sampling_rate=16_000)
    assert len(theirs) > 1
    expected = tuple((span["start"] / 16_000, span["end"] / 16_000) for span in theirs)
    assert voice.measure(wave).spans == expected


def test_long_audio_goes_through_several_calls_without_a_seam(voice: SileroVoice) -> None:
    wave = resample_poly(speak(np.random.default_rng(5), seconds=20, voice=VOICES["narrator"]).waveform_s, 1, 3)
    whole = voice.probabilities(wave.astype(np.float32))
    assert len(whole) == -(-len(wave) // WINDOW) > 512
    assert (whole[505:520] > 0.5).any()
    # Each probability depends on what came before, so a lost state would show after the seam.
    head = voice.probabilities(wave[: 512 * WINDOW].astype(np.float32))
    np.testing.assert_allclose(whole[:512], head, atol=1e-5)


def test_nobody_speaks_in_silence_or_noise(voice: SileroVoice) -> None:
    noise = 0.01 * np.random.default_rng(0).standard_normal(16_000 * 4)
    for wave in (np.zeros(16_000 * 4), noise, np.zeros(100), np.zeros(0)):
        measure = voice.measure(wave.astype(np.float32))
        assert (measure.ratio, measure.spans, measure.longest_pause_s) == (0.0, (), None)


def test_audio_that_is_none_is_refused(voice: SileroVoice) -> None:
    with pytest.raises(ValueError, match="no numbers"):
        voice.measure(np.full(16_000, np.inf, dtype=np.float32))
    with pytest.raises(ValueError, match="one dimension"):
        voice.measure(np.zeros((2, 16_000), dtype=np.float32))


def test_hysteresis() -> None:
    def spans(*probabilities: float) -> list[tuple[int, int]]:
        return speech_spans(np.array(probabilities, dtype=np.float32), len(probabilities) * WINDOW)

    pad = 480
    assert spans(*[0.0] * 5, *[0.9] * 20, *[0.0] * 10) == [(5 * WINDOW - pad, 25 * WINDOW + pad)]
    # Between the two thresholds speech goes on, and does not start.
    assert spans(*[0.0] * 5, *[0.9] * 10, *[0.4] * 10, *[0.0] * 10) == [(5 * WINDOW - pad, 25 * WINDOW + pad)]
    assert spans(*[0.4] * 40) == []
    # A short dip is bridged, a short burst is dropped.
    assert len(spans(*[0.9] * 15, *[0.0] * 3, *[0.9] * 15)) == 1
    assert spans(*[0.0] * 5, *[0.9] * 7, *[0.0] * 10) == []


def test_the_jfk_recording(voice: SileroVoice, footage: Path) -> None:
    wave, rate = soundfile.read(footage / "audio" / "whisper_jfk.flac", dtype="float32")
    mono = resample_poly(wave.mean(axis=1), 16_000, rate).astype(np.float32)
    measure = voice.measure(mono)
    assert 0.6 < measure.ratio < 0.85
    assert 0.9 < (measure.longest_pause_s or 0) < 1.2
    # "And so my fellow Americans / ask not / what your country can do for you / ask what you can do for your country"
    assert len(measure.spans) == 4
    level = np.abs(mono)
    spoken = np.zeros(len(mono), dtype=bool)
    for start, end in measure.spans:
        spoken[int(start * 16_000) : int(end * 16_000)] = True
    assert level[spoken].mean() > 5 * level[~spoken].mean()
