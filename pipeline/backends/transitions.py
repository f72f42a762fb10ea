"""Where one shot ends and the next begins: hard cuts confirmed, flashes ignored, dissolves and fades measured.

PySceneDetect proposes hard cuts from the change between neighbouring pictures. Here a cut counts only if the change
stands out of the motion around it, covers the picture, and is not taken back within a flash's length.

A dissolve from A to B is a straight line between two pictures: for some time every picture is (1 - a) A + a B with a
growing a. Motion is not, because what moves leaves the line between the pictures at both ends. So for windows of
several lengths the distance of the pictures in between from that line is measured (the residual), and a window with a
small one, whose ends are different pictures, lies in a dissolve; if one end is blank, in a fade.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.backends.scenedetect_cuts import LONGEST_LAG, CutProposer

Kind = Literal["cut", "fade", "dissolve"]
Thumb = NDArray[np.uint8]
Luma = NDArray[np.float32]

PICTURE_WIDTH, PICTURE_HEIGHT = 192, 128
THUMB_SIDE = 32
WINDOWS = (8, 12, 16, 24, 32)
"""Lengths in steps at which gradual change is looked for; a step is a picture, or 1/30 s where pictures come faster.
The longer ones are tried at every other step."""
LONGEST_FOR_WINDOW = 3
STEP_US = 30_000
REMEMBERED_STEPS = 96
BLANK_MEAN, BLANK_SPREAD = 12.0, 6.0
"""A blank picture is darker than this on average and varies less than this (0..255)."""
LEAST_LIT = 0.3
"""Share of the picture that must be lit for a dissolve to be told from things that move in the dark."""
LINE_SPREAD = 0.5
"""Share of the picture that a dissolve changes at least."""
STILL_SHARE = 0.85
"""What moves most in the shots on either side, a mouth or a hand, is left out of the residual: 15 % of the cells."""
LEAST_WAY = 10.0
"""Least root mean square difference (0..255) between the ends of a window."""
SHORT_BLANK_US = 1_000_000
_CHANGED = 8.0
_LIT = 18.0
"""Cells darker than this say nothing: black bars, and the black part of a picture."""
_NEIGHBOURS = 4
_AROUND = np.ones((3, 3), np.uint8)
_SUM = np.ones((1, 3), np.float32)


@dataclass(frozen=True, kw_only=True)
class Transition:
    """Pictures `first` (inclusive) to `last` (exclusive) belong to no shot; `last` begins the next. A cut has none."""

    first: int
    last: int
    kind: Kind

    @classmethod
    def between(cls, ends: int, last: int) -> "Transition":
        """From picture `ends`, the last of its shot or the first of a dissolve, to `last`, the dissolve's last one."""
        return cls(first=ends + 1, last=last + 1, kind="cut" if ends == last else "dissolve")


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """Thresholds of `TransitionFinder`; see `ShotsConfig` for their meaning."""

    content_threshold: float
    adaptive_ratio: float
    cut_spread: float
    cut_prominence: float
    flash_us: int
    line_residual: float
    likeness: float


@dataclass(frozen=True)
class _Seen:
    index: int
    time_us: int
    thumb: Thumb
    """BGR (32, 32, 3)."""
    luma: Luma
    """Their mean, flat: (1024,)."""
    change: float
    """Mean absolute change since the picture before."""


@dataclass(frozen=True, eq=False)
class _Gradual:
    first: int
    last: int
    kind: Kind
    window: int
    """The shortest window that it was found in, in steps."""
    headings: tuple[Luma, Luma]
    """The way the pictures went (unit length) in the first and in the last window that it was found in."""

    def joined(self, earlier: "_Gradual") -> "_Gradual":
        return _Gradual(
            first=min(self.first, earlier.first),
            last=max(self.last, earlier.last),
            kind="fade" if "fade" in (self.kind, earlier.kind) else "dissolve",
            window=min(self.window, earlier.window),
            headings=(earlier.headings[0], self.headings[1]),
        )

    def is_pan(self, pictures_per_step: float) -> bool:
        """A dissolve goes one way, and its greater part lies in a window whose ends are unlike. Over soft structure a
        pan looks like one for as long as a window, but goes on and changes its way."""
        turned = float(self.headings[0] @ self.headings[1]) < 0.5
        longest = LONGEST_FOR_WINDOW * self.window * pictures_per_step
        return self.kind == "dissolve" and turned and self.last - self.first > longest


class TransitionFinder:
    """Takes a source's pictures one by one, in bounded memory, and tells its transitions at the end."""

    def __init__(self, sensitivity: Sensitivity) -> None:
        self._sensitivity = sensitivity
        self._proposer = CutProposer(
            content_threshold=sensitivity.content_threshold, adaptive_ratio=sensitivity.adaptive_ratio
        )
        self._count = 0
        # A flash's length at 120 pictures a second, and the neighbours before it.
        self._recent: deque[_Seen] = deque(maxlen=64)
        self._steps: deque[_Seen] = deque(maxlen=REMEMBERED_STEPS)
        self._steps_seen = 0
        self._pending: list[int] = []
        self._cuts: list[int] = []
        self._gradual: list[_Gradual] = []
        self._blanks: list[list[int]] = []
        self._blank_since_us = 0

    def add(self, time_us: int, picture_bgr: NDArray[np.uint8]) -> None:
        """Take the next picture: BGR uint8 (PICTURE_HEIGHT, PICTURE_WIDTH, 3), whatever its true aspect."""
        thumb = cv2.resize(picture_bgr, (THUMB_SIDE, THUMB_SIDE), interpolation=cv2.INTER_AREA).astype(
            np.uint8, copy=False
        )
        luma = cv2.transform(thumb.astype(np.float32), _SUM).ravel() / np.float32(3)
        change = _apart(thumb, self._recent[-1].thumb) if self._recent else 0.0
        seen = _Seen(self._count, time_us, thumb, luma, change)
        self._recent.append(seen)
        self._pending.extend(sorted(self._proposer.add(self._count, picture_bgr)))
        self._note_blank(seen)
        self._settle_cuts(time_us - self._sensitivity.flash_us)
        if not self._steps or time_us - self._steps[-1].time_us >= STEP_US:
            self._steps.append(seen)
            self._steps_seen += 1
            self._look_for_line(WINDOWS if self._steps_seen % 2 == 0 else WINDOWS[:1])
        self._count += 1

    def finish(self) -> list[Transition]:
        """All transitions in order; none overlaps another."""
        self._settle_cuts(None)
        per_step = self._count / max(self._steps_seen, 1)
        self._gradual = [each for each in self._gradual if not each.is_pan(per_step)]
        found = [Transition(first=each.first, last=each.last, kind=each.kind) for each in self._gradual]
        found += self._blank_transitions()
        inside = [(each.first - 2, each.last + 2) for each in found]
        cuts = [cut for cut in self._cuts if not any(first <= cut <= last for first, last in inside)]
        found += [Transition(first=cut, last=cut, kind="cut") for cut in cuts]
        return _merged(sorted(found, key=lambda each: (each.first, each.last)))

    def _settle_cuts(self, until_us: int | None) -> None:
        """Judge the proposals whose aftermath has been seen."""
        waiting: list[int] = []
        for cut in sorted(set(self._pending)):
            at = cut - self._recent[0].index
            if until_us is not None and (
                self._recent[at].time_us > until_us or self._count - cut < max(_NEIGHBOURS, LONGEST_LAG)
            ):
                waiting.append(cut)
            elif at > 0 and self._is_cut(at):
                self._cuts.append(cut)
        self._pending = waiting

    def _is_cut(self, at: int) -> bool:
        limits = self._sensitivity
        seen = list(self._recent)
        old, new = seen[at - 1], seen[at]
        difference = cv2.absdiff(new.thumb, old.thumb).max(axis=2)
        around = [each.change for each in (*seen[max(1, at - _NEIGHBOURS) : at], *seen[at + 1 : at + 1 + _NEIGHBOURS])]
        if any(_spread(difference, each.luma) < limits.cut_spread for each in (old, new)):
            return False
        if around and new.change < limits.cut_prominence * float(np.median(around)):
            return False
        return not self._is_flash(seen, at)

    def _is_flash(self, seen: list[_Seen], at: int) -> bool:
        """Whether a picture from before the change comes back within a flash's length."""
        limit_us = self._sensitivity.flash_us
        for start in range(at, 0, -1):
            if seen[at].time_us - seen[start].time_us > limit_us:
                break
            for end in range(max(at, start + 1), len(seen)):
                if seen[end].time_us - seen[start].time_us > limit_us:
                    break
                if _apart(seen[end].thumb, seen[start - 1].thumb) < 0.4 * seen[at].change:
                    return True
        return False

    def _look_for_line(self, lengths: tuple[int, ...]) -> None:
        steps = self._steps
        end = len(steps) - 1
        best: tuple[float, int, Kind] | None = None
        for length in lengths:
            if length > end:
                break
            line = _line(steps, end - length, end, self._sensitivity.line_residual)
            if line is None:
                continue
            kind = line.kind(self._sensitivity.likeness)
            if kind and (best is None or line.residual < best[0]):
                best = (line.residual, length, kind)
        if best is None:
            return
        _, length, kind = best
        first, last, heading = self._extent(end - length, end)
        found = _Gradual(first, last, kind, length, (heading, heading))
        while self._gradual and first <= self._gradual[-1].last:
            found = found.joined(self._gradual.pop())
        self._gradual.append(found)

    def _extent(self, start: int, end: int) -> tuple[int, int, Luma]:
        """Walk outwards from the window's middle for as long as pictures go on from its one end to the other."""
        steps = list(self._steps)
        heading = steps[end].luma - steps[start].luma
        heading /= float(np.linalg.norm(heading))
        speed = np.diff(np.stack([each.luma for each in steps]) @ heading)
        # speed[k] is the way from step k to k + 1.
        quarter = (end - start) // 4
        slow = 0.2 * float(np.median(speed[start + quarter : end - quarter]))
        middle = (start + end) // 2
        left = right = middle
        for at in range(middle, -1, -1):
            if speed[at] >= slow:
                left = at
            elif left - at >= 2:
                break
        for at in range(middle, len(speed)):
            if speed[at] >= slow:
                right = at
            elif at - right >= 2:
                break
        return steps[left].index + 1, steps[right + 1].index, heading

    def _note_blank(self, seen: _Seen) -> None:
        if cv2.mean(seen.luma)[0] >= BLANK_MEAN or float(seen.luma.std()) >= BLANK_SPREAD:
            return
        if self._blanks and self._blanks[-1][1] == seen.index:
            self._blanks[-1][1] = seen.index + 1
            self._blanks[-1][2] = seen.time_us - self._blank_since_us
        else:
            self._blanks.append([seen.index, seen.index + 1, 0])
            self._blank_since_us = seen.time_us

    def _blank_transitions(self) -> Iterator[Transition]:
        """A short blank is part of the fade around it; a long one is a shot of its own."""
        for first, last, lasted_us in self._blanks:
            if lasted_us < SHORT_BLANK_US:
                yield Transition(first=first, last=last, kind="fade")
                continue
            for edge in (first, last):
                near_cut = any(abs(cut - edge) <= 2 for cut in self._cuts)
                near_line = any(each.first - 2 <= edge <= each.last + 2 for each in self._gradual)
                if 0 < edge < self._count and not near_cut and not near_line:
                    yield Transition(first=edge, last=edge, kind="fade")


@dataclass(frozen=True)
class _End:
    """One end of a window: brightness and its spread over the lit cells."""

    mean: float
    spread: float
    lit: float
    """Share of the picture that is lit at either end."""

    @property
    def blank(self) -> bool:
        """Black, or one tone that fills the picture, bars aside."""
        return self.spread < BLANK_SPREAD and (self.mean < _LIT or self.lit > 0.6)


@dataclass(frozen=True)
class _Line:
    residual: float
    likeness: float
    old: _End
    new: _End

    def kind(self, likeness: float) -> Kind | None:
        flat, structured = sorted((self.old, self.new), key=lambda end: end.spread)
        if flat.blank and structured.spread > 2 * BLANK_SPREAD:
            return "fade"
        told = flat.spread >= BLANK_SPREAD and flat.lit >= LEAST_LIT
        return "dissolve" if told and self.likeness < likeness else None


def _line(steps: deque[_Seen], start: int, end: int, greatest: float) -> _Line | None:
    """How well the pictures between two steps lie on the line between them.

    None where they do not advance on it, or where the residual of one is `greatest` or more.
    """
    old, new = steps[start].luma, steps[end].luma
    # Cells on the edge of a black bar are half bar: they would keep a white picture from being blank.
    bright = (np.maximum(old, new) > _LIT).view(np.uint8).reshape(THUMB_SIDE, THUMB_SIDE)
    lit = np.flatnonzero(cv2.erode(bright, _AROUND))
    cells, share_lit = len(lit), len(lit) / len(old)
    if share_lit < 0.05:
        return None
    old, new = old[lit], new[lit]
    heading = new - old
    length = float(heading @ heading)
    if length < LEAST_WAY**2 * cells or np.count_nonzero(np.abs(heading) > _CHANGED) < LINE_SPREAD * cells:
        return None
    residual = 0.0
    at = 0.0
    for part in (0.25, 0.5, 0.75):
        way = steps[start + round(part * (end - start))].luma[lit] - old
        share = float(way @ heading) / length
        if share - at < 0.1:
            return None
        at = share
        off = np.sort(np.abs(way - share * heading))[: round(STILL_SHARE * cells)]
        residual = max(residual, float(np.sqrt(float(off @ off) / length)))
        # Most pictures show no dissolve, and most of these are told here, by the first of the three.
        if residual >= greatest:
            return None
    if 1 - at < 0.1:
        return None
    ends: list[_End] = []
    for luma in (old, new):
        mean, spread = cv2.meanStdDev(luma)
        ends.append(_End(mean=float(mean[0, 0]), spread=float(spread[0, 0]), lit=share_lit))
    a, b = old - ends[0].mean, new - ends[1].mean
    likeness = float(a @ b) / cells / max(ends[0].spread * ends[1].spread, 1.0)
    return _Line(residual, likeness, *ends)


def _apart(one: Thumb, other: Thumb) -> float:
    """Mean absolute difference of two pictures."""
    return cv2.norm(one, other, cv2.NORM_L1) / one.size


def _spread(difference: Thumb, luma: Luma) -> float:
    """Share of a picture's cells that changed; 1 for a picture that has next to none."""
    lit = luma.reshape(difference.shape) > _LIT
    return float((difference[lit] > _CHANGED).mean()) if lit.mean() >= 0.05 else 1.0


def _merged(transitions: list[Transition]) -> list[Transition]:
    """Transitions in order, those that overlap or touch made one; a fade stays a fade, whatever it is joined with."""
    merged: list[Transition] = []
    for each in sorted(transitions, key=lambda each: (each.first, each.last)):
        if merged and each.first <= merged[-1].last:
            kinds = {merged[-1].kind, each.kind}
            kind: Kind = "fade" if "fade" in kinds else "dissolve" if "dissolve" in kinds else "cut"
            merged[-1] = Transition(first=merged[-1].first, last=max(merged[-1].last, each.last), kind=kind)
        else:
            merged.append(each)
    return merged
