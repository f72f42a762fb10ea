"""Offsets of known shifts, and how often chance is called significant."""

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.signal import resample_poly

from pipeline.backends.mouth_motion import MouthMotion
from pipeline.backends.mouth_sync import SyncMeasure, find_offset
from pipeline.demo.speech import VOICES, per_frame, speak

FRAMES = 97


def _spoken(seed: int, *, noise: float = 0.05) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """A mouth measured with some noise and the voice it made, with fifteen frames to spare on both sides."""
    rng = np.random.default_rng(seed)
    frames = FRAMES + 30
    said = speak(rng, seconds=frames / 25, voice=VOICES[("collins", "hopper")[seed % 2]])
    mouth = per_frame(said.opening_t, fps=25, frames=frames)
    wave = resample_poly(said.waveform_s, 1, 3).astype(np.float32)
    return mouth + noise * rng.standard_normal(frames), wave[: frames * 640]


def _cut(mouth: NDArray[np.float64], wave: NDArray[np.float32], late: int) -> SyncMeasure:
    """The middle of the mouth beside audio that is late by so many frames."""
    first = 15
    start = (first - late) * 640
    return find_offset(mouth[first : first + FRAMES], wave[start : start + FRAMES * 640], seed_key="clip")


@settings(max_examples=20)
@given(st.integers(0, 40), st.integers(-13, 13))
def test_the_offset_follows_the_audio(seed: int, late: int) -> None:
    measure = _cut(*_spoken(seed), late)
    assert abs((measure.offset_frames or 0) - late) <= 1
    assert (measure.p_value or 1) <= 0.005


def test_another_voice_is_rarely_significant() -> None:
    spoken = [_spoken(seed) for seed in range(16)]
    values = []
    for mine, (mouth, _) in enumerate(spoken):
        for step in (3, 5):
            _, other = spoken[(mine + step) % len(spoken)]
            measure = find_offset(mouth[:FRAMES], other[: FRAMES * 640], seed_key=f"{mine} {step}")
            values.append(measure.p_value or 0)
    assert len(values) == 32
    assert np.mean(np.array(values) <= 0.005) <= 1 / 32
    assert np.mean(np.array(values) <= 0.05) <= 0.2


def test_the_same_clip_gives_the_same_p_value() -> None:
    mouth, wave = _spoken(3, noise=0.6)
    first, again, other = (
        find_offset(mouth[:FRAMES], wave[: FRAMES * 640], seed_key=key) for key in ("one", "one", "two")
    )
    assert first == again
    assert first.offset_frames == other.offset_frames
    assert first.p_value == pytest.approx(other.p_value, abs=0.05)


def test_short_gaps_do_not_matter() -> None:
    mouth, wave = _spoken(4)
    mouth[40:44] = np.nan
    mouth[15] = np.nan
    measure = _cut(mouth, wave, 5)
    assert abs((measure.offset_frames or 0) - 5) <= 1


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        ("face", "the mouth was measured in"),
        ("sound", "sound in 0%"),
        ("still", "does not move"),
        ("short", "too few"),
        ("numbers", "no numbers"),
    ],
)
def test_what_cannot_be_told_is_none_with_a_cause(spoil: str, cause: str) -> None:
    mouth, wave = _spoken(5)
    if spoil == "face":
        mouth[:70] = np.nan
    elif spoil == "sound":
        wave = np.zeros_like(wave)
    elif spoil == "still":
        mouth = np.full_like(mouth, 0.2)
    elif spoil == "numbers":
        wave[100] = np.nan
    else:
        mouth, wave = mouth[:40], wave[: 40 * 640]
    measure = find_offset(mouth, wave, seed_key="clip")
    assert (measure.offset_frames, measure.confidence, measure.p_value) == (None, None, None)
    assert cause in (measure.cause or "")


def test_lengths_that_do_not_belong_together_are_a_bug() -> None:
    with pytest.raises(ValueError, match="62080"):
        find_offset(np.zeros(97), np.zeros(62_079, dtype=np.float32), seed_key="clip")


@pytest.mark.parametrize(
    ("name", "in_step"),
    [
        # Generated from the audio they carry, so they are in step.
        ("SadTalker_art_0__japanese.mp4", True),
        ("SadTalker_still1.mp4", True),
        # Music under a closed mouth.
        ("LivePortrait_s18.mp4", False),
    ],
)
def test_talking_heads(footage: Path, name: str, in_step: bool) -> None:
    mouth, wave = _watched(footage / "video" / name)
    measure = find_offset(mouth, wave, seed_key=name)
    if not in_step:
        assert measure.p_value is None or measure.p_value > 0.005
        return
    assert abs(measure.offset_frames or 0) <= 1
    assert (measure.p_value or 1) <= 0.005
    for late in (-10, -5, 5, 10):
        shifted = find_offset(mouth, np.roll(wave, late * 640), seed_key=name)
        assert abs((shifted.offset_frames or 0) - late) <= 1


def _watched(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Openness of the largest face's mouth at 25 fps and mono audio at 16 kHz. Faces are looked for every 4 frames."""
    cascade = cv2.CascadeClassifier(str(Path(cv2.data.haarcascades) / "haarcascade_frontalface_alt2.xml"))
    with av.open(str(path)) as container:
        decoded = [(frame.time, frame.to_ndarray(format="gray")) for frame in container.decode(video=0)]
    times = np.array([time for time, _ in decoded])
    frames = int((times[-1] + 0.04) * 25)
    follower, box, values = MouthMotion(), None, []
    for index in range(frames):
        gray = decoded[int(np.argmin(np.abs(times - index / 25)))][1]
        if index % 4 == 0:
            scale = min(320 / max(gray.shape), 1.0)
            small = cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            found = cascade.detectMultiScale(small, scaleFactor=1.1, minNeighbors=4, minSize=(50, 50))
            if len(found):
                x, y, width, height = max(found, key=lambda one: one[2])
                rows, columns = small.shape
                box = (x / columns, y / rows, (x + width) / columns, (y + height) / rows)
        values.append(follower.add(gray, box))
    resampler = av.AudioResampler("flt", "mono", 16_000)
    with av.open(str(path)) as container:
        parts = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    wave = np.concatenate([part.to_ndarray()[0] for part in [*parts, *resampler.resample(None)]])
    wave = np.pad(wave, (0, max(frames * 640 - len(wave), 0)))[: frames * 640]
    return np.array(values), wave
