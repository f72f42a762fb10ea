"""Copy-paste: how much of a reference's background and pose came along with the person.

The reference is laid over the video where and at the size at which it fits best. What fits around its face is
background; what fits in its face is pose, expression and light. A model that has learnt who somebody is shows the
person without either; HuMo's references are of other shots for that reason (arXiv 2509.08519, section 3.1).
"""

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.backends.face_detector import Box
from training.evaluation.clip import GeneratedClip, enlarge, to_gray
from training.evaluation.materials import Materials
from training.evaluation.metrics.metric import About, NotMeasured

LOOKED_AT = 5
"""Frames, spread evenly."""
FRAME_PX = 96
"""Height at which pictures are laid over each other."""
SMALLEST, LARGEST, SIZES = 0.4, 1.0, 9
"""Heights at which a reference is tried, in heights of the frame (its largest: where it just fits)."""
FLAT = 3.0
"""Grey levels of spread below which there is nothing to compare."""

Gray = NDArray[np.float32]


class CopyPaste:
    """The worst of the references, in the frame where it is worst."""

    @property
    def about(self) -> tuple[About, ...]:
        """`copied_background` and `copied_pose`."""
        own = {
            "unit": "correlation, -1 to 1",
            "backend": f"template matching, opencv {cv2.__version__}",
            "weights": None,
            "licence": "Apache-2.0",
        }
        return (
            About(
                name="copied_background",
                title="Copied background",
                better="lower",
                says="correlation of a frame with a reference around its face, where the reference fits best",
                **own,  # type: ignore[arg-type]
            ),
            About(
                name="copied_pose",
                title="Copied pose",
                better="lower",
                says="the same within the face: pose, expression and light as on the reference",
                **own,  # type: ignore[arg-type]
            ),
        )

    def measure(self, clip: GeneratedClip, given: Materials) -> Mapping[str, float | NotMeasured]:
        """See `about`. Without a face on the reference it cannot be told what is background."""
        if not given.references:
            raise NotMeasured("the case has no reference")
        values: list[tuple[float, float]] = []
        causes: list[str] = []
        for image in given.references:
            face = clip.finder.largest(image)
            if face is None:
                causes.append("no face is found on the references")
                continue
            gray = to_gray(enlarge(image)).astype(np.float32)
            for index in clip.spread(LOOKED_AT):
                found = compare(clip.gray_thw[index].astype(np.float32), gray, face.box)
                if found is None:
                    causes.append("the picture is flat")
                else:
                    values.append(found)
        if not values:
            raise NotMeasured(causes[0])
        return {
            "copied_background": max(background for background, _ in values),
            "copied_pose": max(pose for _, pose in values),
        }


def compare(frame_hw: Gray, reference_hw: Gray, face: Box) -> tuple[float, float] | None:
    """Correlations around and in the face where the reference fits best; None where there is nothing to compare.

    `face`: in fractions of the reference.
    """
    frame = _scaled(frame_hw, FRAME_PX / frame_hw.shape[0])
    best: tuple[float, Gray, Gray] | None = None
    widest = min(FRAME_PX / reference_hw.shape[0], frame.shape[1] / reference_hw.shape[1])
    for size in np.linspace(SMALLEST, LARGEST, SIZES):
        reference = _scaled(reference_hw, size * widest)
        if reference.std() < FLAT or frame.std() < FLAT:
            return None
        fits = cv2.matchTemplate(frame, reference, cv2.TM_CCOEFF_NORMED)
        _, value, _, (x, y) = cv2.minMaxLoc(fits)
        if best is None or value > best[0]:
            best = value, frame[y : y + reference.shape[0], x : x + reference.shape[1]], reference
    assert best is not None
    _, there, reference = best
    inside = np.zeros(reference.shape, bool)
    height, width = reference.shape
    x0, y0, x1, y1 = (max(value, 0) for value in face)
    inside[round(y0 * height) : round(y1 * height), round(x0 * width) : round(x1 * width)] = True
    if inside.all() or not inside.any():
        return None
    return _correlation(there[~inside], reference[~inside]), _correlation(there[inside], reference[inside])


def _scaled(picture: Gray, scale: float) -> Gray:
    size = (max(8, round(picture.shape[1] * scale)), max(8, round(picture.shape[0] * scale)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.float32)


def _correlation(one: Gray, other: Gray) -> float:
    one, other = one - one.mean(), other - other.mean()
    length = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float((one * other).sum() / length) if length > 0 else 0.0
