"""Frames for models: a few of a clip's, sampled while it is decoded for everything else, so that models in other
processes, in other environments or with another prompt later need no decode of their own."""

import hashlib

import cv2
import numpy as np

from pipeline.stage import Clip, ClipFrame, FrameMeter, FramesHWC, Inapplicable, Measured, Media, Row, Unmeasurable
from pipeline.stages.options.frames import FramesConfig

JPEG_QUALITY = 92
NONE_ASKED = "no backend of this configuration looks at frames"


def sampled(frames: int, count: int) -> list[int]:
    """0-based indices of `count` frames of a clip of so many: the middles of equal spans; fewer where it has fewer."""
    count = min(frames, count)
    return [int((number + 0.5) * frames / count) for number in range(count)]


class FramesStage:
    """Keeps sampled frames as one JPEG, one below the other. Rows of `frames`, media `frames`."""

    name = "frames"
    backend = f"opencv {cv2.__version__}"

    def __init__(self, config: FramesConfig) -> None:
        self._config = config

    def start(self, clip: Clip) -> FrameMeter:
        """See FrameStage. Raises Inapplicable where no frames are asked for."""
        if not self._config.count:
            raise Inapplicable(NONE_ASKED)
        return _FramesMeter(clip, self._config)


class _FramesMeter:
    """Holds the scaled frames of one clip."""

    def __init__(self, clip: Clip, config: FramesConfig) -> None:
        self._clip = clip
        self._at = set(sampled(clip.frames, config.count))
        scale = min(1.0, config.longest_side / max(clip.width, clip.height))
        self._size = (max(1, round(clip.width * scale)), max(1, round(clip.height * scale)))
        self._frames: dict[int, FramesHWC] = {}

    def add(self, index: int, frame: ClipFrame) -> None:
        if index in self._at:
            small = cv2.resize(frame.rgb_hwc, self._size, interpolation=cv2.INTER_AREA)
            self._frames[index] = small.astype(np.uint8, copy=False)

    def finish(self) -> Measured:
        if not self._frames:
            raise Unmeasurable("the clip has no frames")
        indices = sorted(self._frames)
        stack = cv2.cvtColor(np.vstack([self._frames[index] for index in indices]), cv2.COLOR_RGB2BGR)
        data = cv2.imencode(".jpg", stack, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
        row = {
            "id": self._clip.id,
            "indices": indices,
            "width": self._size[0],
            "height": self._size[1],
            "frames_sha256": hashlib.sha256(data).hexdigest(),
        }
        return Measured(rows={"frames": [row]}, media=[Media(kind="frames", data=data, suffix=".jpg")])


def unstacked(picture_hwc: FramesHWC, row: Row) -> list[FramesHWC]:
    """The frames of a clip, in time order, RGB uint8 (height, width, 3), from the picture that its row names."""
    height, count = row["height"], len(row["indices"])
    if picture_hwc.shape[0] != height * count:
        raise Unmeasurable(f"{count} frames of {height} lines do not make a picture of {picture_hwc.shape[0]}")
    return [picture_hwc[number * height : (number + 1) * height] for number in range(count)]


def spacing_s(row: Row, *, fps: float = 25.0) -> float:
    """Seconds from one sampled frame to the next, on average; 0 of a single frame."""
    indices = row["indices"]
    return float(indices[-1] - indices[0]) / max(len(indices) - 1, 1) / fps
