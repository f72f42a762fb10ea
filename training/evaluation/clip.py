"""A video that is measured: decoded once, its faces followed once, whoever asks for them."""

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.backends.face_detector import Box, Detection, FaceDetector
from pipeline.backends.face_follower import FaceFollower, Pace
from pipeline.backends.face_record import FaceRecord
from pipeline.backends.face_tracks import boxes_of
from pipeline.backends.mouth_motion import MouthMotion
from pipeline.backends.pyav_decode import open_footage, picture_stream
from pipeline.stage import ClipFrame, Unmeasurable
from schemas.sample import FPS

LONGEST_FRAMES = 25 * 120
FACE_LOOK_PX = 256
"""Smaller pictures are enlarged to this height before faces are looked for: detectors need pixels, real or not."""

Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class Faces:
    """How faces are found. Made in the process that uses it."""

    detector: FaceDetector
    pace: Pace

    def largest(self, frame_hwc: Frames) -> Detection | None:
        """The largest face of one picture, its box and landmarks in fractions of it."""
        enlarged = enlarge(frame_hwc)
        found = self.detector.find(enlarged, to_gray(enlarged))
        return max(found, key=_height, default=None)

    def follow(self, frames_thwc: Frames) -> "Followed":
        """Follow all faces through a video."""
        follower = FaceFollower(self.detector, self.pace, _mouth_record)
        for index, frame in enumerate(frames_thwc):
            enlarged = enlarge(frame)
            follower.add(index, ClipFrame(to_gray(enlarged), enlarged.view), last=index == len(frames_thwc) - 1)
        found = follower.faces()
        largest: dict[int, Detection | None] = dict.fromkeys(follower.looks)
        for face in found:
            for index, seen in face.track.observed.items():
                before = largest[index]
                largest[index] = seen if before is None else max(before, seen, key=_height)
        main = max(found, key=lambda face: sum(map(_height, face.track.observed.values())), default=None)
        mouth = {} if main is None else main.record.mouth
        placed = {} if main is None else boxes_of(main.track, look_every=self.pace.look_every)
        return Followed(
            largest=largest,
            main={index: face.box for index, face in placed.items()},
            mouth_t=np.array([mouth.get(index, math.nan) for index in range(len(frames_thwc))]),
        )


@dataclass(frozen=True, eq=False)
class Followed:
    """The faces of a video."""

    largest: dict[int, Detection | None]
    """By the frames that were looked at; None where no face is found."""
    main: dict[int, Box]
    """The most prominent face's box in every frame from its first to its last, in fractions; empty where there is no
    face."""
    mouth_t: NDArray[np.float64]
    """Openness of the most prominent face's mouth in every frame, NaN where it is not seen."""


class BrokenVideo(Exception):
    """A video that cannot be measured at all, with the reason."""


@dataclass(frozen=True, eq=False)
class GeneratedClip:
    """The frames of a video, and the faces in them."""

    frames_thwc: Frames
    """RGB."""
    fps: float
    finder: Faces

    @cached_property
    def gray_thw(self) -> Frames:
        """Luma."""
        return np.stack([to_gray(frame) for frame in self.frames_thwc])

    @cached_property
    def faces(self) -> Followed:
        """The faces, followed through the video."""
        return self.finder.follow(self.frames_thwc)

    def moments(self) -> NDArray[np.int64]:
        """The number of the frame nearest to each moment at 25 a second."""
        wanted = np.arange(round(len(self.frames_thwc) * FPS / self.fps))
        return np.minimum((wanted * self.fps / FPS).round().astype(np.int64), len(self.frames_thwc) - 1)

    def spread(self, count: int) -> list[int]:
        """So many frame numbers, evenly spread from the first to the last; fewer where there are fewer."""
        return sorted(set(np.linspace(0, len(self.frames_thwc) - 1, count).round().astype(int).tolist()))


def to_gray(frame_hwc: Frames) -> Frames:
    """Luma of an RGB picture."""
    return np.asarray(cv2.cvtColor(frame_hwc, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def enlarge(frame: Frames) -> Frames:
    """A picture at `FACE_LOOK_PX` height or more, colours or grey."""
    height, width = frame.shape[:2]
    if height >= FACE_LOOK_PX:
        return frame
    size = (max(1, round(width * FACE_LOOK_PX / height)), FACE_LOOK_PX)
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def read_clip(path: Path, finder: Faces) -> GeneratedClip:
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
    return GeneratedClip(np.stack(frames), fps, finder)


def _height(face: Detection) -> float:
    return face.box[3] - face.box[1]


class _NoDescriptor:
    """Identity is measured by a metric, on the frames that it chooses."""

    name = "none"

    def describe(self, frame_hwc: Frames, gray_hw: Frames, face: Detection) -> NDArray[np.float32]:
        return np.zeros(1, np.float32)


def _mouth_record() -> FaceRecord:
    return FaceRecord(descriptor=_NoDescriptor(), mouth=MouthMotion, describe_every=LONGEST_FRAMES)
