"""Clips: windows of shots, re-encoded at 25 fps, with their sound, from one decode of the source.

Frame k of a clip is the source's picture nearest in presentation time to the clip's start + k * 40 ms, among the
pictures of its shot. The sound is 640 samples a frame from the same clock.
"""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from pipeline.backends import pyav_decode
from pipeline.backends.black_bars import Box, Depths, depths_of_frame, picture_within
from pipeline.backends.flac import flac_of
from pipeline.backends.picture_damage import blocking, combing, middle
from pipeline.backends.pyav_decode import (
    Geometry,
    Losses,
    Picture,
    decode_keyframes,
    decode_pictures,
    geometry_of,
    gray_of,
    open_footage,
    picture_stream,
)
from pipeline.backends.pyav_encode import FPS, ClipWriter, Crop, FrameShaper, fit
from pipeline.backends.pyav_sound import SAMPLE_RATE, SAMPLES_PER_FRAME, SoundReader, sound_stream
from pipeline.stage import Inapplicable, Measured, Media, Row, Source, Unmeasurable
from pipeline.stages.options.clips import ClipsConfig

BACKEND = f"{pyav_decode.BACKEND} libx264"

FRAME_US = 1_000_000 // FPS
# Spans are rounded to microseconds: a shot of exactly 97 frames must not miss the last one for half of one.
ROUNDING_US = 1_000
KEYFRAME_SPACING_US = 1_000_000
DAMAGE_EVERY = 32
"""Frames of a clip from one look for damage to the next."""
DAMAGE_PX = 720
"""Side of the square in the middle of the picture that is looked at."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """A span of a shot that becomes a clip."""

    shot_id: str
    shot_start_us: int
    shot_end_us: int
    start_us: int
    frames: int

    @property
    def end_us(self) -> int:
        """Where the next clip may begin."""
        return self.start_us + self.frames * FRAME_US


def plan_windows(shots: list[Row], config: ClipsConfig) -> list[Window]:
    """The clips of these shots, in time order.

    Windows of `frames` follow one another from the shot's start; what is left gives one more of at least `min_frames`,
    and is dropped otherwise. A shot too short for that gives no clip. The margin is left out at both ends, but not
    where the source itself begins or ends.
    """
    margin_us = round(config.margin_s * 1e6)
    windows: list[Window] = []
    ordered = sorted(shots, key=lambda shot: int(shot["start_us"]))
    for shot in ordered:
        start_us = shot["start_us"] + (margin_us if shot["boundary"] != "start" else 0)
        end_us = shot["end_us"] - (margin_us if shot is not ordered[-1] else 0)
        while (left := (end_us - start_us + ROUNDING_US) // FRAME_US) >= config.min_frames:
            frames = min(config.frames, (left - 1) // 4 * 4 + 1)
            window = Window(
                shot_id=shot["id"],
                shot_start_us=shot["start_us"],
                shot_end_us=shot["end_us"],
                start_us=start_us,
                frames=frames,
            )
            windows.append(window)
            start_us = window.end_us
    return windows


def cut_clips(source: Source, shots: list[Row], config: ClipsConfig, folder: Path) -> Iterator[Measured]:
    """Every clip as soon as it is encoded: a row for `clips`, its video and, if the source has sound, its audio.

    The source's pictures and its sound are each decoded once, in order, holding one picture and one clip's sound at a
    time. Before that its keyframes are looked at, one a second at most, for black bars.

    Args:
        source: the file.
        shots: its rows of `shots`.
        config: see there.
        folder: an empty folder for files in the making.

    Raises:
        Unmeasurable: the source cannot be decoded, or ends before its last shot does.
        Inapplicable: its picture is under 16 pixels.
    """
    windows = plan_windows(shots, config)
    if not windows:
        return
    pictures = _pictures(source.path, windows)
    with ExitStack() as stack:
        sound = _sound(source.path, stack)
        for encoded in _encoded(source.path, windows, pictures, config, folder):
            yield _measured(source.id, encoded, _heard(sound, encoded.window) if sound is not None else _NO_SOUND)


@dataclass(frozen=True, kw_only=True)
class _Encoded:
    window: Window
    geometry: Geometry
    crop: Crop
    mp4: bytes
    damage: list[tuple[float | None, float]]
    """Blocking and combing of some of its pictures."""


@dataclass(frozen=True, kw_only=True)
class _Heard:
    """A clip's sound; `missing` is the share of it that the track did not have, `cause` what did not decode."""

    flac: bytes | None
    missing: float | None
    cause: str | None


_NO_SOUND = _Heard(flac=None, missing=None, cause=None)


def _pictures(path: Path, windows: list[Window]) -> dict[str, Box]:
    """Shot -> what is inside its black bars, in fractions of the frame as it is coded.

    A shot whose keyframes do not tell has the bars of the whole file; a file that does not tell has none.
    """
    seen: dict[str, list[Depths]] = {window.shot_id: [] for window in windows}
    everything: list[Depths] = []
    with open_footage(path) as container:
        for picture in decode_keyframes(container, picture_stream(container), spacing_us=KEYFRAME_SPACING_US):
            depths = depths_of_frame(picture.frame)
            everything.append(depths)
            for window in windows:
                if window.shot_start_us <= picture.time_us < window.shot_end_us:
                    seen[window.shot_id].append(depths)
                    break
    whole = picture_within(everything) or (0.0, 0.0, 1.0, 1.0)
    return {shot: picture_within(depths) or whole for shot, depths in seen.items()}


def _encoded(
    path: Path, windows: list[Window], within: dict[str, Box], config: ClipsConfig, folder: Path
) -> Iterator[_Encoded]:
    file = folder / "clip.mp4"
    with open_footage(path) as container:
        stream = picture_stream(container)
        pictures = decode_pictures(container, stream, Losses())
        held = next(pictures, None)
        if held is None:
            raise Unmeasurable("no picture decodes")
        geometry = geometry_of(stream, held.frame)
        reel = _Reel(held, pictures)
        converter = VideoReformatter()
        aspects = [int(width) / int(height) for width, height in (aspect.split(":") for aspect in config.aspects)]
        for window in windows:
            crop = fit(geometry, within[window.shot_id], short_side=config.short_side, aspects=aspects)
            if crop is None:
                raise Inapplicable(f"the picture is under 16 pixels: {geometry.width} x {geometry.height}")
            shaper = FrameShaper(geometry, crop)
            with ClipWriter(file, width=crop.width, height=crop.height, crf=config.crf, preset=config.preset) as writer:
                shaped: tuple[Picture, av.VideoFrame] | None = None
                damage: list[tuple[float | None, float]] = []
                for number in range(window.frames):
                    picture = reel.nearest(window.start_us + number * FRAME_US, window)
                    if shaped is None or shaped[0] is not picture:
                        shaped = (picture, shaper.shape(picture.frame))
                    if number % DAMAGE_EVERY == 0:
                        damage.append(_damage(picture.frame, converter))
                    writer.add(shaped[1])
            yield _Encoded(window=window, geometry=geometry, crop=crop, mp4=file.read_bytes(), damage=damage)
            file.unlink()


def _damage(frame: av.VideoFrame, converter: VideoReformatter) -> tuple[float | None, float]:
    """Of the middle of a picture as it was coded, which is enough of it."""
    gray = gray_of(frame, converter, middle(frame.height, frame.width, DAMAGE_PX))
    return blocking(gray), combing(gray)


class _Reel:
    """Runs forwards through a source's pictures, holding two."""

    def __init__(self, first: Picture, rest: Iterator[Picture]) -> None:
        self._held = first
        self._rest = rest
        self._next = next(rest, None)

    def nearest(self, time_us: int, window: Window) -> Picture:
        """The picture of the window's shot that is nearest to a time; of two as near, the earlier. Never goes back."""
        while (following := self._next) is not None and following.time_us < window.shot_end_us:
            outside = self._held.time_us < window.shot_start_us
            if not outside and following.time_us - time_us >= time_us - self._held.time_us:
                break
            self._held, self._next = following, next(self._rest, None)
        if not window.shot_start_us <= self._held.time_us < window.shot_end_us:
            raise Unmeasurable(f"no picture decodes between {window.shot_start_us} and {window.shot_end_us} us")
        return self._held


def _sound(path: Path, stack: ExitStack) -> SoundReader | None:
    container = stack.enter_context(open_footage(path))
    stream = sound_stream(container)
    return SoundReader(container, stream) if stream is not None else None


def _heard(sound: SoundReader, window: Window) -> _Heard:
    """The sound of a window. A track of which nothing decodes is none."""
    if not sound.has_sound:
        return _Heard(flac=None, missing=None, cause=sound.losses.cause() or "the track holds no sound")
    start, count = round(window.start_us * SAMPLE_RATE / 1e6), window.frames * SAMPLES_PER_FRAME
    flac = flac_of(sound.read(start, count))
    return _Heard(flac=flac, missing=sound.absent(start, count) / count, cause=sound.losses.cause())


def _measured(source_id: str, encoded: _Encoded, heard: _Heard) -> Measured:
    window, crop = encoded.window, encoded.crop
    media = [Media(kind="clips", data=encoded.mp4, suffix=".mp4")]
    if heard.flac is not None:
        media.append(Media(kind="audio", data=heard.flac, suffix=".flac"))
    row: Row = {
        "id": f"{source_id}_{window.start_us}_{window.end_us}",
        "source_id": source_id,
        "shot_id": window.shot_id,
        "start_us": window.start_us,
        "end_us": window.end_us,
        "frames": window.frames,
        "width": crop.width,
        "height": crop.height,
        "transform": {
            "x0": crop.x0,
            "y0": crop.y0,
            "x1": crop.x1,
            "y1": crop.y1,
            "rotation_deg": encoded.geometry.rotation_deg,
            "scale": crop.scale,
        },
        "media_sha256": hashlib.sha256(encoded.mp4).hexdigest(),
        "audio_sha256": hashlib.sha256(heard.flac).hexdigest() if heard.flac is not None else None,
        "audio_missing": heard.missing,
        "error": f"sound so far: {heard.cause}" if heard.cause else None,
        "blocking": float(np.median(blocks)) if (blocks := [b for b, _ in encoded.damage if b is not None]) else None,
        "combing": max(combs for _, combs in encoded.damage),
    }
    return Measured(rows={"clips": [row]}, media=media)
