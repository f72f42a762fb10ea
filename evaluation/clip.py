"""A video that is measured: decoded once, its faces found once, whatever asks for them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.backends.face_detector import Detection
from pipeline.backends.pyav_decode import open_footage, picture_stream
from pipeline.stage import Unmeasurable

LONGEST_FRAMES = 25 * 120
FACE_LOOK_PX = 256
"""Smaller pictures are enlarged to this height before faces are looked for: detectors need pixels, real or not."""

Frames = NDArray[np.uint8]
FindFace = Callable[[Frames, Frames], list[Detection]]
"""Faces of an RGB picture and its grey version, surest first."""


class BrokenVideo(Exception):
    """A video that cannot be measured at all, with the reason."""


@dataclass(frozen=True, eq=False)
class GeneratedClip:
    """The frames of a video, and the largest face in each."""

    frames_thwc: Frames
    """RGB."""
    fps: float
    find_faces: FindFace

    @cached_property
    def gray_thw(self) -> Frames:
        """Luma."""
        return np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in self.frames_thwc])

    @cached_property
    def faces(self) -> tuple[Detection | None, ...]:
        """The largest face of every frame; None where none is found."""
        return tuple(largest_face(frame, self.find_faces) for frame in self.frames_thwc)

    def spread(self, count: int) -> list[int]:
        """So many frame numbers, evenly spread from the first to the last; fewer where there are fewer."""
        return sorted(set(np.linspace(0, len(self.frames_thwc) - 1, count).round().astype(int).tolist()))


def largest_face(frame_hwc: Frames, find_faces: FindFace) -> Detection | None:
    """Of one picture, its box and landmarks in fractions of it."""
    enlarged = enlarge(frame_hwc)
    found = find_faces(enlarged, cv2.cvtColor(enlarged, cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False))
    return max(found, key=lambda face: face.box[3] - face.box[1], default=None)


def enlarge(frame: Frames) -> Frames:
    """A picture at `FACE_LOOK_PX` height or more, colours or grey."""
    height, width = frame.shape[:2]
    if height >= FACE_LOOK_PX:
        return frame
    size = (max(1, round(width * FACE_LOOK_PX / height)), FACE_LOOK_PX)
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def read_clip(path: Path, find_faces: FindFace) -> GeneratedClip:
    """Decode a video, any model's. Raises BrokenVideo."""
    if not path.is_file():
        raise BrokenVideo(f"there is no video {path.name}")
    frames: list[Frames] = []
    try:
        with open_footage(path) as container:
            stream = picture_stream(container)
            stream.thread_count = 1
            fps = float(stream.average_rate or stream.guessed_rate or 0)
            for frame in container.decode(stream):
                if len(frames) == LONGEST_FRAMES:
                    raise BrokenVideo(f"longer than {LONGEST_FRAMES} frames")
                if frames and (frame.height, frame.width) != frames[0].shape[:2]:
                    raise BrokenVideo("changes its size")
                frames.append(np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8))
    except Unmeasurable as error:
        raise BrokenVideo(str(error)) from error
    except (av.FFmpegError, ValueError, MemoryError) as error:
        raise BrokenVideo(f"does not decode: {error}") from error
    if not frames:
        raise BrokenVideo("holds no frame")
    if not 1 <= fps <= 240:
        raise BrokenVideo(f"claims {fps:.3g} frames a second")
    return GeneratedClip(np.stack(frames), fps, find_faces)
