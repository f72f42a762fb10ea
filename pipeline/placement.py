"""Which stages share actors, how many actors there are, and what share of a machine each takes.

Stages without a placement of their own share the workers of `engine.workers`. Where `engine.device` is cuda, stages
whose backend runs on the GPU get actors of their own, so many and with such shares that `engine.gpus` GPUs are filled:

    GPUs          1          8                 64
    shots         1 x 0.05   2 x 0.25          16 x 0.25
    faces         1 x 0.15   4 x 0.25          32 x 0.25
    speech        1 x 0.15   4 x 0.25          32 x 0.25
    vocals        1 x 0.05   2 x 0.25          16 x 0.25
    sync          1 x 0.05   2 x 0.25          16 x 0.25
    captions      1 x 0.45   4 x 1             32 x 1
    looks         1 x 0.1    2 x 0.25          16 x 0.25

A share is a promise about memory, not a limit: 7 B of Qwen in bfloat16 take 17 GB, so that one GPU for all wants 40 GB.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import Field

from pipeline.backends.catalogue import chosen
from pipeline.environments import ENVIRONMENTS, missing
from pipeline.flow import CUT, MEASURE
from schemas.configuration import Configuration

if TYPE_CHECKING:
    from pipeline.config import CurateConfig


class Placement(Configuration):
    """Actors of one stage."""

    actors: int = Field(default=1, ge=1, description="How many; each loads the stage's models once")
    cpus: float = Field(default=1.0, ge=0, description="Cores of each")
    gpus: float = Field(default=0.0, ge=0, description="Share of a GPU of each; whole numbers above 1")


@dataclass(frozen=True, kw_only=True)
class Pass:
    """Stages that share actors. `environment`: what Ray builds for them, by name."""

    stages: tuple[str, ...]
    actors: int
    cpus: float
    gpus: float
    environment: str | None


ONE_GPU = {"shots": 0.05, "faces": 0.15, "speech": 0.15, "vocals": 0.05, "sync": 0.05, "captions": 0.45, "looks": 0.1}
"""Stage -> its share, where one GPU serves all."""
EIGHT_GPUS = {
    "shots": (2, 0.25),
    "faces": (4, 0.25),
    "speech": (4, 0.25),
    "vocals": (2, 0.25),
    "sync": (2, 0.25),
    "looks": (2, 0.25),
}
"""Stage -> actors and their share, of eight; captions take the rest, a whole GPU each."""
CAPTIONS_OF_EIGHT = 4


def share(stage: str, gpus: int) -> Placement:
    """The actors of a stage that runs on the GPU, where so many GPUs serve all stages."""
    if gpus < 8:
        return Placement(actors=gpus, gpus=ONE_GPU[stage])
    times = gpus // 8
    if stage == "captions":
        return Placement(actors=CAPTIONS_OF_EIGHT * times, gpus=1)
    actors, part = EIGHT_GPUS[stage]
    return Placement(actors=actors * times, gpus=part)


def passes(config: "CurateConfig") -> list[Pass]:
    """The pass over sources, then those over clips, in the order in which they need each other."""
    engine = config.engine
    on_gpu = {backend.stage for backend in chosen(config) if backend.accelerator and engine.device == "cuda"}
    placements = {stage: share(stage, engine.gpus) for stage in sorted(on_gpu)} | dict(engine.placement)
    environments = {
        backend.stage: backend.environment
        for backend in chosen(config)
        if backend.environment is not None and missing(ENVIRONMENTS[backend.environment])
    }
    common = Placement(actors=engine.workers, cpus=engine.cpus_per_worker)
    found: list[Pass] = [_pass(CUT, placements.get("shots", common), environments.get("shots"))]
    together = True
    for stage in MEASURE:
        own = stage in placements or stage in environments
        if not own and together and len(found) > 1:
            before = found[-1]
            found[-1] = _pass((*before.stages, stage), common, None)
        else:
            found.append(_pass((stage,), placements.get(stage, common), environments.get(stage)))
        together = not own
    return found


def _pass(stages: tuple[str, ...], placement: Placement, environment: str | None) -> Pass:
    return Pass(
        stages=stages,
        actors=placement.actors,
        cpus=placement.cpus,
        gpus=placement.gpus,
        environment=environment,
    )
