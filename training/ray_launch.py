"""A training run on a Ray cluster: its processes are Ray's workers, started anew from the newest checkpoint when a
worker or a node dies. What they run is `training.trainer.train`, which knows nothing of Ray.
"""

import json
import shutil
from pathlib import Path
from typing import Any
from uuid import uuid4

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig, get_context
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2.api.exceptions import TrainingFailedError

from schemas.errors import UserError, WorkFailed
from training.config import TrainingConfig
from training.run_folder import RUN_FILE, check_run
from training.swap_test import Swap
from training.trainer import MODEL, SWAPS, TrainingResult, train

FAILURES = 20
"""Deaths of workers or nodes that a run outlives."""


def train_on_ray(
    config: TrainingConfig,
    *,
    data: str,
    out: Path,
    resume: bool,
    accept_changes: bool,
    address: str,
    processes: int,
) -> TrainingResult:
    """`training.trainer.train` in so many processes of the cluster at `address` (`auto`, `local`, or as Ray has it).

    `data` and `out` are seen by all its nodes under the same name.

    Raises:
        UserError: as `train`, and for a cluster that is not there.
        WorkFailed: as `train`, and when the processes died too often.
    """
    check_run(config, data=data, out=out, resume=resume, accept_changes=accept_changes)
    _connect(address)
    own, name = out.absolute().parent / f".{out.name}.ray", uuid4().hex
    # How the run ended, for the driver, and for an attempt that would end the same.
    ended = own / f"{name}.json"
    given = {
        "ended": str(ended),
        "config": config.model_dump(mode="json"),
        "data": data,
        "out": str(out.absolute()),
        "resume": resume,
        "accept_changes": accept_changes,
    }
    on_gpu = config.device == "cuda"
    trainer = TorchTrainer(
        _work,
        train_loop_config=given,
        torch_config=TorchConfig(backend="cpu:gloo,cuda:nccl" if on_gpu else "gloo"),
        scaling_config=ScalingConfig(num_workers=processes, use_gpu=on_gpu),
        run_config=RunConfig(
            name=name,
            storage_path=str(own),
            failure_config=FailureConfig(max_failures=FAILURES),
        ),
    )
    try:
        trainer.fit()
        told = json.loads(ended.read_text())
    except TrainingFailedError as error:
        if not ended.is_file():
            raise WorkFailed(f"the processes died more than {FAILURES} times, the last time of: {error}") from error
        told = json.loads(ended.read_text())
    finally:
        # Ray's own records of its attempts; what a run needs to go on lies in `out`.
        shutil.rmtree(own, ignore_errors=True)
    if "mistake" in told:
        raise UserError(told["mistake"])
    if "failure" in told:
        raise WorkFailed(told["failure"])
    stored = json.loads((out / SWAPS).read_text())
    swaps = Swap(**stored["audio"]), Swap(**stored["reference"])
    return TrainingResult(swaps=swaps, model=out / MODEL, tells=True, **told)


def _connect(address: str) -> None:
    try:
        if address == "local":
            ray.init(address="local", include_dashboard=False, log_to_driver=False)
        else:
            ray.init(address=address, log_to_driver=False)
    except (ConnectionError, ValueError) as error:
        raise UserError(f"there is no Ray cluster at {address}: {error}") from error


def _work(given: dict[str, Any]) -> None:
    """One process of the run, in a worker of Ray.

    What would happen again in another attempt is told, and then raised: others may not have met it, and would wait for
    this process until a collective gives up. Ray ends them all, and the attempt it makes next finds what was told.
    """
    ended = Path(given["ended"])
    if ended.is_file():
        return
    try:
        done = _trained(given)
    except UserError as error:
        _tell(ended, {"mistake": str(error)})
        raise
    except WorkFailed as error:
        _tell(ended, {"failure": str(error)})
        raise
    if get_context().get_world_rank() == 0:
        _tell(ended, {"steps": done.steps, "seconds": done.seconds, "damaged": done.damaged, "skipped": done.skipped})


def _trained(given: dict[str, Any]) -> TrainingResult:
    """A run that an attempt before this one began is gone on with."""
    config, out = TrainingConfig.model_validate(given["config"]), Path(given["out"])
    manner = {"resume": given["resume"], "accept_changes": given["accept_changes"]}
    if (out / RUN_FILE).is_file() and not given["resume"]:
        manner = {"resume": True, "accept_changes": False}
    return train(config, data=given["data"], out=out, **manner)


def _tell(path: Path, ended: dict[str, Any]) -> None:
    """Whole or not at all; what several processes tell at once is told once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{get_context().get_world_rank()}")
    partial.write_text(json.dumps(ended) + "\n")
    partial.replace(path)
