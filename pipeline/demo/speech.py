"""Synthetic speech by source and filter, with the mouth that belongs to it.

A voice is a glottal pulse train with its own pitch and jitter, sent through formant resonators that glide from sound
to sound (source-filter synthesis, Klatt 1980, "Software for a cascade/parallel formant synthesizer"). Hissing sounds
and bursts are shaped noise. The same sounds drive the mouth, so picture and sound are in step by construction.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.signal import butter, resample_poly, sosfilt

Track = NDArray[np.float64]

SYNTHESIS_RATE = 16_000
SAMPLE_RATE = 48_000
"""Samples a second of what `speak` returns."""
CONTROL_RATE = 200
"""Steps a second at which pitch, formants, loudness and mouth are given."""
BLOCK = SYNTHESIS_RATE // CONTROL_RATE
BANDWIDTHS_HZ = (80.0, 100.0, 140.0, 220.0)
NOISE_FLOOR = 0.0015
"""Root mean square of the room's noise; the loudest speech peaks at 0.6."""


@dataclass(frozen=True)
class Voice:
    """What makes two speakers sound different."""

    pitch_hz: float
    formant_scale: float
    """Length of the throat, turned over: above 1 is a shorter one."""
    breath: float
    """Share of breathing noise in the vowels."""
    syllables_per_second: float


VOICES = {
    "collins": Voice(pitch_hz=205.0, formant_scale=1.12, breath=0.05, syllables_per_second=4.4),
    "hopper": Voice(pitch_hz=148.0, formant_scale=1.0, breath=0.09, syllables_per_second=3.7),
    "narrator": Voice(pitch_hz=104.0, formant_scale=0.92, breath=0.04, syllables_per_second=4.2),
}


@dataclass(frozen=True)
class Vowel:
    """Formants of an adult male voice in Hz, and the mouth that goes with them (both 0 to 1)."""

    formants_hz: tuple[float, float, float]
    opening: float
    rounding: float


VOWELS = (
    Vowel((730, 1090, 2440), 1.0, 0.0),
    Vowel((660, 1720, 2410), 0.85, 0.0),
    Vowel((530, 1840, 2480), 0.65, 0.0),
    Vowel((390, 1990, 2550), 0.42, 0.0),
    Vowel((280, 2250, 2950), 0.3, 0.0),
    Vowel((570, 840, 2410), 0.75, 0.5),
    Vowel((440, 1020, 2240), 0.45, 0.8),
    Vowel((310, 870, 2250), 0.3, 1.0),
    Vowel((500, 1400, 2400), 0.5, 0.1),
)


@dataclass(frozen=True)
class Consonant:
    """One consonant: how long it lasts, what is heard, and how far the mouth stays open."""

    seconds: float
    voiced: float
    """Level of the voice, 0 to 1."""
    hiss: float
    """Level of the noise, 0 to 1."""
    hiss_band: int
    """Index into HISS_BANDS_HZ."""
    burst: bool
    """A stop: silence, then a short burst."""
    opening: float
    formants_hz: tuple[float, float, float]


HISS_BANDS_HZ = ((4200.0, 7600.0), (2200.0, 5500.0), (900.0, 3500.0))
CONSONANTS = (
    Consonant(0.085, 0.0, 0.35, 2, True, 0.0, (300, 900, 2300)),
    Consonant(0.08, 0.0, 0.45, 0, True, 0.08, (300, 1750, 2600)),
    Consonant(0.085, 0.0, 0.4, 1, True, 0.12, (300, 1900, 2400)),
    Consonant(0.065, 0.14, 0.2, 2, True, 0.0, (250, 900, 2300)),
    Consonant(0.06, 0.14, 0.25, 0, True, 0.08, (250, 1700, 2600)),
    Consonant(0.1, 0.0, 0.34, 0, False, 0.06, (300, 1700, 2600)),
    Consonant(0.1, 0.0, 0.36, 1, False, 0.1, (300, 1800, 2500)),
    Consonant(0.075, 0.45, 0.0, 0, False, 0.0, (270, 1000, 2200)),
    Consonant(0.07, 0.45, 0.0, 0, False, 0.07, (270, 1650, 2500)),
    Consonant(0.065, 0.55, 0.0, 0, False, 0.14, (330, 1100, 2700)),
)


@dataclass(frozen=True)
class Utterance:
    """Speech and the mouth that made it, on one clock."""

    waveform_s: NDArray[np.float32]
    """Mono, SAMPLE_RATE, about -1 to 1."""
    opening_t: Track
    """CONTROL_RATE steps a second: 0 shut, 1 wide open."""
    rounding_t: Track
    """CONTROL_RATE steps a second: 0 spread, 1 pursed."""


@dataclass(frozen=True)
class _Score:
    """Everything the synthesiser needs, one value a control step."""

    voiced_t: Track
    hiss_bt: Track
    formants_ft: Track
    opening_t: Track
    rounding_t: Track
    accent_t: Track


def _plan(rng: np.random.Generator, steps: int, voice: Voice) -> _Score:
    """Syllables of uneven length in phrases with pauses between them."""
    voiced, opening, rounding, accent = (np.zeros(steps) for _ in range(4))
    hiss = np.zeros((len(HISS_BANDS_HZ), steps))
    formants = np.tile(np.array(VOWELS[-1].formants_hz)[:, None], (1, steps))
    at = int(rng.uniform(0.12, 0.26) * CONTROL_RATE)
    end = steps - int(rng.uniform(0.12, 0.22) * CONTROL_RATE)
    left_in_phrase = int(rng.integers(4, 8))
    last = -1
    while at < end - int(0.16 * CONTROL_RATE):
        if left_in_phrase == 0:
            at += int(rng.uniform(0.32, 0.55) * CONTROL_RATE)
            left_in_phrase = int(rng.integers(4, 8))
            continue
        left_in_phrase -= 1
        if rng.random() < 0.88:
            consonant = CONSONANTS[int(rng.integers(len(CONSONANTS)))]
            length = max(int(consonant.seconds * rng.uniform(0.8, 1.3) * CONTROL_RATE), 6)
            span = slice(at, min(at + length, end))
            burst = slice(max(span.stop - 5, at), span.stop) if consonant.burst else span
            voiced[span] = consonant.voiced
            hiss[consonant.hiss_band, burst] = consonant.hiss
            opening[span] = consonant.opening
            formants[:, span] = np.array(consonant.formants_hz)[:, None]
            at = span.stop
        choice = int(rng.integers(len(VOWELS)))
        last = choice if choice != last else (choice + 1) % len(VOWELS)
        vowel = VOWELS[last]
        stress = rng.uniform(0.65, 1.0)
        final = 1.35 if left_in_phrase == 0 else 1.0
        seconds = final * rng.uniform(0.55, 1.35) / voice.syllables_per_second * 0.72
        span = slice(at, min(at + max(int(seconds * CONTROL_RATE), 12), end))
        voiced[span] = (0.45 + 0.55 * vowel.opening) * stress
        opening[span] = vowel.opening * (0.55 + 0.45 * stress)
        rounding[span] = vowel.rounding
        accent[span] = stress
        formants[:, span] = np.array(vowel.formants_hz)[:, None]
        at = span.stop
    return _Score(
        voiced_t=gaussian_filter1d(voiced, 2.2),
        hiss_bt=gaussian_filter1d(hiss, 1.2, axis=1),
        formants_ft=gaussian_filter1d(formants, 4.0, axis=1) * voice.formant_scale,
        opening_t=gaussian_filter1d(opening, 5.0),
        rounding_t=gaussian_filter1d(rounding, 8.0),
        accent_t=gaussian_filter1d(accent, 10.0),
    )


def _glottis(rng: np.random.Generator, score: _Score, voice: Voice) -> Track:
    """Derivative of the air flow through the glottis (pulse shape after Rosenberg 1971), with jitter and breath."""
    steps = score.voiced_t.size
    samples = steps * BLOCK
    drift = gaussian_filter1d(rng.standard_normal(steps), 30.0)
    drift /= np.abs(drift).max() + 1e-9
    fall = np.linspace(1.1, 0.9, steps)
    pitch = voice.pitch_hz * fall * (1 + 0.16 * (score.accent_t - 0.5) + 0.07 * drift)
    pitch *= 1 + 0.008 * rng.standard_normal(steps)
    phase = np.cumsum(np.repeat(pitch, BLOCK) / SYNTHESIS_RATE) % 1.0
    rising, falling = 0.4, 0.16
    flow = np.where(
        phase < rising,
        0.5 * (1 - np.cos(np.pi * phase / rising)),
        np.where(phase < rising + falling, np.cos(np.pi / 2 * (phase - rising) / falling), 0.0),
    )
    pulses = np.diff(flow, prepend=0.0)
    breath = rng.standard_normal(samples) * voice.breath * (0.3 + flow) * 0.25
    return np.asarray((pulses + breath) * np.repeat(score.voiced_t, BLOCK))


def _through_throat(source: Track, formants_ft: Track) -> Track:
    """Cascade of second-order resonators, retuned every control step, each with unit gain at 0 Hz."""
    steps = formants_ft.shape[1]
    centres = np.vstack([formants_ft, np.full(steps, 3600.0)])
    radius = np.exp(-np.pi * np.array(BANDWIDTHS_HZ) / SYNTHESIS_RATE)[:, None]
    first = -2 * radius * np.cos(2 * np.pi * centres / SYNTHESIS_RATE)
    second = np.broadcast_to(radius**2, first.shape)
    zero, one = np.zeros_like(first), np.ones_like(first)
    sections = np.stack([1 + first + second, zero, zero, one, first, second], axis=-1)
    sections_ts6 = np.ascontiguousarray(sections.transpose(1, 0, 2))
    state = np.zeros((len(centres), 2))
    sound = np.empty_like(source)
    for step in range(steps):
        block = slice(step * BLOCK, (step + 1) * BLOCK)
        sound[block], state = sosfilt(sections_ts6[step], source[block], zi=state)
    return sound


def speak(rng: np.random.Generator, *, seconds: float, voice: Voice) -> Utterance:
    """Say something new.

    Args:
        rng: decides the sounds, their lengths and the melody.
        seconds: length of the result, pauses at both ends included.
        voice: who speaks.
    """
    steps = int(np.ceil(seconds * CONTROL_RATE))
    score = _plan(rng, steps, voice)
    voiced = _through_throat(_glottis(rng, score, voice), score.formants_ft)
    voiced /= np.abs(voiced).max() + 1e-9
    sound = 0.75 * voiced
    for band, level_t in zip(HISS_BANDS_HZ, score.hiss_bt, strict=True):
        noise = sosfilt(butter(2, band, "bandpass", fs=SYNTHESIS_RATE, output="sos"), rng.standard_normal(sound.size))
        sound += 0.25 * noise / noise.std() * np.repeat(level_t, BLOCK) * 0.4
    sound *= 0.6 / np.abs(sound).max()
    return Utterance(
        waveform_s=_finished(rng, sound, seconds),
        opening_t=np.clip(score.opening_t, 0, 1),
        rounding_t=np.clip(score.rounding_t, 0, 1),
    )


def room(rng: np.random.Generator, *, seconds: float) -> NDArray[np.float32]:
    """A quiet room: what is heard where nobody speaks. Mono, SAMPLE_RATE."""
    return _finished(rng, np.zeros(int(np.ceil(seconds * SYNTHESIS_RATE))), seconds)


def _finished(rng: np.random.Generator, sound: Track, seconds: float) -> NDArray[np.float32]:
    hum = sosfilt(butter(1, 2500, fs=SYNTHESIS_RATE, output="sos"), rng.standard_normal(sound.size))
    wave = resample_poly(sound + hum / hum.std() * NOISE_FLOOR, SAMPLE_RATE // SYNTHESIS_RATE, 1)
    return np.asarray(wave[: round(seconds * SAMPLE_RATE)], dtype=np.float32)


def per_frame(track_t: Track, *, fps: int, frames: int) -> Track:
    """Mean of a control track over each frame's time on screen, shape (frames,)."""
    per = CONTROL_RATE // fps
    return np.asarray(track_t[: frames * per].reshape(frames, per).mean(axis=1))
