"""Joining detections to tracks, and boxes in every frame."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.backends.face_detector import Box, Detection, overlap
from pipeline.backends.face_tracks import Track, assign, boxes_of

unit = st.floats(0, 0.7)
boxes = st.builds(lambda x, y, w, h: (x, y, x + w, y + h), unit, unit, st.floats(0.05, 0.3), st.floats(0.05, 0.3))


def _seen(box: Box) -> Detection:
    return Detection(box=box, score=0.5, certain=True)


@given(st.lists(boxes, max_size=6), st.lists(boxes, max_size=6))
def test_each_track_and_detection_is_used_once(tracked: list[Box], found: list[Box]) -> None:
    tracks = [Track(number=number, observed={0: _seen(box)}) for number, box in enumerate(tracked)]
    matched = assign(tracks, [_seen(box) for box in found], least_overlap=0.3)
    assert len(set(matched.values())) == len(matched)
    assert all(overlap(tracked[number], found[index]) >= 0.3 for number, index in matched.items())
    # No pair that would fit is left over.
    for number, box in enumerate(tracked):
        for index, other in enumerate(found):
            if number not in matched and index not in matched.values():
                assert overlap(box, other) < 0.3


@given(boxes, boxes)
def test_overlap_is_symmetric_and_bounded(a: Box, b: Box) -> None:
    assert overlap(a, b) == pytest.approx(overlap(b, a))
    assert 0 <= overlap(a, b) <= 1
    assert overlap(a, a) == pytest.approx(1)


def _moving(frame: int) -> Box:
    return (0.1 + 0.004 * frame, 0.2 + 0.002 * frame, 0.3 + 0.005 * frame, 0.5 + 0.003 * frame)


def test_a_steady_movement_stays_as_it_is_and_frames_between_are_marked() -> None:
    looks = [*range(0, 33, 4), *range(56, 97, 4)]  # lost for 24 frames
    track = Track(number=0, observed={frame: _seen(_moving(frame)) for frame in looks})
    placed = boxes_of(track, look_every=4)
    assert sorted(placed) == list(range(97))
    for frame, box in placed.items():
        assert box.box == pytest.approx(_moving(frame), abs=1e-6)
        assert box.interpolated == (frame not in looks)


def test_smoothing_halves_the_shaking() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.01, (25, 4))
    track = Track(
        number=0,
        observed={4 * k: _seen(tuple(np.asarray(_moving(4 * k)) + noise[k])) for k in range(25)},  # type: ignore[arg-type]
    )
    placed = boxes_of(track, look_every=4)
    sizes = np.array([[b.box[2] - b.box[0], b.box[3] - b.box[1]] for b in placed.values()])
    truth = np.array([[_moving(f)[2] - _moving(f)[0], _moving(f)[3] - _moving(f)[1]] for f in placed])
    assert (sizes - truth).std() < 0.4 * (noise[:, 2:] - noise[:, :2]).std()


@pytest.mark.parametrize("looks", [[5], [3, 40]])
def test_a_track_of_one_or_two_looks(looks: list[int]) -> None:
    track = Track(number=0, observed={frame: _seen(_moving(frame)) for frame in looks})
    placed = boxes_of(track, look_every=4)
    assert sorted(placed) == list(range(looks[0], looks[-1] + 1))
    assert placed[looks[-1]].box == pytest.approx(_moving(looks[-1]))
