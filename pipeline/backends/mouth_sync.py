"""Are the lips in step with the speech, and if not, by how much is the audio late.

The mouth's openness is compared with the loudness of the band where open vowels are loud. The offset with the highest
correlation wins; how often chance does as well is counted on surrogates of the audio whose spectrum is the same and
whose phases are random (Theiler et al. 1992, "Testing for nonlinearity in time series").
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Series = NDArray[np.float64]

SAMPLE_RATE = 16_000
SAMPLES_PER_FRAME = 640
SEARCH_FRAMES = 15
"""Offsets are searched from minus to plus this many frames."""
SURROGATES = 1999
TREND_FRAMES = 12.0
"""Slower changes (head turns, a voice that fades) are taken out: standard deviation of the smoothing, in frames."""
VOWEL_BAND_HZ = (500.0, 2000.0)
AUDIBLE_DBFS = -60.0
FEWEST_FRAMES = 50
"""Below two seconds no offset can be told."""
SEEN_SHARE = 0.6
"""Share of frames in which the mouth must have been measured."""
AUDIBLE_SHARE = 0.2
"""Share of frames that must be louder than AUDIBLE_DBFS."""
STILL_MOUTH = 0.006
"""Standard deviation of the mouth's openness below which it does not move."""


@dataclass(frozen=True)
class SyncMeasure:
    """Result for one face track. All three numbers are None when nothing could be measured, and `cause` says why."""

    offset_frames: int | None
    """Frames of 40 ms by which the audio is late (negative: early)."""
    confidence: float | None
    """Correlation at the best offset minus the median over all offsets: 0 (nothing stands out) to about 1.5."""
    p_value: float | None
    """Share of surrogates of the audio that reach a correlation as high at any offset."""
    cause: str | None


def find_offset(mouth_f: NDArray[np.floating], waveform_s: NDArray[np.float32], *, seed_key: str) -> SyncMeasure:
    """Search the offset between a mouth and a voice.

    Args:
        mouth_f: openness of the mouth in each frame (25 a second), NaN where it was not seen; shape (frames,).
        waveform_s: mono audio at 16 kHz on the same clock, shape (frames * 640,).
        seed_key: decides the surrogates; the same key gives the same p-value.

    Raises:
        ValueError: the two lengths do not belong together.
    """
    frames = len(mouth_f)
    if len(waveform_s) != frames * SAMPLES_PER_FRAME:
        raise ValueError(f"{frames} frames need {frames * SAMPLES_PER_FRAME} samples, not {len(waveform_s)}")
    cause = _unmeasurable(mouth_f, waveform_s)
    if cause:
        return SyncMeasure(None, None, None, cause)
    mouth = _without_trend(_filled(mouth_f))
    voice = _without_trend(_vowel_level(waveform_s))
    observed = _correlations(mouth, voice[None])[0]
    seed = int.from_bytes(hashlib.sha256(seed_key.encode()).digest()[:8])
    surrogates = _random_phases(voice, SURROGATES, np.random.default_rng(seed))
    reached = int((_correlations(mouth, surrogates).max(axis=1) >= observed.max()).sum())
    return SyncMeasure(
        offset_frames=int(np.argmax(observed)) - SEARCH_FRAMES,
        confidence=float(observed.max() - np.median(observed)),
        p_value=(1 + reached) / (1 + SURROGATES),
        cause=None,
    )


def correlation_in_step(mouth_f: NDArray[np.floating], waveform_s: NDArray[np.float32]) -> float | str:
    """Correlation, -1 to 1, of a mouth with a voice as they are, without looking for an offset; or why there is none.

    Args: as `find_offset`.
    """
    if len(waveform_s) != len(mouth_f) * SAMPLES_PER_FRAME:
        raise ValueError(f"{len(mouth_f)} frames need {len(mouth_f) * SAMPLES_PER_FRAME} samples")
    cause = _unmeasurable(mouth_f, waveform_s)
    if cause:
        return cause
    mouth, voice = _without_trend(_filled(mouth_f)), _without_trend(_vowel_level(waveform_s))
    return float(_correlations(mouth, voice[None])[0, SEARCH_FRAMES])


def _unmeasurable(mouth_f: NDArray[np.floating], waveform_s: NDArray[np.float32]) -> str | None:
    """Why no offset can be searched, or None where it can."""
    if len(mouth_f) < FEWEST_FRAMES:
        return f"{len(mouth_f)} frames are too few, {FEWEST_FRAMES} are needed"
    seen = float(np.isfinite(mouth_f).mean())
    if seen < SEEN_SHARE:
        return f"the mouth was measured in {seen:.0%} of the frames, {SEEN_SHARE:.0%} are needed"
    if not np.isfinite(waveform_s).all():
        return "the audio holds values that are no numbers"
    level = np.sqrt((waveform_s.reshape(-1, SAMPLES_PER_FRAME).astype(np.float64) ** 2).mean(axis=1))
    audible = float((level > 10 ** (AUDIBLE_DBFS / 20)).mean())
    if audible < AUDIBLE_SHARE:
        return f"sound in {audible:.0%} of the frames, {AUDIBLE_SHARE:.0%} are needed"
    if float(np.nanstd(mouth_f)) < STILL_MOUTH:
        return "the mouth does not move"
    return None


def _filled(series_f: NDArray[np.floating]) -> Series:
    """Gaps filled by straight lines."""
    seen = np.flatnonzero(np.isfinite(series_f))
    return np.interp(np.arange(len(series_f)), seen, np.asarray(series_f, dtype=np.float64)[seen])


def _without_trend(series_f: Series) -> Series:
    from scipy.ndimage import gaussian_filter1d

    return np.asarray(series_f - gaussian_filter1d(series_f, TREND_FRAMES))


def _vowel_level(waveform_s: NDArray[np.float32]) -> Series:
    """Logarithm of the vowel band's level in each frame, over a floor of 2 % of its loud parts."""
    from scipy.signal import butter, sosfiltfilt

    band = butter(2, VOWEL_BAND_HZ, "bandpass", fs=SAMPLE_RATE, output="sos")
    filtered = sosfiltfilt(band, waveform_s.astype(np.float64))
    level = np.sqrt((filtered.reshape(-1, SAMPLES_PER_FRAME) ** 2).mean(axis=1))
    return np.asarray(np.log(level + 0.02 * np.quantile(level, 0.95) + 1e-9))


def _random_phases(series_f: Series, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Series with the same spectrum and random phases, shape (count, frames)."""
    spectrum = np.fft.rfft(series_f)
    turns = np.exp(2j * np.pi * rng.random((count, len(spectrum))))
    turns[:, 0] = 1
    return np.fft.irfft(np.abs(spectrum) * turns, n=len(series_f), axis=1)


def _correlations(mouth_f: Series, voices_nf: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlation of the mouth with each voice at every offset, over the frames both have; shape (n, offsets)."""
    frames = len(mouth_f)
    offsets = range(-SEARCH_FRAMES, SEARCH_FRAMES + 1)
    result = np.zeros((len(voices_nf), len(offsets)))
    for column, offset in enumerate(offsets):
        first, last = max(0, -offset), min(frames, frames - offset)
        mouth = mouth_f[first:last] - mouth_f[first:last].mean()
        voices = voices_nf[:, first + offset : last + offset]
        voices = voices - voices.mean(axis=1, keepdims=True)
        norm = np.linalg.norm(mouth) * np.linalg.norm(voices, axis=1)
        result[:, column] = (voices @ mouth) / np.maximum(norm, 1e-12)
    return result
