"""Pictures and clips with a face at a known place: Eileen Collins and Grace Hopper, as two packages carry them."""

from collections.abc import Sequence
from functools import cache

import cv2
import matplotlib.cbook
import numpy as np
import skimage.data
from numpy.typing import NDArray

from pipeline.backends.face_detector import Box
from pipeline.stage import Clip, ClipFrame

Picture = NDArray[np.uint8]

# Face boxes (hairline to chin, temple to temple) in pixels of the originals, from another detector and checked by eye.
COLLINS_FACE = (178, 65, 269, 176)
HOPPER_FACE = (177, 123, 356, 336)


@cache
def collins() -> Picture:
    """Head and shoulders, RGB (300, 280, 3); the face is at `FACE_IN_COLLINS`."""
    return np.ascontiguousarray(np.asarray(skimage.data.astronaut(), dtype=np.uint8)[0:300, 80:360])


FACE_IN_COLLINS = (98, 65, 189, 176)


@cache
def hopper() -> Picture:
    """Head and shoulders, RGB."""
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        data = np.frombuffer(file.read(), dtype=np.uint8)
    return np.asarray(cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), dtype=np.uint8)


def gray(picture: Picture) -> Picture:
    """The grey version, (H, W)."""
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def fractions(box_px: Sequence[float], picture: Picture) -> Box:
    """A box in pixels as fractions of a picture."""
    height, width = picture.shape[:2]
    return (box_px[0] / width, box_px[1] / height, box_px[2] / width, box_px[3] / height)


def background(height: int, width: int) -> Picture:
    """Soft coloured noise without anything like a face."""
    noise = np.random.default_rng(5).uniform(40, 200, (height // 16, width // 16, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def shown(picture: Picture) -> ClipFrame:
    """The picture as a frame of a clip."""
    return ClipFrame(gray(picture), picture.view)


def pasted(onto: Picture, x: float, y: float, scale: float, who: Picture) -> Picture:
    """A portrait scaled and put at x, y (pixels, fractions of pixels too)."""
    move = np.array([[scale, 0, x], [0, scale, y]])
    size = (onto.shape[1], onto.shape[0])
    moved = cv2.warpAffine(who, move, size, flags=cv2.INTER_AREA)
    there = cv2.warpAffine(np.full(who.shape[:2], 255, np.uint8), move, size, flags=cv2.INTER_NEAREST)
    return np.where(there[..., None] > 0, moved, onto).astype(np.uint8)


def clip(frames: Sequence[Picture], name: str = "s_0_1", *, source: str = "s", shot: str = "s_0") -> Clip:
    """The record of a clip made of these frames."""
    height, width = frames[0].shape[:2]
    return Clip(
        id=name,
        source_id=source,
        shot_id=shot,
        start_us=0,
        end_us=len(frames) * 40_000,
        frames=len(frames),
        width=width,
        height=height,
        media_sha256="0" * 64,
        audio_sha256=None,
    )
