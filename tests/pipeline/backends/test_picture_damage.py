"""Damage and movement of pictures that were made with a known amount of it."""

from io import BytesIO
from itertools import pairwise

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.backends.picture_damage import blocking, combing
from pipeline.backends.picture_motion import PictureMotion
from pipeline.backends.signature import small_picture
from tests.pipeline.made_videos import texture

Gray = NDArray[np.uint8]


def scene(seed: int, shift: int = 0) -> Gray:
    whole = cv2.cvtColor(texture(seed, width=640, height=384), cv2.COLOR_RGB2GRAY)
    return np.asarray(whole[96:288, 96 + shift : 416 + shift], dtype=np.uint8)


def coded(picture: Gray, quality: int) -> Gray:
    data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)


def mpeg2(picture: Gray, scale: int) -> Gray:
    """A codec without a deblocking filter, at a fixed quantiser."""
    file = BytesIO()
    with av.open(file, "w", format="mpegts") as container:
        stream = container.add_stream("mpeg2video", rate=25, options={"qmin": str(scale), "qmax": str(scale)})
        stream.height, stream.width = picture.shape
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame.from_ndarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB), format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    file.seek(0)
    with av.open(file) as container:
        return np.asarray(next(container.decode(video=0)).to_ndarray(format="gray"), dtype=np.uint8)


@pytest.mark.parametrize("seed", range(3))
def test_blocks_grow_with_the_compression(seed: int) -> None:
    picture = scene(seed)
    found = [blocking(each) for each in (picture, coded(picture, 60), coded(picture, 25), coded(picture, 8))]
    assert all(one is not None and other is not None and one < other for one, other in pairwise(found))
    clean, coarse = found[0], blocking(mpeg2(picture, 28))
    assert clean is not None
    assert clean < 0.25
    assert coarse is not None
    assert coarse > clean + 0.3


def test_a_flat_picture_does_not_tell() -> None:
    assert blocking(np.full((64, 64), 90, np.uint8)) is None
    assert combing(np.full((64, 64), 90, np.uint8)) == 0


@pytest.mark.parametrize("seed", range(3))
def test_fields_of_two_moments_are_combs(seed: int) -> None:
    earlier, later = scene(seed), scene(seed, shift=8)
    woven = earlier.copy()
    woven[1::2] = later[1::2]
    assert combing(earlier) < 0.005
    assert combing(woven) > 0.01
    assert combing(woven) > 20 * combing(earlier)


def moved(pictures: list[Gray]) -> PictureMotion:
    found = PictureMotion()
    before: Gray | None = None
    for index, picture in enumerate(pictures):
        small = small_picture(picture)
        change = None if before is None else float(cv2.absdiff(small, before).mean())
        found.add(small, change, compare=index % 4 == 0)
        before = small
    return found


def test_a_pan_is_the_cameras_and_a_standstill_is_long() -> None:
    # Two pixels of 320 a frame, 25 frames a second.
    pan = moved([scene(1, shift=2 * index) for index in range(40)])
    assert pan.camera == pytest.approx(2 / 320 * 25, rel=0.15)
    assert (pan.repeated, pan.longest_still_s) == (0.0, 0.0)
    still = moved([scene(1)] * 26)
    assert still.camera == pytest.approx(0, abs=1e-3)
    assert (still.repeated, still.longest_still_s) == (1.0, 1.0)
    slow = moved([scene(1, shift=4 * (index // 2)) for index in range(40)])
    assert slow.repeated == pytest.approx(0.5, abs=0.03)
    assert slow.longest_still_s == pytest.approx(0.04)


def test_what_moves_in_a_corner_is_not_the_camera() -> None:
    pictures = []
    for index in range(24):
        picture = scene(2).copy()
        picture[20:80, 20 + 4 * index : 80 + 4 * index] = 235
        pictures.append(picture)
    assert (moved(pictures).camera or 0.0) < 0.02
