"""How loud a clip is, and how far its speech stands above what lies under it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
BLOCK_S = 0.4
STEP_S = 0.1
ABSOLUTE_GATE_LUFS = -70.0
RELATIVE_GATE_LU = -10.0
SNR_FRAME_S = 0.02
SHORTEST_SPEECH_S = 0.5
SHORTEST_REST_S = 0.1
MARGIN_S = 0.03
"""Left out on both sides of every border between speech and rest: VAD spans end early or late by this much."""


@dataclass(frozen=True)
class LoudnessMeasure:
    """Loudness of a clip; None with its cause where there is nothing to hear."""

    lufs: float | None
    """Integrated loudness in LUFS (EBU R128)."""
    cause: str | None


@dataclass(frozen=True)
class SnrMeasure:
    """Speech over the rest; None with its cause where one of them is missing."""

    snr_db: float | None
    """Power of the speech, the noise under it taken off, over the power of the rest, in dB."""
    cause: str | None


def measure_loudness(waveform_s: NDArray[np.float32], *, rate: int = SAMPLE_RATE) -> LoudnessMeasure:
    """Integrated loudness with both gates (ITU-R BS.1770-4, sections 1 to 4, one channel).

    Args:
        waveform_s: mono audio, shape (samples,), full scale at 1.
        rate: samples a second.
    """
    block, step = round(BLOCK_S * rate), round(STEP_S * rate)
    if len(waveform_s) < block:
        return LoudnessMeasure(None, f"shorter than a block of {BLOCK_S} s")
    if not np.isfinite(waveform_s).all():
        return LoudnessMeasure(None, "the audio holds values that are no numbers")
    # SciPy's filters take a second to import, which commands that only name this stage need not wait for.
    from scipy.signal import sosfilt

    weighted = sosfilt(_k_weighting(rate), waveform_s.astype(np.float64))
    energy = np.concatenate([[0.0], np.cumsum(weighted**2)])
    starts = np.arange(0, len(waveform_s) - block + 1, step)
    power = np.maximum((energy[starts + block] - energy[starts]) / block, 0)
    gated = power[power > _power(ABSOLUTE_GATE_LUFS)]
    if not gated.size:
        return LoudnessMeasure(None, f"nothing above {ABSOLUTE_GATE_LUFS:.0f} LUFS")
    gated = gated[gated > _power(_lufs(gated.mean()) + RELATIVE_GATE_LU)]
    return LoudnessMeasure(float(_lufs(gated.mean())), None)


def _lufs(power: float) -> float:
    return float(-0.691 + 10 * np.log10(power))


def _power(lufs: float) -> float:
    return float(10 ** ((lufs + 0.691) / 10))


def _k_weighting(rate: int) -> NDArray[np.float64]:
    """Shelf (the head) and high-pass as second-order sections.

    BS.1770-4 gives coefficients for 48 kHz only; these are the analogue filters behind them (parameters after De Man
    2018, "Evaluation of implementations of the EBU R128 loudness measurement"), carried to any rate by the bilinear
    transform. At 48 kHz they give the published coefficients; at 16 kHz the shelf is 0.05 LU too high at 1 kHz.
    """
    from scipy.signal import bilinear, tf2sos

    frequency, gain_db, quality = 1681.974450955533, 3.999843853973347, 0.7071752369554196
    shelf_gain = 10 ** (gain_db / 20)
    middle_gain = shelf_gain**0.4996667741545416
    # Prewarped so that the corner lands where it stands at this rate.
    corner = 2 * rate * np.tan(np.pi * frequency / rate)
    shelf = bilinear([shelf_gain, middle_gain * corner / quality, corner**2], [1, corner / quality, corner**2], fs=rate)
    frequency, quality = 38.13547087602444, 0.5003270373238773
    corner = 2 * rate * np.tan(np.pi * frequency / rate)
    _, poles = bilinear([1, 0, 0], [1, corner / quality, corner**2], fs=rate)
    return np.vstack([tf2sos(*shelf), tf2sos([1.0, -2.0, 1.0], poles)])


def measure_snr(
    waveform_s: NDArray[np.float32], spans: tuple[tuple[float, float], ...], *, rate: int = SAMPLE_RATE
) -> SnrMeasure:
    """Signal to noise from speech spans.

    The rest is whatever is no speech: room, music, street. Frames of 20 ms at the borders are left out, and the
    rest's level is its median frame, so that a cough does not count as noise.

    Args:
        waveform_s: mono audio, shape (samples,).
        spans: start and end of each stretch of speech, in seconds.
        rate: samples a second.
    """
    frame = round(SNR_FRAME_S * rate)
    count = len(waveform_s) // frame
    if not np.isfinite(waveform_s).all():
        return SnrMeasure(None, "the audio holds values that are no numbers")
    power = (waveform_s[: count * frame].astype(np.float64).reshape(count, frame) ** 2).mean(axis=1)
    middle = (np.arange(count) + 0.5) * SNR_FRAME_S
    speech = np.zeros(count, dtype=bool)
    border = np.zeros(count, dtype=bool)
    for start, end in spans:
        speech |= (middle > start) & (middle < end)
        border |= (np.abs(middle - start) < MARGIN_S) | (np.abs(middle - end) < MARGIN_S)
    rest = ~speech & ~border
    speech &= ~border
    if speech.sum() * SNR_FRAME_S < SHORTEST_SPEECH_S:
        return SnrMeasure(None, f"less than {SHORTEST_SPEECH_S} s of speech")
    if rest.sum() * SNR_FRAME_S < SHORTEST_REST_S:
        return SnrMeasure(None, f"less than {SHORTEST_REST_S} s without speech")
    noise = float(np.median(power[rest]))
    if noise <= 0:
        return SnrMeasure(None, "digital silence between the speech")
    signal = float(power[speech].mean()) - noise
    if signal <= 0:
        return SnrMeasure(None, "the speech is no louder than the rest")
    return SnrMeasure(float(10 * np.log10(signal / noise)), None)
