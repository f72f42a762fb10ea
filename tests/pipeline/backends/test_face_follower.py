"""Following faces with a detector that finds what it is told to."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.backends.face_detector import Box, Detection, overlap
from pipeline.backends.face_follower import FaceFollower, Pace
from pipeline.backends.face_record import FaceRecord
from tests.pipeline.face_pictures import shown

SIDE = 64
Gray = NDArray[np.uint8]


class Scripted:
    """Finds each face in the frames in which its script shows it; the frame's number is its first pixel."""

    name = "scripted"

    def __init__(self, *faces: dict[int, Detection]) -> None:
        self.faces = faces
        self.scanned: list[int] = []

    def find(self, frame_hwc: Gray, gray_hw: Gray) -> list[Detection]:
        self.scanned.append(int(gray_hw[0, 0]))
        return [face[int(gray_hw[0, 0])] for face in self.faces if int(gray_hw[0, 0]) in face]

    def find_near(self, frame_hwc: Gray, gray_hw: Gray, boxes: Sequence[Box]) -> list[Detection]:
        found = [face[int(gray_hw[0, 0])] for face in self.faces if int(gray_hw[0, 0]) in face]
        return [face for face in found if any(overlap(face.box, box) > 0 for box in boxes)]


class Constant:
    """Describes every face alike."""

    name = "constant"

    def describe(self, frame_hwc: Gray, gray_hw: Gray, face: Detection) -> NDArray[np.float32]:
        return np.array([0.6, 0.8], dtype=np.float32)


class Mouth:
    """Gives back the frame's number; not a number without a box."""

    def add(self, gray_hw_uint8: Gray, box_fractions: Box | None) -> float:
        return math.nan if box_fractions is None else float(gray_hw_uint8[0, 0])


def _face(box: Box, *, certain: bool = True) -> Detection:
    return Detection(box=box, score=0.7, certain=certain)


def _followed(*faces: dict[int, Detection], frames: int = 97, scan_every: int = 12) -> tuple[FaceFollower, Scripted]:
    detector = Scripted(*faces)
    pace = Pace(look_every=4, scan_every=scan_every, longest_gap=25)
    follower = FaceFollower(detector, pace, lambda: FaceRecord(descriptor=Constant(), mouth=Mouth, describe_every=12))
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 255, (SIDE, SIDE), dtype=np.uint8)
    for index in range(frames):
        gray = texture.copy()
        gray[0, 0] = index
        follower.add(index, shown(np.repeat(gray[..., None], 3, axis=2)), last=index == frames - 1)
    return follower, detector


HERE, THERE = (0.1, 0.1, 0.4, 0.5), (0.6, 0.3, 0.9, 0.7)


def test_two_faces_are_two_tracks() -> None:
    follower, _ = _followed({f: _face(HERE) for f in range(97)}, {f: _face(THERE) for f in range(40, 97)})
    first, second = follower.faces()
    assert (first.track.first, first.track.last, first.detected) == (0, 96, 1.0)
    # Found by the scan at 48, then looked for in the looks before it.
    assert (second.track.first, second.track.last, second.detected) == (40, 96, 1.0)


def test_short_gaps_are_bridged_and_long_ones_are_not() -> None:
    short, _ = _followed({f: _face(HERE) for f in range(97) if not 30 <= f < 50})
    assert [(face.track.first, face.track.last) for face in short.faces()] == [(0, 96)]
    assert short.faces()[0].detected == pytest.approx(20 / 25)
    long, _ = _followed({f: _face(HERE) for f in range(97) if not 30 <= f < 60})
    assert [(face.track.first, face.track.last) for face in long.faces()] == [(0, 28), (60, 96)]


def test_uncertain_detections_continue_a_track_but_begin_none() -> None:
    never, _ = _followed({f: _face(HERE, certain=False) for f in range(97)})
    assert never.faces() == []
    once, _ = _followed({f: _face(HERE, certain=f == 24) for f in range(97)})
    assert [(face.track.first, face.track.last) for face in once.faces()] == [(12, 96)]


def test_the_whole_picture_is_searched_as_often_as_told_and_at_the_end() -> None:
    _, detector = _followed(frames=29)
    assert detector.scanned == [0, 12, 24, 28]


def test_mouths_are_measured_in_every_frame_but_those_of_long_gaps() -> None:
    follower, _ = _followed({f: _face(HERE) for f in range(97) if not 30 <= f < 50})
    mouth = follower.faces()[0].record.mouth
    assert sorted(mouth) == list(range(97))
    lost = {frame for frame, value in mouth.items() if math.isnan(value)}
    # Between the looks at 28 and 52; longer than the 12 frames that are held.
    assert lost == set(range(29, 52))
    assert all(value == frame for frame, value in mouth.items() if frame not in lost)


def test_a_missed_look_does_not_interrupt_the_mouth() -> None:
    follower, _ = _followed({f: _face(HERE) for f in range(97) if f not in (36, 40)})
    mouth = follower.faces()[0].record.mouth
    assert [mouth[frame] for frame in range(97)] == list(range(97))


def test_a_face_that_jumps_is_another_track() -> None:
    follower, _ = _followed({f: _face(HERE if f < 48 else THERE) for f in range(97)})
    assert [(face.track.first, face.track.last) for face in follower.faces()] == [(0, 44), (48, 96)]


def test_frames_held_do_not_grow_with_the_clip() -> None:
    follower, _ = _followed({f: _face(HERE) for f in range(97)})
    assert len(follower._grays) == 13
    assert len(follower._looked) == 3
