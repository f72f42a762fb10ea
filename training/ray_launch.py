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
ENDED = "ended.json"
"""In the run's folder: how the last attempt ended, for the driver."""


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
    given = {
        "config": config.model_dump(mode="json"),
        "data": data,
        "out": str(out.absolute()),
        "resume": resume,
        "accept_changes": accept_changes,
    }
    on_gpu = config.device == "cuda"
    own = out.parent / f".{out.name}.ray"
    trainer = TorchTrainer(
        _work,
        train_loop_config=given,
        torch_config=TorchConfig(backend="cpu:gloo,cuda:nccl" if on_gpu else "gloo"),
        scaling_config=ScalingConfig(num_workers=processes, use_gpu=on_gpu),
        run_config=RunConfig(
            name=uuid4().hex,
            storage_path=str(own.absolute()),
            failure_config=FailureConfig(max_failures=FAILURES),
        ),
    )
    try:
        trainer.fit()
    except TrainingFailedError as error:
        raise WorkFailed(f"the processes died more than {FAILURES} times, the last time of: {error}") from error
    finally:
        # Ray's own records of its attempts; what a run needs to go on lies in `out`.
        shutil.rmtree(own, ignore_errors=True)
    ended = json.loads((out / ENDED).read_text())
    (out / ENDED).unlink()
    if "mistake" in ended:
        raise UserError(ended["mistake"])
    if "failure" in ended:
        raise WorkFailed(ended["failure"])
    stored = json.loads((out / SWAPS).read_text())
    swaps = Swap(**stored["audio"]), Swap(**stored["reference"])
    return TrainingResult(swaps=swaps, model=out / MODEL, tells=True, **ended)


def _connect(address: str) -> None:
    try:
        if address == "local":
            ray.init(address="local", include_dashboard=False, log_to_driver=False)
        else:
            ray.init(address=address, log_to_driver=False)
    except (ConnectionError, ValueError) as error:
        raise UserError(f"there is no Ray cluster at {address}: {error}") from error


def _work(given: dict[str, Any]) -> None:
    """One process of the run, in a worker of Ray. What would happen again in another attempt is told, not raised."""
    config, out = TrainingConfig.model_validate(given["config"]), Path(given["out"])
    manner = {"resume": given["resume"], "accept_changes": given["accept_changes"]}
    if (out / RUN_FILE).is_file() and not given["resume"]:
        manner = {"resume": True, "accept_changes": False}
    ended: dict[str, Any]
    try:
        done = train(config, data=given["data"], out=out, **manner)
    except UserError as error:
        ended = {"mistake": str(error)}
    except WorkFailed as error:
        ended = {"failure": str(error)}
    else:
        ended = {"steps": done.steps, "seconds": done.seconds, "damaged": done.damaged, "skipped": done.skipped}
    if get_context().get_world_rank() == 0:
        out.mkdir(parents=True, exist_ok=True)
        (out / ENDED).write_text(json.dumps(ended) + "\n")
