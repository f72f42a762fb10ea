"""What can be known before a run starts: that every backend it asks for can run, each on what it was promised."""

from pipeline.backends.catalogue import Backend, chosen
from pipeline.config import CurateConfig
from pipeline.environments import ENVIRONMENTS, how_to_install, missing
from pipeline.flow import MEASURE, STAGE
from pipeline.stages.captions import check_captions
from pipeline.stages.faces import FacesStage
from pipeline.stages.frames import NONE_ASKED
from pipeline.weights.locate import Weights
from schemas.errors import UserError


def check_backends(config: CurateConfig, *, cluster: bool) -> None:
    """Raises UserError that names what is missing and the command that gets it.

    `cluster`: whether actors run on other machines, whose packages and GPUs are not looked at from here.
    """
    for backend in chosen(config):
        _check(backend, config, cluster)
    for stage in config.engine.placement:
        if stage not in {*MEASURE, "shots"}:
            raise UserError(f"engine.placement.{stage}: there is no such stage; there are: shots, {', '.join(MEASURE)}")
    models = [name for name in ("captions", "looks") if _looks_at_frames(name, config)]
    if models and not config.frames.count:
        raise UserError(f"{' and '.join(models)}: {NONE_ASKED}; set frames.count, such as 8")
    check_captions(config.captions)
    if not any(backend.stage == "faces" for backend in chosen(config)):
        FacesStage(config.faces).check()


def _looks_at_frames(stage: str, config: CurateConfig) -> bool:
    return any(backend.stage == stage and "frames" in STAGE[stage].needs for backend in chosen(config))


def _check(backend: Backend, config: CurateConfig, cluster: bool) -> None:
    what = f"{backend.option}={backend.value}"
    if backend.environment is not None:
        environment = ENVIRONMENTS[backend.environment]
        lacking = missing(environment)
        if lacking and not config.engine.build_environments and not cluster:
            raise UserError(
                f"{what} needs {', '.join(lacking)}: {how_to_install(environment)}; "
                "or let Ray build an environment for it: --set engine.build_environments=true"
            )
    for name in backend.weights_of(config):
        try:
            Weights(config.weights.own).find(name)
        except UserError as error:
            raise UserError(f"{what}: {error}") from error
    if backend.accelerator and config.engine.device == "cuda" and not cluster and not has_gpu():
        raise UserError(
            f"{what} runs on a GPU, and this machine shows none: --address of a cluster with GPUs, or "
            "--set engine.device=cpu to do it on the processor, slowly"
        )


def has_gpu() -> bool:
    """Whether torch sees a GPU here."""
    import torch

    return torch.cuda.is_available()
