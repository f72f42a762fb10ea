"""Is it the person of the references? Faces of the video against faces of the references, by cosine similarity."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.backends.face_descriptor import FaceDescriptor
from training.evaluation.clip import GeneratedClip, enlarge, to_gray
from training.evaluation.materials import Materials
from training.evaluation.metrics.metric import About, NotMeasured

EVERY = 4
"""Looks from one comparison to the next."""


class Identity:
    """The mean over the frames, and the worst of them: a face that is lost for a moment is lost."""

    def __init__(self, descriptor: FaceDescriptor, *, backend: str, weights: str | None, licence: str) -> None:
        """`descriptor`: ArcFace, or any other; values of two descriptors do not compare."""
        self._descriptor = descriptor
        self._about = About(
            name="identity",
            title="Identity",
            unit="cosine, -1 to 1",
            better="higher",
            backend=backend,
            weights=weights,
            licence=licence,
            says="similarity of the largest face to the nearest face of the references, mean over the frames",
        )

    @property
    def about(self) -> tuple[About, ...]:
        """`identity`, `identity_worst`, and how many frames they speak of."""
        own = self._about
        return (
            own,
            replace(
                own,
                name="identity_worst",
                title="Identity, worst frame",
                says="the same in the frame where it is lowest",
            ),
            replace(
                own,
                name="face_seen",
                title="Face seen",
                unit="share, 0 to 1",
                says="share of the frames in which a face is found; the other two speak of these alone",
            ),
        )

    def measure(self, clip: GeneratedClip, given: Materials) -> Mapping[str, float | NotMeasured]:
        """See `about`. A video without a face has `face_seen` 0 and no identity."""
        if not given.references:
            raise NotMeasured("the case has no reference")
        wanted = [vector for image in given.references if (vector := self._reference(image, clip)) is not None]
        if not wanted:
            raise NotMeasured("no face is found on the references")
        looked = clip.faces.largest
        seen = [(index, face) for index, face in looked.items() if face is not None]
        values: dict[str, float | NotMeasured] = {"face_seen": len(seen) / len(looked)}
        if not seen:
            cause = NotMeasured("no face is found in the video")
            return {**values, "identity": cause, "identity_worst": cause}
        nearest = []
        # The first and the last look are among them, whatever the step.
        for index, face in [*seen[::EVERY], seen[-1]]:
            found = self._descriptor.describe(enlarge(clip.frames_thwc[index]), enlarge(clip.gray_thw[index]), face)
            nearest.append(max(float(found @ one) for one in wanted))
        return {**values, "identity": float(np.mean(nearest)), "identity_worst": min(nearest)}

    def _reference(self, image_hwc: NDArray[np.uint8], clip: GeneratedClip) -> NDArray[np.float32] | None:
        face = clip.finder.largest(image_hwc)
        if face is None:
            return None
        enlarged = enlarge(image_hwc)
        return self._descriptor.describe(enlarged, to_gray(enlarged), face)
