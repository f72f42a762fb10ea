"""Decoding with PyAV: local files only, one thread, and nothing believed that a header says of times and sizes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from io import BytesIO
from pathlib import Path

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.plane import VideoPlane
from av.video.reformatter import ColorRange, VideoReformatter
from numpy.typing import NDArray

from pipeline.stage import ClipFrame, Unmeasurable

BACKEND = f"pyav {av.__version__}"

# Formats that name other files or addresses (playlists, concatenations, image sequences) stay out: a file of footage
# must not make this machine read anything but itself.
CONTAINERS = (
    "3g2,3gp,asf,av1,avi,dv,flv,gif,gxf,h264,hevc,ivf,live_flv,m4a,m4v,matroska,mj2,mjpeg,mov,mp4,mpeg,mpegts,"
    "mpegvideo,mxf,nsv,nut,obu,ogg,rm,webm,wtv,yuv4mpegpipe"
)
SAFE = {"protocol_whitelist": "file", "format_whitelist": CONTAINERS}
LARGEST_PIXELS = 16_384 * 16_384
MICROSECONDS = 1_000_000
BLACK, WHITE = 16, 235
"""Of video's brightness."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A decoded frame on the presentation clock, whose zero is the container's start, which sound shares."""

    time_us: int
    duration_us: int
    """What the frame says it lasts, else the time since the frame before; 0 where neither is known."""
    frame: av.VideoFrame
    damaged: bool
    """Decoded from broken data, or from a frame that was."""


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """How a decoded frame becomes the upright picture with square pixels that people see."""

    coded_width: int
    coded_height: int
    width: int
    height: int
    rotation_deg: int
    """Counter-clockwise turn that makes the decoded frame upright: 0, 90, 180 or 270."""


@dataclass(kw_only=True)
class Losses:
    """What could not be decoded."""

    packets: int = 0
    last_error: str = ""


@contextmanager
def open_footage(path: Path) -> Iterator[InputContainer]:
    """Open a local file of footage.

    Raises:
        Unmeasurable: FFmpeg cannot open it, or it is of a kind that may name other files.
    """
    try:
        container = av.open(str(path.absolute()), "r", options=SAFE, metadata_errors="replace")
    except av.error.FFmpegError as error:
        raise Unmeasurable(f"cannot be opened as a video: {error.strerror}") from error
    with container:
        yield container


def picture_stream(container: InputContainer) -> av.VideoStream:
    """The video stream that a player shows: the default one, else the first; cover art is none.

    Raises:
        Unmeasurable: there is no such stream.
    """
    art = Disposition.attached_pic | Disposition.timed_thumbnails
    streams = [stream for stream in container.streams.video if not stream.disposition & art]
    if not streams:
        raise Unmeasurable("holds no video stream")
    return next((stream for stream in streams if stream.disposition & Disposition.default), streams[0])


def geometry_of(stream: av.VideoStream, frame: av.VideoFrame) -> Geometry:
    """Size and turn of the upright picture. Pixels that are not square are made so by scaling the width."""
    aspect = stream.sample_aspect_ratio or Fraction(1)
    width = max(1, round(frame.width * aspect)) if aspect > 0 else frame.width
    rotation = round(frame.rotation / 90) * 90 % 360
    across = rotation in (90, 270)
    return Geometry(
        coded_width=frame.width,
        coded_height=frame.height,
        width=frame.height if across else width,
        height=width if across else frame.height,
        rotation_deg=rotation,
    )


def decode_pictures(
    container: InputContainer, stream: av.VideoStream, losses: Losses, *, finished: bool = True
) -> Iterator[Picture]:
    """Every frame of a stream in presentation order, each later than the one before.

    A packet that does not decode is counted in `losses`; what refers to it is marked damaged until the next sound
    keyframe. A stream that breaks off ends here. Frames stamped before the clock's zero are not shown, nor are frames
    stamped no later than the one before them.

    Not `finished` are pictures that no other refers to without the filter that smooths the edges of coding blocks: it
    hardly shows in a small picture, and takes a twentieth of the time.
    """
    stream.codec_context.thread_count = 1
    stream.codec_context.options = {
        "max_pixels": str(LARGEST_PIXELS),
        "skip_loop_filter": "default" if finished else "noref",
    }
    clock = _Clock(stream, container)
    damaged_from: int | None = None
    last_us = -1
    step_us = 0
    for packet in _packets(container, stream):
        try:
            frames = stream.decode(packet)
        except av.error.FFmpegError as error:
            losses.packets += 1
            losses.last_error = str(error.strerror)
            stamp = packet.pts if packet is not None else None
            at_us = clock.time_us(stamp) if stamp is not None else last_us + 1
            damaged_from = at_us if damaged_from is None else min(damaged_from, at_us)
            continue
        for frame in frames:
            time_us = clock.time_us(frame.pts) if frame.pts is not None else last_us + max(step_us, clock.nominal_us)
            if frame.is_corrupt:
                damaged_from = time_us if damaged_from is None else min(damaged_from, time_us)
            elif damaged_from is not None and frame.key_frame and time_us > damaged_from:
                damaged_from = None
            if time_us <= last_us or time_us < 0:
                continue
            step_us = time_us - last_us if last_us >= 0 else 0
            last_us = time_us
            yield Picture(
                time_us=time_us,
                duration_us=clock.span_us(frame.duration) or step_us or clock.nominal_us,
                frame=frame,
                damaged=damaged_from is not None and time_us >= damaged_from,
            )


def decode_keyframes(container: InputContainer, stream: av.VideoStream, *, spacing_us: int) -> Iterator[Picture]:
    """Keyframes at least `spacing_us` apart: a look at the whole file for a few percent of decoding it."""
    stream.codec_context.thread_count = 1
    clock = _Clock(stream, container)
    next_us = 0
    for packet in _packets(container, stream):
        if packet is not None and packet.size > 0:
            stamp = packet.pts if packet.pts is not None else packet.dts
            at_us = clock.time_us(stamp) if stamp is not None else next_us
            if not packet.is_keyframe or at_us < next_us:
                continue
            next_us = at_us + spacing_us
        try:
            frames = stream.decode(packet)
        except av.error.FFmpegError:
            continue
        for frame in frames:
            if frame.pts is not None and not frame.is_corrupt:
                yield Picture(time_us=clock.time_us(frame.pts), duration_us=0, frame=frame, damaged=False)


def clip_frames(media: Path | bytes) -> Iterator[tuple[int, ClipFrame]]:
    """Frame numbers from 0, and frames, of a clip that this package encoded.

    Raises:
        Unmeasurable: the file is broken.
    """
    for index, (frame, converter) in enumerate(_decoded(media)):
        yield index, ClipFrame(gray_of(frame, converter), partial(_colours, frame, converter))


def pixels_of(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """Of a frame in RGB or BGR: uint8 (H, W, 3); they share its memory, which PyAV's own way would copy."""
    plane = frame.planes[0]
    return _lines(plane)[:, : 3 * plane.width].reshape(plane.height, plane.width, 3)


def gray_of(
    frame: av.VideoFrame, converter: VideoReformatter, part: tuple[slice, slice] = (slice(None), slice(None))
) -> NDArray[np.uint8]:
    """A frame's brightness, in which video's black, 16, is 0 and its white, 235, is 255: uint8 (H, W).

    Args:
        frame: as it was decoded.
        converter: one for all frames.
        part: the lines and columns that are wanted.
    """
    # Most frames are so already, and pass as they are.
    plane = converter.reformat(frame, format="yuv420p", dst_color_range=ColorRange.MPEG, threads=1).planes[0]
    lines = _lines(plane)[:, : plane.width][part]
    stretch = 255 / (WHITE - BLACK)
    # The absolute value, which OpenCV takes too, would make blacker than black brighter.
    lit = cv2.max(lines, BLACK)  # type: ignore[call-overload]  # Its types know no numbers.
    stretched = cv2.convertScaleAbs(lit, alpha=stretch, beta=-BLACK * stretch)
    return np.asarray(stretched, dtype=np.uint8)


def decode_clip(media: Path | bytes) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Frame numbers from 0, and frames in RGB uint8 (H, W, 3), of a clip that this package encoded.

    Raises:
        Unmeasurable: the file is broken.
    """
    for index, (frame, converter) in enumerate(_decoded(media)):
        yield index, _colours(frame, converter)


def _decoded(media: Path | bytes) -> Iterator[tuple[av.VideoFrame, VideoReformatter]]:
    """Every frame, with one converter for all of them: each frame's own would set up another for itself."""
    with av.open(BytesIO(media) if isinstance(media, bytes) else str(media.absolute()), "r", options=SAFE) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        converter = VideoReformatter()
        try:
            for frame in container.decode(stream):
                yield frame, converter
        except av.error.FFmpegError as error:
            raise Unmeasurable(f"the clip does not decode: {error.strerror}") from error


def _lines(plane: VideoPlane) -> NDArray[np.uint8]:
    """Of bytes, with what pads them; they share the plane's memory."""
    return np.frombuffer(memoryview(plane), dtype=np.uint8).reshape(plane.height, plane.line_size)


def _colours(frame: av.VideoFrame, converter: VideoReformatter) -> NDArray[np.uint8]:
    return pixels_of(converter.reformat(frame, format="rgb24", threads=1))


class _Clock:
    """Turns a stream's ticks into microseconds from the container's start."""

    def __init__(self, stream: av.VideoStream, container: InputContainer) -> None:
        base = stream.time_base or Fraction(1, MICROSECONDS)
        self._up, self._down = base.numerator * MICROSECONDS, base.denominator
        self._origin_us = container.start_time or 0
        rate = stream.guessed_rate or Fraction(25)
        self.nominal_us = round(MICROSECONDS / rate)
        """Used only where frames carry no time at all, as in a bare elementary stream."""

    def time_us(self, pts: int) -> int:
        return self.span_us(pts) - self._origin_us

    def span_us(self, ticks: int) -> int:
        return (2 * ticks * self._up + self._down) // (2 * self._down)


def _packets(container: InputContainer, stream: av.VideoStream) -> Iterator["av.Packet[av.VideoStream] | None"]:
    """The stream's packets; last an empty one or None, which makes the decoder give out what it still holds."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.error.FFmpegError:
            yield None
            return
        yield packet
