"""Follows the faces of a clip through its frames, one frame at a time."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.backends.face_detector import Box, Detection, FaceDetector, distinct, overlap
from pipeline.backends.face_record import FaceRecord
from pipeline.backends.face_tracks import Track, assign, between
from pipeline.stage import ClipFrame, Gray

MATCH_IOU = 0.3
"""A detection continues a track where they overlap at least so much."""
BEGIN_IOU = 0.1
"""A detection that overlaps a followed face more is taken for that face, and begins no track."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How often is looked, in frames."""

    look_every: int
    """From one look at the known faces to the next."""
    scan_every: int
    """From one search of the whole picture to the next; a multiple of `look_every`."""
    longest_gap: int
    """How long a face may be lost and still be the same track."""


@dataclass(frozen=True, kw_only=True)
class FollowedFace:
    """A track, what was measured of it, and in which share of the looks from its first to its last it was found."""

    track: Track
    record: FaceRecord
    detected: float


class FaceFollower:
    """Holds the frames since the last scan, and of each face its best picture."""

    def __init__(self, detector: FaceDetector, pace: Pace, make_record: Callable[[], FaceRecord]) -> None:
        self._detector = detector
        self._pace = pace
        self._make_record = make_record
        self._tracks: list[Track] = []
        self._records: list[FaceRecord] = []
        self._grays: deque[tuple[int, Gray]] = deque(maxlen=pace.scan_every + 1)
        self._looked: deque[tuple[int, ClipFrame]] = deque(maxlen=pace.scan_every // pace.look_every)
        self.looks: list[int] = []
        """Frames that were looked at."""

    def add(self, index: int, frame: ClipFrame, *, last: bool) -> None:
        """Take the next frame. The last one is always looked at."""
        self._grays.append((index, frame.gray_hw))
        if index % self._pace.look_every == 0 or last:
            self._look(index, frame, scan=last or index % self._pace.scan_every == 0)
            self._looked.append((index, frame))
            self.looks.append(index)

    def faces(self) -> list[FollowedFace]:
        """All that was followed so far, false alarms included, in the order in which they were found."""
        faces = []
        for track, record in zip(self._tracks, self._records, strict=True):
            looks = sum(track.first <= look <= track.last for look in self.looks)
            faces.append(FollowedFace(track=track, record=record, detected=len(track.observed) / looks))
        return faces

    def _look(self, index: int, frame: ClipFrame, *, scan: bool) -> None:
        live = [track for track in self._tracks if index - track.last <= self._pace.longest_gap]
        found = self._detector.find(frame.rgb_hwc, frame.gray_hw) if scan else []
        lost = [track.box for track in live if all(overlap(track.box, face.box) < MATCH_IOU for face in found)]
        if lost:
            found = distinct([*found, *self._detector.find_near(frame.rgb_hwc, frame.gray_hw, lost)])
        matched = assign(live, found, least_overlap=MATCH_IOU)
        for track in live:
            if track.number in matched:
                self._see(track, index, frame, found[matched[track.number]])
                self._follow_mouth(track)
        if scan:
            for face in found:
                if face.certain and not self._is_followed(face.box, index):
                    self._begin(index, frame, face)

    def _begin(self, index: int, frame: ClipFrame, face: Detection) -> None:
        track = Track(number=len(self._tracks))
        self._tracks.append(track)
        self._records.append(self._make_record())
        self._see(track, index, frame, face)
        # The face may have been there since just after the last scan.
        box = face.box
        for earlier, shown in reversed(self._looked):
            near = self._detector.find_near(shown.rgb_hwc, shown.gray_hw, [box])
            number = assign([track], near, least_overlap=MATCH_IOU).get(track.number)
            if number is None or self._is_followed(near[number].box, earlier):
                break
            self._see(track, earlier, shown, near[number])
            box = near[number].box
        self._follow_mouth(track)

    def _see(self, track: Track, index: int, frame: ClipFrame, face: Detection) -> None:
        track.observed[index] = face
        self._records[track.number].look(index, frame.rgb_hwc, frame.gray_hw, face)

    def _is_followed(self, box: Box, index: int) -> bool:
        """Whether a followed face is at this place in this frame."""
        seen = [track.observed[index].box for track in self._tracks if index in track.observed]
        return any(overlap(box, other) > BEGIN_IOU for other in seen)

    def _follow_mouth(self, track: Track) -> None:
        """Measure the mouth in the frames up to the newest look, its box on the way from look to look.

        Where the face was lost for longer than frames are held, the mouth was not seen.
        """
        record = self._records[track.number]
        grays = dict(self._grays)
        looks = sorted(track.observed)
        following = max(record.mouth, default=looks[0] - 1) + 1
        for index in range(following, looks[-1] + 1):
            after = next(look for look in looks if look >= index)
            before = max((look for look in looks if look <= index), default=after)
            box: Box | None = None
            if before in grays:
                share = (index - before) / max(after - before, 1)
                box = between(track.observed[before].box, track.observed[after].box, share)
            record.follow_mouth(index, grays.get(index, grays[looks[-1]]), box)
