"""Cropping, turning and scaling decoded frames, and encoding clips, so that equal pictures give equal bytes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
from av.codec.context import Flags
from av.filter import Graph
from av.video.reformatter import ColorRange, Colorspace

from pipeline.backends.black_bars import Box
from pipeline.backends.pyav_decode import Geometry

FPS = 25
SIDE_MULTIPLE = 16

BT709_TO_BT601 = (
    "ispace=bt709:space=smpte170m:irange=tv:range=tv:format=yuv420p"
    ":iprimaries=bt709:primaries=bt709:itrc=bt709:trc=bt709"
)
"""The matrix alone: primaries and transfer stay what they are."""


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A rectangle of the upright picture in its pixels, and the size it is scaled to."""

    x0: float
    y0: float
    x1: float
    y1: float
    width: int
    height: int
    scale: float
    """Clip pixels to a source pixel."""


def fit(geometry: Geometry, picture: Box, *, short_side: int, aspects: Sequence[float] = ()) -> Crop | None:
    """The largest crop, inside the bars, whose sides scale to multiples of 16 with the short one within `short_side`.

    It is never scaled up, and cut evenly on both sides. None if it would be under 16 pixels.

    Args:
        geometry: of the source.
        picture: what is inside the black bars, in fractions of the frame as it is coded.
        short_side: upper limit in pixels.
        aspects: widths over heights; the nearest is cut out. Without any the picture keeps its own.
    """
    bar_x, bar_y = picture[:2] if geometry.rotation_deg in (0, 180) else picture[1::-1]
    # Two pixels of safety: the edge of a bar is never sharp.
    inset_x, inset_y = (
        round(bar * side) + 2 if bar * side >= 1 else 0
        for bar, side in ((bar_x, geometry.width), (bar_y, geometry.height))
    )
    width: float = geometry.width - 2 * inset_x
    height: float = geometry.height - 2 * inset_y
    if min(width, height) < SIDE_MULTIPLE:
        return None
    if aspects:
        aspect = min(aspects, key=lambda offered: abs(math.log(offered * height / width)))
        width, height = min(width, height * aspect), min(height, width / aspect)
    limit = min(1.0, short_side / min(width, height))
    clip_width, clip_height = (
        # An exact multiple must not fall to the next lower one by a rounding error.
        int(side * limit + 1e-6) // SIDE_MULTIPLE * SIDE_MULTIPLE
        for side in (width, height)
    )
    if min(clip_width, clip_height) == 0:
        return None
    scale = max(clip_width / width, clip_height / height)
    x0, y0 = (geometry.width - clip_width / scale) / 2, (geometry.height - clip_height / scale) / 2
    return Crop(
        x0=x0,
        y0=y0,
        x1=geometry.width - x0,
        y1=geometry.height - y0,
        width=clip_width,
        height=clip_height,
        scale=scale,
    )


class FrameShaper:
    """Turns decoded frames into the clip's frames by one FFmpeg filter graph: crop, scale, turn, BT.601 4:2:0.

    Where only the matrix is BT.709's, as in most footage, it is changed after scaling, by integers: FFmpeg's scaler
    would go by way of RGB, which takes three times as long as all the rest.
    """

    def __init__(self, geometry: Geometry, crop: Crop) -> None:
        self._geometry = geometry
        self._crop = crop
        self._graph: Graph | None = None
        self._kind: tuple[str, int, int, int, int] | None = None

    def shape(self, frame: av.VideoFrame) -> av.VideoFrame:
        """The frame of the clip. The source may change its format or size half-way."""
        kind = (frame.format.name, frame.width, frame.height, int(frame.colorspace), int(frame.color_range))
        if self._graph is None or kind != self._kind:
            self._graph, self._kind = self._built(frame), kind
        self._graph.vpush(frame)
        return self._graph.vpull()

    def _built(self, frame: av.VideoFrame) -> Graph:
        turn, crop, upright = self._geometry.rotation_deg, self._crop, self._geometry
        # The crop in fractions of the upright picture, then of the frame as it is coded.
        x0, x1 = crop.x0 / upright.width, crop.x1 / upright.width
        y0, y1 = crop.y0 / upright.height, crop.y1 / upright.height
        if turn == 90:
            x0, x1, y0, y1 = 1 - y1, 1 - y0, x0, x1
        elif turn == 180:
            x0, x1, y0, y1 = 1 - x1, 1 - x0, 1 - y1, 1 - y0
        elif turn == 270:
            x0, x1, y0, y1 = y0, y1, 1 - x1, 1 - x0
        width, height = (crop.height, crop.width) if turn in (90, 270) else (crop.width, crop.height)
        left, top = round(x0 * frame.width / 2) * 2, round(y0 * frame.height / 2) * 2
        wide = min(round((x1 - x0) * frame.width), frame.width - left)
        tall = min(round((y1 - y0) * frame.height), frame.height - top)
        later = _only_matrix_differs(frame)
        said = "in_color_matrix=smpte170m:in_range=tv:" if later else ""
        graph = Graph()
        graph.threads = 1
        nodes = [
            graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base),
            graph.add("crop", f"w={wide}:h={tall}:x={left}:y={top}:exact=1"),
            graph.add(
                "scale",
                f"w={width}:h={height}:flags=bicubic+accurate_rnd+full_chroma_int+bitexact"
                f":{said}out_color_matrix=smpte170m:out_range=tv",
            ),
            graph.add("format", "yuv420p"),
        ]
        if later:
            nodes.append(graph.add("colorspace", BT709_TO_BT601))
        if turn == 90:
            nodes.append(graph.add("transpose", "cclock"))
        elif turn == 180:
            nodes += [graph.add("hflip"), graph.add("vflip")]
        elif turn == 270:
            nodes.append(graph.add("transpose", "clock"))
        graph.link_nodes(*nodes, graph.add("buffersink")).configure()
        return graph


def _only_matrix_differs(frame: av.VideoFrame) -> bool:
    narrow = frame.color_range in (ColorRange.UNSPECIFIED, ColorRange.MPEG) and not frame.format.name.startswith("yuvj")
    return narrow and frame.format.name.startswith("yuv") and frame.colorspace == Colorspace.ITU709


class ClipWriter:
    """Encodes frames into an MP4 at 25 fps, H.264 4:2:0, without sound: one thread, no dates, no version.

    The colour matrix is BT.601 whatever the source's, for that is what readers that ignore the tag assume.
    """

    def __init__(self, path: Path, *, width: int, height: int, crf: int, preset: str) -> None:
        self._container = av.open(
            str(path.absolute()), "w", format="mp4", options={"fflags": "+bitexact", "movflags": "+faststart"}
        )
        options = {"crf": str(crf), "preset": preset, "x264-params": "lookahead-threads=1:cpu-independent=1"}
        self._stream = self._container.add_stream("libx264", rate=FPS, options=options)
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        context = self._stream.codec_context
        context.thread_count = 1
        context.flags |= Flags.bitexact
        context.colorspace = Colorspace.SMPTE170M
        context.color_range = ColorRange.MPEG
        self._frames = 0

    def add(self, frame: av.VideoFrame) -> None:
        """Encode the next frame."""
        frame.pts = self._frames
        frame.time_base = Fraction(1, FPS)
        # Else the encoder would put keyframes where the source had them.
        frame.pict_type = 0
        self._container.mux(self._stream.encode(frame))
        self._frames += 1

    def __enter__(self) -> "ClipWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._container.mux(self._stream.encode())
        self._container.close()
