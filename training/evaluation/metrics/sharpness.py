"""Image quality without a learned model: sharpness."""

from collections.abc import Mapping

import cv2
import numpy as np

from pipeline.backends.sharpness import sharpness
from training.evaluation.clip import GeneratedClip
from training.evaluation.materials import Materials
from training.evaluation.metrics.metric import About, NotMeasured

LOOKED_AT = 9


class Sharpness:
    """Blur is the part of image quality that needs no training to see."""

    @property
    def about(self) -> tuple[About, ...]:
        """`sharpness`."""
        return (
            About(
                name="sharpness",
                title="Sharpness",
                unit="share, 0 to 1",
                better="higher",
                backend=f"blur effect (Crete et al. 2007), opencv {cv2.__version__}",
                weights=None,
                licence="Apache-2.0",
                says="share of fine detail, median of nine frames; sizes differ in it, so compare videos of one size",
            ),
        )

    def measure(self, clip: GeneratedClip, given: Materials) -> Mapping[str, float | NotMeasured]:
        """See `about`."""
        values = [value for index in clip.spread(LOOKED_AT) if (value := sharpness(clip.gray_thw[index])) is not None]
        if not values:
            raise NotMeasured("the video shows nothing")
        return {"sharpness": float(np.median(values))}
