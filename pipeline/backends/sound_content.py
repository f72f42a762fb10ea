"""What a clip's sound is made of beside its loudness: clipping, silence, how high it reaches, what is no speech.

Speech is told by the voice detector. What sounds without speech is music where it is tonal and noise where its
spectrum is flat: the flatness is measured, and where the border lies is decided elsewhere. Music under speech is not
told from it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
FRAME = 512
"""Samples of an analysed frame (32 ms)."""
SILENT_DBFS = -60.0
FULL_SCALE = 0.998
CLIPPED_RUN = 3
"""So many samples in a row at full scale are clipped; a single one may be a peak."""
BAND_DB = 65.0
"""A frequency that lies further below the loudest is not there: resampling and coding leave traces under it."""
SMOOTHED_BINS = 5
MARGIN_S = 0.05
"""Beside speech spans, which end early or late by this much, sound counts as neither speech nor other."""
FEWEST_FRAMES = 5
FLATNESS_HZ = (100.0, 7000.0)


@dataclass(frozen=True)
class SoundContent:
    """Shares are of the clip's length, 0 to 1. What could not be measured is None, and `cause` says why."""

    clipping: float
    """Share of samples in runs at full scale."""
    silence: float
    """Share of frames under SILENT_DBFS."""
    other: float
    """Share of frames with sound and no speech."""
    other_flatness: float | None
    """Spectral flatness of those, 0 (a tone) to 1 (white noise): music lies under about 0.1, street and wind above."""
    bandwidth_hz: float | None
    """Highest frequency that is heard, up to 8000: about 4000 where the source came from a telephone."""
    cause: str | None


def measure_content(waveform_s: NDArray[np.float32], spans: tuple[tuple[float, float], ...]) -> SoundContent:
    """Measure mono audio at 16 kHz.

    Args:
        waveform_s: shape (samples,), full scale at 1.
        spans: start and end of each stretch of speech, in seconds.
    """
    finite = np.isfinite(waveform_s)
    clean = waveform_s if finite.all() else np.where(finite, waveform_s, np.float32(0))
    count = len(clean) // FRAME
    clipping = _clipped_share(clean)
    if not count:
        return SoundContent(clipping, 0.0, 0.0, None, None, f"shorter than {FRAME} samples")
    frames_nf = clean[: count * FRAME].reshape(count, FRAME).astype(np.float64)
    loud = (frames_nf**2).mean(axis=1) > 10 ** (SILENT_DBFS / 10)
    middle = (np.arange(count) + 0.5) * FRAME / SAMPLE_RATE
    near_speech = np.zeros(count, dtype=bool)
    for start, end in spans:
        near_speech |= (middle > start - MARGIN_S) & (middle < end + MARGIN_S)
    other = loud & ~near_speech
    power_nk = np.abs(np.fft.rfft(frames_nf * np.hanning(FRAME), axis=1)) ** 2
    flatness = _flatness(power_nk[other]) if other.sum() >= FEWEST_FRAMES else None
    bandwidth = _bandwidth(power_nk[loud]) if loud.any() else None
    causes = [
        "nothing but silence" if bandwidth is None else "",
        "hardly any sound beside the speech" if bandwidth is not None and flatness is None else "",
        "" if finite.all() else "the audio holds values that are no numbers",
    ]
    return SoundContent(
        clipping=clipping,
        silence=float(1 - loud.mean()),
        other=float(other.mean()),
        other_flatness=flatness,
        bandwidth_hz=bandwidth,
        cause="; ".join(cause for cause in causes if cause) or None,
    )


def _clipped_share(waveform_s: NDArray[np.float32]) -> float:
    if not len(waveform_s):
        return 0.0
    full = np.abs(waveform_s) >= FULL_SCALE
    edges = np.flatnonzero(np.diff(np.concatenate([[False], full, [False]]).astype(np.int8)))
    lengths = edges[1::2] - edges[::2]
    return float(lengths[lengths >= CLIPPED_RUN].sum() / len(waveform_s))


def _bandwidth(power_nk: NDArray[np.float64]) -> float:
    spectrum = np.convolve(power_nk.mean(axis=0), np.ones(SMOOTHED_BINS) / SMOOTHED_BINS, mode="same")
    heard = np.flatnonzero(spectrum > spectrum.max() * 10 ** (-BAND_DB / 10))
    return float(heard[-1] * SAMPLE_RATE / FRAME)


def _flatness(power_nk: NDArray[np.float64]) -> float:
    """Geometric over arithmetic mean of each frame's spectrum, the median over frames."""
    low, high = (round(hertz * FRAME / SAMPLE_RATE) for hertz in FLATNESS_HZ)
    band = power_nk[:, low:high] + 1e-12
    return float(np.median(np.exp(np.log(band).mean(axis=1)) / band.mean(axis=1)))
