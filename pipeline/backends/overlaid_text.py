"""Text laid over a picture: subtitles, captions, titles, clocks, written watermarks; without a model, and so weak.

Letters are strokes, thinner than the letter is high, alike in tone and width, with hard edges, side by side on one
line; and what was laid over a picture stays in its place while the picture moves.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

BACKEND = "strokes(weak)/1"

LAG = 4
"""Frames (0.16 s) over which a letter must stay where it is."""
SIDE = 480
"""Pictures with a longer short side are looked at in this size."""
STROKE = 0.028
"""Strokes are at most so thick, in short sides of the picture; and at least 7 pixels may they be."""
CONTRASTS = (28, 72, 140)
"""Grey levels by which strokes stand off what is beside them. The higher find letters that the lower join with each
other or with what is behind them."""
TALL = (0.014, 0.13)
"""Height of a letter, in short sides of the picture; of at least 6 pixels."""
FEWEST = 4
"""Letters of a line."""
UNLIKE = 2.2
"""A letter is at most so many times as high as the one beside it."""
GAP = 0.9
"""Greatest gap between two letters, in heights of the taller."""
MOST_MARKS = 1000
"""Marks of a picture that are looked at, the largest ones; texture has thousands."""
STAYS = 0.6
"""Share of the strokes seen in either picture, in a mark's box and a pixel around it, that must be there in both."""

Gray = NDArray[np.uint8]
Values = NDArray[np.float32]


class Line(NamedTuple):
    """A line of text, in pixels of the picture looked at."""

    x0: float
    y0: float
    x1: float
    y1: float


@dataclass(frozen=True)
class _Marks:
    """What may be letters: connected strokes. Each array holds one value a mark."""

    x0: Values
    y0: Values
    x1: Values
    y1: Values
    area: Values
    tone: Values
    """Mean grey level."""
    stroke: Values
    """Mean thickness of its strokes, in pixels."""
    contrast: Values
    hardness: Values
    """Steps of grey at its edge within three pixels, over its contrast: 1 and more is a step, less a slope."""

    def __len__(self) -> int:
        return len(self.x0)

    def __getitem__(self, index: NDArray[np.integer | np.bool_]) -> "_Marks":
        return _Marks(*(values[index] for values in self.__dict__.values()))


def text_area(now_hw: Gray, later_hw: Gray) -> float:
    """Share of the picture that the boxes of lines of text cover, 0 to 1, that stand in both of two frames, LAG apart.

    Weak: it knows letters by their shapes alone. Counted are also letters within the scene where the camera stands or
    hardly moves, and now and then a row of things alike, such as windows, railings and pictures set in. Not seen are
    lines of fewer than four letters, letters under 6 pixels or above an eighth of the picture's short side, text that
    moves, comes or goes within these 0.16 s, faint text on a lively ground, slanted lines, and scripts that join their
    letters.
    """
    now, later = (_looked_at(picture) for picture in (now_hw, later_hw))
    covered = np.zeros(now.shape, dtype=bool)
    for line in text_lines(now, later):
        covered[int(line.y0) : int(line.y1), int(line.x0) : int(line.x1)] = True
    return float(covered.mean())


def text_lines(now_hw: Gray, later_hw: Gray) -> list[Line]:
    """The lines of text of a picture that stand in a later one too, light ones first; some of them twice."""
    short = min(now_hw.shape)
    thickest = max(7, int(short * STROKE) | 1)
    window = cv2.getStructuringElement(cv2.MORPH_RECT, (thickest, thickest))
    step = cv2.morphologyEx(now_hw, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    found: list[Line] = []
    for brighter in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT):
        now, later = (cv2.morphologyEx(picture, brighter, window) for picture in (now_hw, later_hw))
        stands, either = cv2.min(now, later), cv2.max(now, later)
        for contrast in CONTRASTS:
            if (marks := _marks(now_hw, stands, either, step, contrast)) is not None:
                found += [line for row in _rows(marks) if (line := _line(marks[row])) is not None]
    return found


def _looked_at(picture: Gray) -> Gray:
    scale = SIDE / min(picture.shape)
    if scale >= 1:
        return picture
    return np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _marks(gray: Gray, stands: NDArray[Any], either: NDArray[Any], step: NDArray[Any], contrast: int) -> _Marks | None:
    """The marks that stand off by more than this; None where they are too few for a line, as in most pictures.

    `stands`, `either`: how far strokes stand off in both pictures, and in one at least.
    """
    short = min(gray.shape)
    seen = stands > contrast
    # All that follows asks for what stands off, and a pixel around it.
    x0, y0, wide, tall = cv2.boundingRect(seen.view(np.uint8))
    x0, y0, x1, y1 = max(x0 - 1, 0), max(y0 - 1, 0), x0 + wide + 1, y0 + tall + 1
    gray, stands, either, step = (picture[y0:y1, x0:x1] for picture in (gray, stands, either, step))
    seen = seen[y0:y1, x0:x1]
    strokes = seen.view(np.uint8)
    count, labels, boxes, _ = cv2.connectedComponentsWithStatsWithAlgorithm(strokes, 8, cv2.CV_32S, cv2.CCL_BBDT)
    x, y, width, height, area = boxes.T.astype(np.float32)
    fits = (height >= max(6, TALL[0] * short)) & (height <= TALL[1] * short) & (area > 0.12 * width * height)
    fits &= (width <= 8 * height) & (width >= 0.08 * height)
    fits[0] = False
    if fits.sum() < FEWEST:
        return None
    # Strokes of things that move cross those of a moment before: beside what both share is what only one of them has.
    sums = cv2.integral(cv2.copyMakeBorder((either > contrast).view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT))
    left, top, right, bottom = boxes[:, 0], boxes[:, 1], boxes[:, 0] + boxes[:, 2] + 2, boxes[:, 1] + boxes[:, 3] + 2
    around = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    fits &= area >= STAYS * around
    # Of the pixels of what is left: sums over each mark.
    places = np.flatnonzero(seen)
    owners = labels.ravel()[places]
    places, owners = places[fits[owners]], owners[fits[owners]]
    inside = cv2.erode(strokes, np.ones((3, 3), np.uint8)).ravel()[places]

    def total(values: NDArray[Any]) -> Values:
        return np.bincount(owners, weights=values, minlength=count).astype(np.float32)

    pixels, edge = np.maximum(area, 1), np.maximum(total(inside == 0), 1)
    level = total(stands.ravel()[places]) / pixels
    thickness = 2 * area / edge
    fits &= thickness <= 0.5 * height + 1
    marks = _Marks(
        x0=x0 + x,
        y0=y0 + y,
        x1=x0 + x + width,
        y1=y0 + y + height,
        area=area,
        tone=total(gray.ravel()[places]) / pixels,
        stroke=thickness,
        contrast=level,
        hardness=total(step.ravel()[places] * (inside == 0)) / edge / np.maximum(level, 1),
    )
    good = np.flatnonzero(fits)
    return marks[np.sort(good[np.argsort(-area[good], kind="stable")[:MOST_MARKS]])]


def _rows(marks: _Marks) -> list[NDArray[np.intp]]:
    """Marks that stand side by side, alike in height, tone and stroke; each row by the places of its marks."""
    if len(marks) < FEWEST:
        return []
    marks = marks[order := np.argsort(marks.x0, kind="stable")]
    height, middle = marks.y1 - marks.y0, (marks.y0 + marks.y1) / 2
    # Few pairs are near each other at all; of these alone the rest is asked.
    reach = UNLIKE * height[:, None]
    near = (np.abs(middle[:, None] - middle) < 0.5 * reach) & (marks.x0 - marks.x1[:, None] <= GAP * reach)
    left, right = np.nonzero(np.triu(near, 1))
    one, other = marks[left], marks[right]
    taller, lower = np.maximum(height[left], height[right]), np.minimum(height[left], height[right])
    gap = other.x0 - np.minimum(one.x1, other.x1)
    apart = np.abs(middle[left] - middle[right])
    edges = np.minimum(np.abs(one.y1 - other.y1), np.abs(one.y0 - other.y0))
    thicker, thinner = np.maximum(one.stroke, other.stroke), np.minimum(one.stroke, other.stroke)
    beside = (taller <= UNLIKE * lower) & (gap <= GAP * taller) & (gap > -0.4 * lower) & (apart < 0.5 * taller)
    beside &= np.minimum(edges, apart) <= 0.12 * taller + 1
    beside &= (np.abs(one.tone - other.tone) < 36) & (thicker <= 2 * thinner + 0.5)
    if beside.sum() < FEWEST - 1:
        return []
    # Here alone: it takes longer to load than all of OpenCV.
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    pairs = coo_matrix((np.ones(beside.sum()), (left[beside], right[beside])), shape=near.shape)
    _, row = connected_components(pairs, directed=False)
    return [order[row == number] for number in np.flatnonzero(np.bincount(row) >= FEWEST)]


def _line(marks: _Marks) -> Line | None:
    """A row of marks as a line of text, without what only touches it; None where it is none."""
    height = float(np.median(marks.y1 - marks.y0))
    base = float(np.median(marks.y1))
    on_base = np.abs(marks.y1 - base) <= 0.15 * height + 1
    if on_base.sum() < FEWEST - 1 or on_base.mean() < 0.65:
        return None
    letters = marks[(marks.y1 - base <= 0.45 * height + 1) & (base - marks.y0 <= 1.8 * height + 1) & (marks.y0 < base)]
    if len(letters) < FEWEST:
        return None
    line = Line(letters.x0.min(), letters.y0.min(), letters.x1.max(), letters.y1.max())
    width, tall = line.x1 - line.x0, line.y1 - line.y0
    heights = letters.y1 - letters.y0
    written = (
        width >= 2 * tall
        and (letters.x1 - letters.x0).sum() >= 0.5 * width
        and letters.area.sum() >= 0.19 * width * tall
        and letters.stroke.mean() >= 0.115 * height
        and heights.std() <= 0.38 * height
        and letters.tone.std() <= 20
        and letters.hardness.mean() >= 0.75
        and (len(letters) > FEWEST or letters.contrast.mean() >= 55)
    )
    return line if written else None
