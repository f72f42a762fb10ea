"""The clip-level stages that a configuration asks for."""

from collections.abc import Callable, Collection

from pipeline.config import CurateConfig
from pipeline.flow import MEASURE
from pipeline.stage import ClipStage, FrameStage
from pipeline.stages.captions import captions_stage
from pipeline.stages.faces import FacesStage
from pipeline.stages.frames import FramesStage
from pipeline.stages.looks import looks_stage
from pipeline.stages.quality import QualityStage
from pipeline.stages.speech import SpeechStage
from pipeline.stages.sync import SyncStage
from pipeline.weights.locate import Weights

FRAME_STAGES: dict[str, Callable[[CurateConfig], FrameStage]] = {
    "quality": lambda config: QualityStage(config.quality),
    "faces": lambda config: FacesStage(config.faces, weights=Weights(config.weights.own), device=config.engine.device),
    "frames": lambda config: FramesStage(config.frames),
}
CLIP_STAGES: dict[str, Callable[[CurateConfig], ClipStage]] = {
    "speech": lambda config: SpeechStage(config.speech),
    "sync": lambda config: SyncStage(config.sync),
    "captions": lambda config: captions_stage(
        config.captions, Weights(config.weights.own), device=config.engine.device
    ),
    "looks": lambda config: looks_stage(config.looks, Weights(config.weights.own), device=config.engine.device),
}


def frame_stages(config: CurateConfig, names: Collection[str] = MEASURE) -> list[FrameStage]:
    """Those of these that look at frames, and share a decode; with their models loaded."""
    return [make(config) for name, make in FRAME_STAGES.items() if name in names]


def clip_stages(config: CurateConfig, names: Collection[str] = MEASURE) -> list[ClipStage]:
    """The others of these, in the order in which they need each other; with their models loaded."""
    return [make(config) for name, make in CLIP_STAGES.items() if name in names]
