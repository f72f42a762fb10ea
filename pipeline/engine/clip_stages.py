"""The clip-level stages that a configuration asks for."""

from pipeline.config import CurateConfig
from pipeline.stage import ClipStage, FrameStage
from pipeline.stages.captions import CaptionsStage
from pipeline.stages.faces import FacesStage
from pipeline.stages.quality import QualityStage
from pipeline.stages.speech import SpeechStage
from pipeline.stages.sync import SyncStage


def frame_stages(config: CurateConfig) -> list[FrameStage]:
    """Those that look at frames, and share a decode."""
    return [QualityStage(config.quality), FacesStage(config.faces)]


def clip_stages(config: CurateConfig) -> list[ClipStage]:
    """The others, in the order in which they need each other."""
    return [SpeechStage(config.speech), SyncStage(config.sync), CaptionsStage(config.captions)]


def check_stages(config: CurateConfig) -> None:
    """Load every model once, before the run starts. Raises UserError that names what is missing."""
    FacesStage(config.faces).check()
    clip_stages(config)
