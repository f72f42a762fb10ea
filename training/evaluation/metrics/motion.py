"""How much moves, how smoothly, and what flickers. Optical flow: Farneback 2003, by OpenCV."""

from collections.abc import Mapping
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from training.evaluation.clip import GeneratedClip
from training.evaluation.materials import Materials
from training.evaluation.metrics.metric import About, NotMeasured

FLOW_PX = 128
"""Height at which flow is measured."""
STILL = 0.05
"""Mean flow in pixels of that height a frame, below which there is no motion whose smoothness could be told."""
CELLS = 8
"""Flicker is looked for in cells of the picture, so many on a side: finer changes are noise or motion."""


class Motion:
    """Amount and smoothness."""

    @property
    def about(self) -> tuple[About, ...]:
        """`motion` and `smoothness`."""
        own = {"backend": f"Farneback flow, opencv {cv2.__version__}", "weights": None, "licence": "Apache-2.0"}
        return (
            About(
                name="motion",
                title="Motion",
                unit="frame heights a second",
                better="neither",
                says="mean length of the optical flow",
                **own,  # type: ignore[arg-type]
            ),
            About(
                name="smoothness",
                title="Smoothness",
                unit="share, 0 to 1",
                better="higher",
                says="one over one plus the mean change of the flow from frame to frame, in mean flows",
                **own,  # type: ignore[arg-type]
            ),
        )

    def measure(self, clip: GeneratedClip, given: Materials) -> Mapping[str, float | NotMeasured]:
        """See `about`."""
        if len(clip.gray_thw) < 3:
            raise NotMeasured("fewer than three frames")
        before: NDArray[np.float32] | None = None
        amounts, changes = [], []
        small = [_small(gray) for gray in clip.gray_thw]
        for first, second in pairwise(small):
            flow = np.asarray(
                cv2.calcOpticalFlowFarneback(first, second, None, 0.5, 3, 15, 3, 5, 1.2, 0),  # type: ignore[call-overload]
                np.float32,
            )
            amounts.append(float(np.hypot(flow[..., 0], flow[..., 1]).mean()))
            if before is not None:
                change = flow - before
                changes.append(float(np.hypot(change[..., 0], change[..., 1]).mean()))
            before = flow
        amount = float(np.mean(amounts))
        smooth: float | NotMeasured = NotMeasured("nothing moves")
        if amount >= STILL:
            smooth = 1 / (1 + float(np.mean(changes)) / amount)
        return {"motion": amount / FLOW_PX * clip.fps, "smoothness": smooth}


class Flicker:
    """Light that goes back and forth from frame to frame; what only rises or falls is none."""

    @property
    def about(self) -> tuple[About, ...]:
        """`flicker`."""
        return (
            About(
                name="flicker",
                title="Flicker",
                unit="grey levels of 255",
                better="lower",
                backend="second differences of 8 x 8 cells",
                weights=None,
                licence="Apache-2.0",
                says="median over the cells of how far a frame's light lies from the mean of its neighbours'",
            ),
        )

    def measure(self, clip: GeneratedClip, given: Materials) -> Mapping[str, float | NotMeasured]:
        """See `about`. The median leaves out cells through which something moves."""
        if len(clip.gray_thw) < 3:
            raise NotMeasured("fewer than three frames")
        cells = np.stack(
            [
                cv2.resize(gray.astype(np.float32), (CELLS, CELLS), interpolation=cv2.INTER_AREA)
                for gray in clip.gray_thw
            ]
        )
        beside = np.abs(cells[1:-1] - (cells[:-2] + cells[2:]) / 2).mean(axis=0)
        return {"flicker": float(np.median(beside))}


def _small(gray_hw: NDArray[np.uint8]) -> NDArray[np.uint8]:
    size = (max(16, round(gray_hw.shape[1] * FLOW_PX / gray_hw.shape[0])), FLOW_PX)
    return np.asarray(cv2.resize(gray_hw, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
