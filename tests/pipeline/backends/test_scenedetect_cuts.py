"""Proposals are those of PySceneDetect's two detectors, each asked on its own."""

from fractions import Fraction

import numpy as np
from scenedetect.common import FrameTimecode
from scenedetect.detectors import AdaptiveDetector, ContentDetector

from pipeline.backends.scenedetect_cuts import LONGEST_LAG, CutProposer


def test_both_detectors_propose() -> None:
    rng = np.random.default_rng(0)
    content = ContentDetector(threshold=27.0, min_scene_len=0)
    adaptive = AdaptiveDetector(adaptive_threshold=3.0, min_scene_len=0, window_width=LONGEST_LAG)
    both = CutProposer(content_threshold=27.0, adaptive_ratio=3.0)
    alone: dict[str, set[int]] = {"content": set(), "adaptive": set()}
    proposed: set[int] = set()
    # A change of brightness counts for a third. One of 60 is a cut only where all is still around it; of many of 120,
    # one after the other, none stands out.
    changes = np.where(rng.random(200) < 0.08, 60, 1)
    changes[150:160] = 120
    levels = np.abs(np.cumsum(changes) % 400 - 200)
    for index, level in enumerate(levels):
        seen = np.full((32, 48, 3), level, np.uint8)
        timecode = FrameTimecode(index, fps=Fraction(25))
        alone["content"] |= {int(cut.frame_num) for cut in content.process_frame(timecode, seen)}
        alone["adaptive"] |= {int(cut.frame_num) for cut in adaptive.process_frame(timecode, seen)}
        proposed |= both.add(index, seen)
    assert proposed == alone["content"] | alone["adaptive"]
    assert alone["content"] - alone["adaptive"]
    assert alone["adaptive"] - alone["content"]
