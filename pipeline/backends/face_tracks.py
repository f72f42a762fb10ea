"""Detections joined to tracks, and a track's box in every frame."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.backends.face_detector import Box, Detection, overlap

PLACE_SMOOTHING, SIZE_SMOOTHING = 1.0, 3.0
"""Standard deviation of the smoothing of a box's middle and of its size, in looks."""


@dataclass(kw_only=True)
class Track:
    """One face followed through a clip, in the order in which it was begun."""

    number: int
    observed: dict[int, Detection] = field(default_factory=dict)
    """Frame -> what the detector found there."""

    @property
    def first(self) -> int:
        """First frame in which the face was found."""
        return min(self.observed)

    @property
    def last(self) -> int:
        """Last frame in which the face was found."""
        return max(self.observed)

    @property
    def box(self) -> Box:
        """Where the face was found last."""
        return self.observed[self.last].box


@dataclass(frozen=True, kw_only=True)
class TrackedBox:
    """A track's box in one frame; `interpolated` where the detector did not find it or did not look."""

    box: Box
    interpolated: bool


def assign(tracks: Sequence[Track], detections: Sequence[Detection], *, least_overlap: float) -> dict[int, int]:
    """Track number -> index of its detection: the pairs that overlap most come first, each is used once."""
    pairs = [
        (-overlap(track.box, found.box), track.number, index)
        for track in tracks
        for index, found in enumerate(detections)
    ]
    matched: dict[int, int] = {}
    taken: set[int] = set()
    for negative, number, index in sorted(pairs):
        if -negative >= least_overlap and number not in matched and index not in taken:
            matched[number] = index
            taken.add(index)
    return matched


def between(a: Box, b: Box, share: float) -> Box:
    """The box `share` of the way from a to b."""
    return tuple(float(x + (y - x) * share) for x, y in zip(a, b, strict=True))  # type: ignore[return-value]


def boxes_of(track: Track, *, look_every: int) -> dict[int, TrackedBox]:
    """Frame -> box for every frame from the track's first to its last, shaking taken out.

    Middles and sizes are smoothed by weighted straight lines through the looks around each look, which leaves a steady
    movement as it is; frames between looks are interpolated. A box keeps its parts outside the frame.
    """
    frames = np.array(sorted(track.observed), dtype=np.float64)
    boxes = np.array([track.observed[int(frame)].box for frame in frames])
    middle_and_size = np.column_stack([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]])
    smooth = np.column_stack(
        [
            _smoothed(frames, middle_and_size[:, :2], PLACE_SMOOTHING * look_every),
            _smoothed(frames, middle_and_size[:, 2:], SIZE_SMOOTHING * look_every),
        ]
    )
    every = np.arange(int(frames[0]), int(frames[-1]) + 1)
    x, y, width, height = (np.interp(every, frames, smooth[:, column]) for column in range(4))
    corners = np.column_stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
    return {
        int(frame): TrackedBox(
            box=tuple(float(value) for value in corner),  # type: ignore[arg-type]
            interpolated=int(frame) not in track.observed,
        )
        for frame, corner in zip(every, corners, strict=True)
    }


def _smoothed(times_t: NDArray[np.float64], values_tc: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """Local linear regression at each time with Gaussian weights. Two values or fewer are left as they are."""
    if len(times_t) <= 2:
        return values_tc
    result = np.empty_like(values_tc)
    for index, time in enumerate(times_t):
        distance = times_t - time
        weight = np.exp(-0.5 * (distance / sigma) ** 2)
        w0, w1, w2 = (float((weight * distance**power).sum()) for power in range(3))
        share = weight * (w2 - w1 * distance)
        total = w0 * w2 - w1 * w1
        # Far from all other looks (a gap on both sides) there is no line to fit.
        result[index] = values_tc[index] if total <= 1e-9 * w0 * sigma**2 else share @ values_tc / total
    return result
