"""Are the lips in step with the speech, and if not, by how much is the audio late.

The mouth's openness is compared with the loudness of the bands where vowels are loud: the correlation is averaged over
the bands, and the offset where it is highest wins. How often chance does as well is counted on surrogates whose spectra
are the same and whose phases are random, the same in all bands (Theiler et al. 1992, "Testing for nonlinearity in time
series"; Prichard and Theiler 1994 for several series). Surrogates of the audio and of the mouth alike can tell whether
the two have to do with each other; neither rests as speech does, so both are asked, and the larger share counts. Speech
keeps its beat for longer than surrogates do, so those are searched over more offsets than the audio itself.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Series = NDArray[np.float64]

STILL = "the mouth does not move"
"""The cause that is an answer in itself: this is not who speaks."""

SAMPLE_RATE = 16_000
SAMPLES_PER_FRAME = 640
SEARCH_FRAMES = 15
"""Offsets are searched from minus to plus this many frames."""
SURROGATES = 1999
CHANCE_FRAMES = 26
"""Surrogates are searched from minus to plus this many frames."""
TREND_FRAMES = 4.0
"""Slower changes (head turns, phrases, a voice that fades) are taken out: standard deviation of the smoothing."""
BANDS_HZ = ((500.0, 1000.0), (1000.0, 2000.0), (2000.0, 4000.0))
DRIFT_SHARE = 0.6
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
    """Result for one face track. All numbers are None when nothing could be measured, and `cause` says why."""

    offset_frames: int | None
    """Frames of 40 ms by which the audio is late (negative: early)."""
    confidence: float | None
    """Correlation at the best offset minus the median over all offsets: 0 (nothing stands out) to about 1.5."""
    p_value: float | None
    """Share of surrogates, of the audio or of the mouth, that reach a correlation as high at any offset: the larger."""
    cause: str | None
    drift_frames: int | None = None
    """Offset of the last three fifths minus that of the first: 0 where the sound keeps its distance to the lips."""


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
    voice_bf = np.stack([_without_trend(level) for level in _band_levels(waveform_s)])
    observed = _correlations(mouth[None], voice_bf[:, None])[0]
    seed = int.from_bytes(hashlib.sha256(seed_key.encode()).digest()[:8])
    rng = np.random.default_rng(seed)
    voices_bnf, mouths_1nf = _random_phases(voice_bf, SURROGATES, rng), _random_phases(mouth[None], SURROGATES, rng)
    of_voices = [search(mouth[None], voices_bnf) for search in (_correlations, _circular)]
    of_mouths = [search(voice_bf, mouths_1nf) for search in (_correlations, _circular)]
    return SyncMeasure(
        offset_frames=int(np.argmax(observed)) - SEARCH_FRAMES,
        confidence=float(observed.max() - np.median(observed)),
        p_value=max(_share_reaching(observed.max(), found) for found in (of_voices, of_mouths)),
        cause=None,
        drift_frames=_drift(mouth, voice_bf),
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
    voice_bf = np.stack([_without_trend(level) for level in _band_levels(waveform_s)])
    return float(_correlations(_without_trend(_filled(mouth_f))[None], voice_bf[:, None])[0, SEARCH_FRAMES])


def _share_reaching(best: float, found: Sequence[NDArray[np.float64]]) -> float:
    """Share of surrogates that reach `best` at an offset of one of these (n, offsets), the measured pair among them."""
    chance = np.max([each.max(axis=1) for each in found], axis=0)
    return float(1 + (chance >= best).sum()) / (1 + len(chance))


def _drift(mouth_f: Series, voice_bf: Series) -> int:
    frames = round(DRIFT_SHARE * len(mouth_f))
    first, last = (
        int(np.argmax(_correlations(mouth_f[None, part], voice_bf[:, None, part])[0]))
        for part in (slice(None, frames), slice(-frames, None))
    )
    return last - first


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
        return STILL
    return None


def _filled(series_f: NDArray[np.floating]) -> Series:
    """Gaps filled by straight lines."""
    seen = np.flatnonzero(np.isfinite(series_f))
    return np.interp(np.arange(len(series_f)), seen, np.asarray(series_f, dtype=np.float64)[seen])


def _without_trend(series_f: Series) -> Series:
    from scipy.ndimage import gaussian_filter1d

    return np.asarray(series_f - gaussian_filter1d(series_f, TREND_FRAMES))


def _band_levels(waveform_s: NDArray[np.float32]) -> list[Series]:
    """Logarithm of each band's level in each frame, over a floor of 2 % of its loud parts."""
    from scipy.signal import butter, sosfiltfilt

    levels = []
    for band_hz in BANDS_HZ:
        band = butter(2, band_hz, "bandpass", fs=SAMPLE_RATE, output="sos")
        filtered = sosfiltfilt(band, waveform_s.astype(np.float64))
        level = np.sqrt((filtered.reshape(-1, SAMPLES_PER_FRAME) ** 2).mean(axis=1))
        levels.append(np.log(level + 0.02 * np.quantile(level, 0.95) + 1e-9))
    return levels


def _random_phases(series_bf: Series, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Series with the same spectra and random phases, the same in all bands; shape (bands, count, frames)."""
    spectra = np.fft.rfft(series_bf)
    turns = np.exp(2j * np.pi * rng.random((count, spectra.shape[1])))
    turns[:, 0] = 1
    return np.fft.irfft(spectra[:, None] * turns, n=series_bf.shape[1], axis=2)


def _correlations(still_bf: Series, moving_bnf: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlation of each moving series with a still one at every offset, over the frames both have: mean of the bands.

    One of the two has a single band, which goes with every band of the other.

    Returns:
        Shape (n, offsets), from -SEARCH_FRAMES on.
    """
    frames = still_bf.shape[1]
    offsets = range(-SEARCH_FRAMES, SEARCH_FRAMES + 1)
    first = np.array([max(0, offset) for offset in offsets])
    last = np.array([min(frames, frames + offset) for offset in offsets])
    # A column an offset: the still series' overlap, centred, where the moving one stands, whose mean then does not
    # matter.
    placed_bfo = np.zeros((len(still_bf), frames, len(offsets)))
    for column, offset in enumerate(offsets):
        still = still_bf[:, first[column] - offset : last[column] - offset]
        placed_bfo[:, first[column] : last[column], column] = still - still.mean(axis=1, keepdims=True)
    placed_bfo /= np.maximum(np.linalg.norm(placed_bfo, axis=1, keepdims=True), 1e-12)
    sums = np.pad(np.cumsum(moving_bnf, axis=2), ((0, 0), (0, 0), (1, 0)))
    squares = np.pad(np.cumsum(moving_bnf**2, axis=2), ((0, 0), (0, 0), (1, 0)))
    mean_part = (sums[..., last] - sums[..., first]) ** 2 / (last - first)
    spread = np.sqrt(np.maximum(squares[..., last] - squares[..., first] - mean_part, 0))
    return np.asarray((moving_bnf @ placed_bfo.mean(axis=0) / np.maximum(spread, 1e-12)).mean(axis=0))


def _circular(still_bf: Series, moving_bnf: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same with what is shifted out at one end coming in at the other; (n, offsets), up to CHANCE_FRAMES."""
    frames = still_bf.shape[1]
    still, moving = (each - each.mean(axis=-1, keepdims=True) for each in (still_bf, moving_bnf))
    still /= np.maximum(np.linalg.norm(still, axis=-1, keepdims=True), 1e-12)
    moving /= np.maximum(np.linalg.norm(moving, axis=-1, keepdims=True), 1e-12)
    spectrum = np.fft.rfft(moving.mean(axis=0)) * np.conj(np.fft.rfft(still.mean(axis=0)))
    circle = np.fft.irfft(spectrum, n=frames, axis=1)
    reach = min(CHANCE_FRAMES, (frames - 1) // 2)
    return circle[:, np.r_[0 : reach + 1, frames - reach : frames]]
