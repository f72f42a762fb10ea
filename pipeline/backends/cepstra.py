"""Mel-frequency cepstra as SyncNet was trained on them (those of the package python_speech_features, by its defaults).

Davis and Mermelstein 1980; liftering and the log-energy in place of the first coefficient as in HTK.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
WINDOW = 400
STEP = 160
"""Samples: 25 ms windows every 10 ms."""
FFT = 512
FILTERS = 26
COEFFICIENTS = 13
PREEMPHASIS = 0.97
LIFTER = 22
PCM_SCALE = 32768.0
"""SyncNet heard 16-bit numbers, and the log-energy keeps their scale."""


def cepstra(waveform_s: NDArray[np.float32]) -> NDArray[np.float64]:
    """Cepstra of mono audio at 16 kHz, full scale at 1.

    Returns:
        Shape (steps, 13), a step every 10 ms; the last window is filled with silence. One step at least.
    """
    signal = waveform_s.astype(np.float64) * PCM_SCALE
    emphasised = np.concatenate([signal[:1], signal[1:] - PREEMPHASIS * signal[:-1]])
    steps = 1 + max(0, -(-(len(signal) - WINDOW) // STEP))
    padded = np.zeros((steps - 1) * STEP + WINDOW)
    padded[: len(emphasised)] = emphasised[: len(padded)]
    frames_tw = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::STEP]
    power_tk = np.abs(np.fft.rfft(frames_tw, FFT)) ** 2 / FFT
    tiny = np.finfo(np.float64).eps
    energy = np.maximum(power_tk.sum(axis=1), tiny)
    mel_tm = np.log(np.maximum(power_tk @ _filters().T, tiny))
    coefficients = mel_tm @ _cosines().T
    coefficients[:, 0] = np.log(energy)
    return np.asarray(coefficients)


@cache
def _filters() -> NDArray[np.float64]:
    """Triangles that are evenly spaced on the mel scale; shape (26, 257)."""
    highest = 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700)
    hertz = 700 * (10 ** (np.linspace(0, highest, FILTERS + 2) / 2595) - 1)
    bins = np.floor((FFT + 1) * hertz / SAMPLE_RATE)
    at = np.arange(FFT // 2 + 1)
    low, middle, high = bins[:-2, None], bins[1:-1, None], bins[2:, None]
    rising = (at >= low) & (at < middle)
    falling = (at >= middle) & (at < high)
    up = (at - low) / np.maximum(middle - low, 1)
    down = (high - at) / np.maximum(high - middle, 1)
    return np.asarray(np.where(rising, up, 0) + np.where(falling, down, 0))


@cache
def _cosines() -> NDArray[np.float64]:
    """Orthonormal DCT-II with the lifter; shape (13, 26)."""
    order = np.arange(COEFFICIENTS)[:, None]
    basis = np.cos(np.pi * order * (np.arange(FILTERS) + 0.5) / FILTERS) * np.sqrt(2 / FILTERS)
    basis[0] /= np.sqrt(2)
    return np.asarray(basis * (1 + LIFTER / 2 * np.sin(np.pi * order / LIFTER)))
