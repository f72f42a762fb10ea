"""The clip-level stages that a configuration asks for."""

from collections.abc import Callable, Collection

from pipeline.config import CurateConfig
from pipeline.flow import MEASURE
from pipeline.stage import ClipStage, FrameStage
from pipeline.stages.captions import captions_stage
from pipeline.stages.faces import FacesStage
from pipeline.stages.frames import FramesStage
from pipeline.stages.looks import looks_stage
from pipeline.stages.options.speech import SpeechConfig
from pipeline.stages.options.sync import SyncConfig
from pipeline.stages.quality import QualityStage
from pipeline.stages.speech import SpeechStage
from pipeline.stages.sync import SyncStage
from pipeline.stages.vocals import vocals_stage
from pipeline.weights.locate import Weights

FRAME_STAGES: dict[str, Callable[[CurateConfig], FrameStage]] = {
    "quality": lambda config: QualityStage(config.quality),
    "faces": lambda config: FacesStage(config.faces, weights=Weights(config.weights.own), device=config.engine.device),
    "frames": lambda config: FramesStage(config.frames),
}
CLIP_STAGES: dict[str, Callable[[CurateConfig], ClipStage]] = {
    "speech": lambda config: SpeechStage(_speech(config)),
    "vocals": lambda config: vocals_stage(config.vocals, Weights(config.weights.own), device=config.engine.device),
    "sync": lambda config: SyncStage(_sync(config)),
    "captions": lambda config: captions_stage(
        config.captions, Weights(config.weights.own), device=config.engine.device
    ),
    "looks": lambda config: looks_stage(config.looks, Weights(config.weights.own), device=config.engine.device),
}


def _speech(config: CurateConfig) -> SpeechConfig:
    """The options of speech, with the weight's folder and the run's device where they name none."""
    options = config.speech
    if options.words == "none":
        return options
    device = config.engine.device if options.device == "cpu" else options.device
    whisper = options.whisper or Weights(config.weights.own).find("faster-whisper-large-v3").folder
    return options.model_copy(update={"whisper": whisper, "device": device})


def _sync(config: CurateConfig) -> SyncConfig:
    """The options of sync, with the weight's file and the run's device where they name none."""
    options = config.sync
    if options.backend != "syncnet":
        return options
    device = config.engine.device if options.device == "cpu" else options.device
    weights = options.syncnet or Weights(config.weights.own).find("syncnet-v2").folder / "syncnet_v2.model"
    return options.model_copy(update={"syncnet": weights, "device": device})


def frame_stages(config: CurateConfig, names: Collection[str] = MEASURE) -> list[FrameStage]:
    """Those of these that look at frames, and share a decode; with their models loaded."""
    return [make(config) for name, make in FRAME_STAGES.items() if name in names]


def clip_stages(config: CurateConfig, names: Collection[str] = MEASURE) -> list[ClipStage]:
    """The others of these, in the order in which they need each other; with their models loaded."""
    return [make(config) for name, make in CLIP_STAGES.items() if name in names]
