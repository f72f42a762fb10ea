"""Renders the script to reels: frames, sound, H.264 and AAC, and the truth table."""

from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.demo.looks import BACKDROP_PX, FRAME_PX, Lamp, Look, backdrop, dressed, placement
from pipeline.demo.pictures import Image, photograph
from pipeline.demo.portraits import Portrait, load_portraits, posed
from pipeline.demo.script import EXPECTED, FPS, Shot, write_script
from pipeline.demo.speech import SAMPLE_RATE, VOICES, per_frame, room, speak
from pipeline.demo.truth import TrueReel, TrueShot, Truth, write_truth

SAMPLES_PER_FRAME = SAMPLE_RATE // FPS
FRAME_US = 1_000_000 // FPS
BLUR_SIGMA_PX = 9.0
BLACK_GAIN = 0.015
COPY_SIGMA_PX = 0.6
"""A duplicate went through one more generation: it is a little softer than its original."""


@dataclass(frozen=True)
class Rendered:
    """A shot's frames and sound."""

    frames: list[Image]
    """RGB, FRAME_PX square."""
    waveform_s: NDArray[np.float32]
    """Mono, SAMPLE_RATE, SAMPLES_PER_FRAME for each frame."""


def render_film(directory: Path, *, seed: int = 0) -> Path:
    """Render the reels and `truth.json` into `directory`, made if missing.

    Args:
        directory: where the files go; files of the same names are replaced.
        seed: the same seed gives the same bytes on one machine.

    Returns:
        Path of the truth table; the reels lie beside it.

    Raises:
        UserError: the packages that carry the pictures are not installed.
    """
    directory.mkdir(parents=True, exist_ok=True)
    people = load_portraits()
    reels = []
    for number, shots in enumerate(write_script(seed), start=1):
        name = f"reel{number}.mp4"
        frames, waveform = _joined([render_shot(shot, people) for shot in shots], shots)
        write_reel(directory / name, frames, waveform)
        reels.append(_true_reel(name, shots, len(frames)))
    truth = Truth(seed=seed, fps=FPS, width=FRAME_PX, height=FRAME_PX, reels=tuple(reels))
    return write_truth(truth, directory)


def render_shot(shot: Shot, people: dict[str, Portrait]) -> Rendered:
    """Frames and sound of one shot, as if it stood alone."""
    rng = np.random.default_rng(shot.seed)
    seconds = shot.frames / FPS
    voice = VOICES[shot.person or "narrator"]
    utterance = speak(rng, seconds=seconds, voice=voice)
    if shot.person is None:
        frames = _panned(photograph("hubble_deep_field"), shot.frames, rng)
    else:
        opening = per_frame(utterance.opening_t, fps=FPS, frames=shot.frames)
        rounding = per_frame(utterance.rounding_t, fps=FPS, frames=shot.frames)
        frames = _performed(people[shot.person], shot.look, opening, rounding, rng)
    for index in shot.flash:
        frames[index] = np.full_like(frames[index], 252)
    if shot.kind == "blurred":
        frames = [_blurred(frame, BLUR_SIGMA_PX) for frame in frames]
    elif shot.kind == "black":
        frames = [(frame * BLACK_GAIN).astype(np.uint8) for frame in frames]
    elif shot.kind == "duplicate":
        frames = [_blurred(frame, COPY_SIGMA_PX) for frame in frames]
    waveform = utterance.waveform_s
    if not shot.speaking:
        waveform = np.zeros_like(waveform)
    elif shot.audio_delay_frames:
        late = shot.audio_delay_frames * SAMPLES_PER_FRAME
        waveform = np.concatenate([room(rng, seconds=late / SAMPLE_RATE), waveform[:-late]])
    return Rendered(frames, waveform)


def _blurred(frame: Image, sigma: float) -> Image:
    return np.asarray(cv2.GaussianBlur(frame, (0, 0), sigma), dtype=np.uint8)


def _wander(rng: np.random.Generator, frames: int, amplitude: float) -> NDArray[np.float64]:
    """A slow, smooth movement around zero: two sines of 2 to 6 seconds."""
    seconds = np.arange(frames) / FPS
    slow, fast = rng.uniform(3.5, 6.0), rng.uniform(2.0, 3.2)
    first = np.sin(2 * np.pi * (seconds / slow + rng.random()))
    second = np.sin(2 * np.pi * (seconds / fast + rng.random()))
    return np.asarray(amplitude * (0.7 * first + 0.3 * second))


def _blinks(rng: np.random.Generator, frames: int) -> NDArray[np.float64]:
    """0 open to 1 shut: a blink of five frames every two seconds or so."""
    shut = np.zeros(frames + 8)
    at = int(rng.integers(10, 40))
    while at < frames:
        shut[at : at + 5] = (0.5, 1.0, 1.0, 0.6, 0.25)
        at += int(rng.integers(35, 70))
    return shut[:frames]


def _performed(
    person: Portrait, look: Look, opening: NDArray[np.float64], rounding: NDArray[np.float64], rng: np.random.Generator
) -> list[Image]:
    """The person talking in this look, one frame for each value of `opening`."""
    count = len(opening)
    behind = backdrop(look, rng)
    wearing = dressed(person, look)
    lamp = Lamp(look)
    shift_x, shift_y = _wander(rng, count, 0.02), _wander(rng, count, 0.012)
    turn, zoom = _wander(rng, count, 2.0), 1 + _wander(rng, count, 0.02)
    drift_x, drift_y = _wander(rng, count, 10.0), _wander(rng, count, 5.0)
    blinks = _blinks(rng, count)
    frames = []
    for i in range(count):
        canvas = posed(wearing, opening=float(opening[i]), rounding=float(rounding[i]), blink=float(blinks[i]))
        where = placement(wearing, look, shift_x=shift_x[i], shift_y=shift_y[i], turn_deg=turn[i], zoom=zoom[i])
        rgba = _warped(canvas, where)
        share = rgba[..., 3].astype(np.float32) / 255
        scene = _warped(behind, _drift(drift_x[i], drift_y[i]))
        mixed = cv2.blendLinear(np.ascontiguousarray(rgba[..., :3]), scene, share, 1 - share)
        frames.append(lamp.lit(np.asarray(mixed, dtype=np.uint8)))
    return frames


def _warped(picture: Image, transform: NDArray[np.float64]) -> Image:
    """The picture in the frame, its edges drawn out to the border."""
    size = (FRAME_PX, FRAME_PX)
    warped = cv2.warpAffine(picture, transform, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, dtype=np.uint8)


def _drift(x: float, y: float) -> NDArray[np.float64]:
    """Transform that shows the middle of a backdrop, moved by a fraction of a pixel at a time."""
    margin = (BACKDROP_PX - FRAME_PX) / 2
    return np.array([[1.0, 0.0, -margin - x], [0.0, 1.0, -margin - y]])


def _panned(picture: Image, frames: int, rng: np.random.Generator) -> list[Image]:
    """A slow flight over a photograph."""
    height, width = picture.shape[:2]
    angle = rng.uniform(0, 2 * np.pi)
    result = []
    for index in range(frames):
        t = index / (frames - 1) - 0.5
        scale = 0.75 + 0.25 * t
        centre_x = width / 2 + 0.35 * width * t * np.cos(angle)
        centre_y = height / 2 + 0.35 * height * t * np.sin(angle)
        shift = (FRAME_PX / 2 - scale * centre_x, FRAME_PX / 2 - scale * centre_y)
        transform = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
        view = cv2.warpAffine(picture, transform, (FRAME_PX, FRAME_PX), flags=cv2.INTER_AREA)
        result.append(np.clip(view.astype(np.float32) * 1.6 + 10, 0, 255).astype(np.uint8))
    return result


def _joined(rendered: list[Rendered], shots: tuple[Shot, ...]) -> tuple[list[Image], NDArray[np.float32]]:
    """One reel: cuts where nothing else is said, dissolves mixed in picture and sound."""
    frames: list[Image] = []
    waveform = np.zeros(0, dtype=np.float32)
    for shot, part in zip(shots, rendered, strict=True):
        own_frames, own_waveform = part.frames, part.waveform_s
        if shot.dissolve_in:
            count = shot.dissolve_in
            for index in range(count):
                share = (index + 1) / (count + 1)
                mixed = cv2.addWeighted(frames[index - count], 1 - share, own_frames[index], share, 0)
                frames[index - count] = np.asarray(mixed, dtype=np.uint8)
            samples = count * SAMPLES_PER_FRAME
            ramp = np.linspace(0, 1, samples, dtype=np.float32)
            waveform[-samples:] = waveform[-samples:] * (1 - ramp) + own_waveform[:samples] * ramp
            own_frames, own_waveform = own_frames[count:], own_waveform[samples:]
        frames += own_frames
        waveform = np.concatenate([waveform, own_waveform])
    return frames, waveform


def _true_reel(name: str, shots: tuple[Shot, ...], frames: int) -> TrueReel:
    at = 0
    true_shots: list[TrueShot] = []
    dissolves = []
    for index, shot in enumerate(shots):
        start = at
        until = start + shot.frames - shot.dissolve_in
        following = shots[index + 1].dissolve_in if index + 1 < len(shots) else 0
        end = until - following
        if following:
            dissolves.append((end * FRAME_US, until * FRAME_US))
        at = until
        tier, rejected_by = EXPECTED[shot.kind]
        flash = ((start + shot.flash[0]) * FRAME_US, (start + shot.flash[-1] + 1) * FRAME_US) if shot.flash else None
        true_shots.append(
            TrueShot(
                id=shot.id,
                reel=name,
                start_us=start * FRAME_US,
                end_us=end * FRAME_US,
                boundary="start" if index == 0 else "dissolve" if shot.dissolve_in else "cut",
                kind=shot.kind,
                person=None if shot.kind == "black" else shot.person,
                look=f"{shot.person}-{shot.look.name}" if shot.person else "hubble",
                speaking=shot.speaking,
                audio_delay_frames=shot.audio_delay_frames,
                flash_us=(flash,) if flash else (),
                duplicate_of=shot.duplicate_of,
                expected_tier=tier,
                rejected_by=rejected_by,
            )
        )
    return TrueReel(file=name, frames=frames, dissolves_us=tuple(dissolves), shots=tuple(true_shots))


def write_reel(path: Path, frames: list[Image], waveform_s: NDArray[np.float32]) -> None:
    """Encode H.264 and AAC into an MP4 whose bytes depend on nothing but the content."""
    with av.open(str(path), "w", options={"fflags": "+bitexact", "movflags": "+faststart"}) as container:
        video = container.add_stream("libx264", rate=FPS, options={"crf": "19", "preset": "veryfast"})
        video.width, video.height, video.pix_fmt = FRAME_PX, FRAME_PX, "yuv420p"
        video.codec_context.thread_count = 1
        audio = container.add_stream(
            "aac", rate=SAMPLE_RATE, layout="mono", options={"b": "96000", "aac_coder": "fast"}
        )
        for stream in (video, audio):
            stream.codec_context.flags |= av.codec.context.Flags.bitexact
        for index, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = index
            container.mux(video.encode(frame))
            samples = waveform_s[index * SAMPLES_PER_FRAME : (index + 1) * SAMPLES_PER_FRAME]
            sound = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
            sound.sample_rate, sound.pts = SAMPLE_RATE, index * SAMPLES_PER_FRAME
            container.mux(audio.encode(sound))
        container.mux(video.encode())
        container.mux(audio.encode())
