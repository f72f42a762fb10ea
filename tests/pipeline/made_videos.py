"""Videos made for tests: every picture says its number in black and white squares, and every sound its time."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

BITS = 10
SQUARE = 16
TICKS = 1000
"""Pictures are stamped in milliseconds."""

Picture = NDArray[np.uint8]


def texture(seed: int, *, width: int = 320, height: int = 192) -> Picture:
    """A scene RGB (height, width, 3): large and small structure as in nature, and things with sharp edges."""
    rng = np.random.default_rng(seed)
    scene = np.zeros((height, width, 3), np.float32)
    for octave in range(1, 6):
        across = 2**octave
        noise = rng.normal(size=(across * height // width + 2, across, 3)).astype(np.float32)
        scene += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC) / octave
    scene = 128 + 48 * scene
    for _ in range(12):
        x, y = rng.integers(0, width), rng.integers(0, height)
        colour = rng.integers(20, 236, 3).tolist()
        cv2.ellipse(scene, (int(x), int(y)), tuple(rng.integers(8, height // 4, 2).tolist()), 0, 0, 360, colour, -1)
    return np.asarray(scene.clip(16, 240), dtype=np.uint8)


def numbered(picture: Picture, number: int) -> Picture:
    """The picture with a number written in its top left corner, least bit first."""
    marked = picture.copy()
    for bit in range(BITS):
        column = bit * SQUARE
        marked[:SQUARE, column : column + SQUARE] = 235 if number >> bit & 1 else 20
    return marked


def number_in(frame_hwc: Picture, *, scale: float = 1.0, x0: float = 0.0, y0: float = 0.0) -> int:
    """Read the number back from a frame that shows the picture from (x0, y0) on, scaled."""
    number = 0
    for bit in range(BITS):
        x = round(((bit + 0.5) * SQUARE - x0) * scale)
        y = round((SQUARE / 2 - y0) * scale)
        number |= int(frame_hwc[y - 1 : y + 2, x - 1 : x + 2].mean() > 128) << bit
    return number


def write_video(
    path: Path,
    pictures: Iterable[Picture],
    *,
    times_ms: Sequence[int],
    rotation_deg: int = 0,
    pixel_aspect: Fraction | None = None,
    sound: NDArray[np.int16] | None = None,
    sound_rate: int = 48_000,
    sound_layout: str = "mono",
    sound_at_ms: Sequence[int] = (0,),
    gop: int = 12,
) -> Path:
    """Encode H.264, and PCM or AAC beside it, in the container that the suffix names.

    Args:
        path: where to; the suffix decides the container.
        pictures: RGB, even sides.
        times_ms: each picture's presentation time.
        rotation_deg: display matrix, counter-clockwise.
        pixel_aspect: of a pixel, width to height.
        sound: mono samples, the same in every channel; as many equal pieces as there are times in `sound_at_ms`.
        sound_rate: samples a second.
        sound_layout: its channels, by FFmpeg's name.
        sound_at_ms: when each piece begins.
        gop: pictures from keyframe to keyframe.
    """
    with av.open(str(path), "w") as container:
        video = container.add_stream(
            "libx264", rate=25, options={"crf": "12", "preset": "ultrafast", "g": str(gop), "bf": "2"}
        )
        first, *rest = pictures
        video.height, video.width = first.shape[:2]
        video.pix_fmt = "yuv420p"
        video.time_base = Fraction(1, TICKS)
        video.codec_context.time_base = Fraction(1, TICKS)
        if pixel_aspect is not None:
            video.codec_context.sample_aspect_ratio = pixel_aspect
        if rotation_deg:
            video.set_display_rotation(rotation_deg)
        audio = None
        if sound is not None:
            codec = "pcm_s16le" if path.suffix in (".mkv", ".mov") else "aac"
            audio = container.add_stream(codec, rate=sound_rate, layout=sound_layout)
        for time_ms, picture in zip(times_ms, [first, *rest], strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = time_ms, Fraction(1, TICKS)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if audio is not None and sound is not None:
            for at_ms, piece in zip(sound_at_ms, np.array_split(sound, len(sound_at_ms)), strict=True):
                block = 1024
                for start in range(0, len(piece), block):
                    channels = av.AudioLayout(sound_layout).nb_channels
                    interleaved = np.repeat(piece[start : start + block], channels)[None]
                    samples = av.AudioFrame.from_ndarray(interleaved, format="s16", layout=sound_layout)
                    samples.sample_rate = sound_rate
                    samples.time_base = Fraction(1, sound_rate)
                    samples.pts = at_ms * sound_rate // 1000 + start
                    container.mux(audio.encode(samples))
            container.mux(audio.encode())
    return path


def steady(count: int, *, fps: float = 25.0, start_ms: int = 0) -> list[int]:
    """Times of `count` pictures at a constant rate."""
    return [start_ms + round(1000 * number / fps) for number in range(count)]


def clicks(seconds: float, at_s: Sequence[float], *, rate: int = 48_000) -> NDArray[np.int16]:
    """Silence with a short burst of 1 kHz at each of these times."""
    samples = np.zeros(round(seconds * rate), np.float64)
    burst = 0.6 * np.sin(2 * np.pi * 1000 * np.arange(round(0.03 * rate)) / rate)
    for at in at_s:
        start = round(at * rate)
        samples[start : start + len(burst)] = burst[: len(samples) - start]
    return (samples * 32767).astype(np.int16)


def onsets_s(samples: NDArray[np.int16], *, rate: int = 16_000, quiet_s: float = 0.1) -> list[float]:
    """When sound begins after at least `quiet_s` of silence."""
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > 1600)
    starts = [index for place, index in enumerate(loud) if place == 0 or index - loud[place - 1] > quiet_s * rate]
    return [float(start) / rate for start in starts]
