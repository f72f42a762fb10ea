"""Frames of clips: their brightness is taken from the file as it is, their colours only where they are asked for."""

from io import BytesIO

import av
import cv2
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from pipeline.backends.picture_damage import middle
from pipeline.backends.pyav_decode import clip_frames, decode_clip, gray_of
from pipeline.stage import ClipFrame

HEIGHT, WIDTH = 32, 768


def _file(brightness_hw: NDArray[np.uint8], pixels: str) -> bytes:
    """A lossless video of one frame without colours."""
    file = BytesIO()
    grey = np.full((HEIGHT // 2, WIDTH), 128, np.uint8)
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixels
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.vstack([brightness_hw, grey]), format=pixels)))
        container.mux(stream.encode())
    return file.getvalue()


def _ramp() -> NDArray[np.uint8]:
    return np.tile(np.repeat(np.arange(256, dtype=np.uint8), WIDTH // 256), (HEIGHT, 1))


def test_video_black_is_0_and_video_white_255() -> None:
    ((number, frame),) = clip_frames(_file(_ramp(), "yuv420p"))
    assert number == 0
    expected = np.clip(np.round((np.arange(256) - 16) * 255 / 219), 0, 255)
    assert frame.gray_hw.shape == (HEIGHT, WIDTH)
    np.testing.assert_allclose(frame.gray_hw[0, :: WIDTH // 256], expected, atol=1)
    assert frame.gray_hw[:, : 17 * WIDTH // 256].max() == 0
    assert frame.gray_hw[:, 235 * WIDTH // 256 :].min() == 255


@pytest.mark.parametrize("pixels", ["yuv420p", "yuvj420p"])
def test_brightness_is_that_of_the_colours(pixels: str) -> None:
    media = _file(_ramp(), pixels)
    ((_, frame),) = clip_frames(media)
    ((_, colours),) = decode_clip(media)
    np.testing.assert_array_equal(frame.rgb_hwc, colours)
    of_colours = cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY)
    np.testing.assert_allclose(frame.gray_hw.astype(int), of_colours.astype(int), atol=3)


def test_colours_are_converted_once_and_only_where_they_are_asked_for() -> None:
    asked: list[int] = []

    def colours() -> NDArray[np.uint8]:
        asked.append(1)
        return np.zeros((2, 2, 3), np.uint8)

    frame = ClipFrame(np.zeros((2, 2), np.uint8), colours)
    assert asked == []
    assert frame.rgb_hwc is frame.rgb_hwc
    assert asked == [1]


@pytest.mark.parametrize(("height", "width"), [(120, 200), (121, 217), (40, 90), (30, 30)])
@pytest.mark.parametrize("pixels", ["yuv420p", "yuvj420p", "yuv422p10le", "rgb24"])
def test_the_middle_is_that_of_the_whole_and_keeps_the_grid_of_blocks(height: int, width: int, pixels: str) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    frame = av.VideoFrame.from_ndarray(colours, format="rgb24").reformat(format=pixels)
    whole, part = gray_of(frame, VideoReformatter()), gray_of(frame, VideoReformatter(), middle(height, width, 40))
    assert whole.shape == (height, width)
    assert part.shape == (min(height, 40), min(width, 40))
    top, left = (8 * int(max(side - 40, 0) / 2 / 8) for side in whole.shape)
    np.testing.assert_array_equal(part, whole[top : top + 40, left : left + 40])
