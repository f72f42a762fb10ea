"""The configuration of a curation run. Every section stands beside the stage that it configures."""

from typing import Literal

from pydantic import Field

from pipeline.decide.config import DecideConfig
from pipeline.pack.config import PackConfig
from pipeline.stages.candidates import CandidatesConfig
from pipeline.stages.captions import CaptionsConfig
from pipeline.stages.clips import ClipsConfig
from pipeline.stages.crawl import CrawlConfig
from pipeline.stages.duplicates import DuplicatesConfig
from pipeline.stages.faces import FacesConfig
from pipeline.stages.identities import IdentitiesConfig
from pipeline.stages.quality import QualityConfig
from pipeline.stages.shots import ShotsConfig
from pipeline.stages.speech import SpeechConfig
from pipeline.stages.sync import SyncConfig
from schemas.configuration import Configuration


class EngineConfig(Configuration):
    """How the work is spread. Nothing here changes a result."""

    workers: int = Field(default=2, ge=1, description="Actors of each pass")
    cpus_per_worker: float = Field(default=1.0, gt=0, description="Cores that Ray reserves for an actor")


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
    sync: SyncConfig = SyncConfig()
    captions: CaptionsConfig = CaptionsConfig()
    decide: DecideConfig = DecideConfig()
    pack: PackConfig = PackConfig()
    engine: EngineConfig = EngineConfig()
