"""The configuration of a curation run. Every section stands beside the stage that it configures."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from pipeline.decide.config import DecideConfig
from pipeline.pack.config import PackConfig
from pipeline.placement import Placement
from pipeline.stages.options.candidates import CandidatesConfig
from pipeline.stages.options.captions import CaptionsConfig
from pipeline.stages.options.clips import ClipsConfig
from pipeline.stages.options.crawl import CrawlConfig
from pipeline.stages.options.duplicates import DuplicatesConfig
from pipeline.stages.options.faces import FacesConfig
from pipeline.stages.options.frames import FramesConfig
from pipeline.stages.options.identities import IdentitiesConfig
from pipeline.stages.options.looks import LooksConfig
from pipeline.stages.options.quality import QualityConfig
from pipeline.stages.options.shots import ShotsConfig
from pipeline.stages.options.speech import SpeechConfig
from pipeline.stages.options.sync import SyncConfig
from pipeline.stages.options.vocals import VocalsConfig
from schemas.configuration import Configuration


class WeightsConfig(Configuration):
    """Where weights lie. Those that are not named here lie in the cache, where `humo fetch` puts them."""

    own: dict[str, Path] = Field(
        default={}, description="Name of a weight -> a folder of yours in its published layout, taken as it is"
    )


class EngineConfig(Configuration):
    """How the work is spread. Nothing here changes a result, but for rounding on another device."""

    device: Literal["cpu", "cuda"] = Field(default="cpu", description="What models run on; nothing falls back")
    gpus: int = Field(default=1, ge=1, description="GPUs that the run fills, where engine.device is cuda")
    placement: dict[str, Placement] = Field(
        default={}, description="Stage -> its own actors, over the placement that follows from engine.gpus"
    )
    build_environments: bool = Field(
        default=False, description="Let Ray install what a stage needs into an environment of its own, from PyPI"
    )

    workers: int = Field(default=2, ge=1, description="Actors of each pass")
    cpus_per_worker: float = Field(default=1.0, gt=0, description="Cores that Ray reserves for an actor")
    attempts: int = Field(default=2, ge=1, description="Workers that an item may end before it is quarantined")
    source_seconds: float = Field(default=7200, gt=0, description="A source that takes longer to cut ends its worker")
    clip_seconds: float = Field(default=300, gt=0, description="A clip that takes longer to measure ends its worker")
    memory_mb: int = Field(default=4096, ge=256, description="A worker that takes more memory is ended")
    disk_share: float = Field(
        default=1.0,
        ge=0,
        description="Room that a run may need on its disk, as a share of its footage; 0: no look",
    )
    failure_limit: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="The run stops where more of its sources, or of a stage's clips, fail; 1 never stops",
    )
    failure_limit_from: int = Field(
        default=50, ge=1, description="Sources, or clips, seen before `failure_limit` is applied"
    )


class CurateConfig(Configuration):
    """Everything that decides what a run becomes."""

    profile: Literal["local", "gpu"] = Field(default="local", description="Which backends are the defaults")
    crawl: CrawlConfig = CrawlConfig()
    shots: ShotsConfig = ShotsConfig()
    clips: ClipsConfig = ClipsConfig()
    quality: QualityConfig = QualityConfig()
    duplicates: DuplicatesConfig = DuplicatesConfig()
    faces: FacesConfig = FacesConfig()
    identities: IdentitiesConfig = IdentitiesConfig()
    candidates: CandidatesConfig = CandidatesConfig()
    speech: SpeechConfig = SpeechConfig()
    vocals: VocalsConfig = VocalsConfig()
    sync: SyncConfig = SyncConfig()
    frames: FramesConfig = FramesConfig()
    captions: CaptionsConfig = CaptionsConfig()
    looks: LooksConfig = LooksConfig()
    weights: WeightsConfig = WeightsConfig()
    decide: DecideConfig = DecideConfig()
    pack: PackConfig = PackConfig()
    engine: EngineConfig = EngineConfig()
