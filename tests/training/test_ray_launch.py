"""On Ray a run outlives its workers."""

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import ray
import torch

from schemas.errors import UserError
from tests.ranks import run_ranks
from tests.training.conftest import SMALL
from tests.training.test_resume_distributed import go, stored
from training.config import TrainingConfig, load_config
from training.ray_launch import train_on_ray
from training.trainer import TrainingResult

Config = Callable[..., TrainingConfig]


@pytest.fixture(autouse=True)
def _no_ray_left(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield
    ray.shutdown()


def workers() -> list[psutil.Process]:
    """Those that this process's Ray started for training."""
    return [one for one in psutil.Process().children(recursive=True) if "RayTrainWorker" in " ".join(one.cmdline())]


@pytest.mark.slow
@pytest.mark.skipif("HUMO_LONG" not in os.environ, reason="starts Ray's training twice: set HUMO_LONG=1")
def test_a_killed_worker_is_replaced_and_the_run_ends_as_the_undisturbed(
    shards: Path, tiny_model: Path, tmp_path: Path
) -> None:
    config = load_config("mini", [*SMALL, f"model.start={tiny_model}"])
    given = {"data": str(shards), "resume": False, "accept_changes": False, "address": "local", "processes": 2}
    ended: list[TrainingResult] = []
    out = tmp_path / "out"
    running = threading.Thread(target=lambda: ended.append(train_on_ray(config, out=out, **given)))  # type: ignore[arg-type]
    running.start()
    log, deadline = out / "log.jsonl", time.monotonic() + 400
    while not (log.exists() and log.read_text().count("\n") >= 4):
        assert running.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    workers()[0].kill()
    running.join(400)
    [result] = ended
    assert result.steps == 9
    assert result.model.is_dir()
    steps = [json.loads(line)["step"] for line in log.read_text().splitlines()]
    assert len(steps) > 9
    run_ranks(2, go, config, shards, tmp_path / "alone", False)
    ours, theirs = stored(out, 9), stored(tmp_path / "alone", 9)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_what_one_process_alone_meets_ends_the_others_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It must not return as if it were done: the others would wait for it."""
    from training import ray_launch

    def train(*given: object, **named: object) -> TrainingResult:
        nonlocal attempts
        attempts += 1
        raise UserError("no such folder on this node")

    attempts = 0
    monkeypatch.setattr(ray_launch, "train", train)
    monkeypatch.setattr(ray_launch, "get_context", lambda: SimpleNamespace(get_world_rank=lambda: 1))
    given = {"config": load_config("mini", SMALL).model_dump(mode="json"), "data": "", "out": str(tmp_path / "out")}
    given |= {"resume": False, "accept_changes": False, "ended": str(tmp_path / "own" / "ended.json")}
    with pytest.raises(UserError):
        ray_launch._work(given)
    assert json.loads((tmp_path / "own" / "ended.json").read_text()) == {"mistake": "no such folder on this node"}
    ray_launch._work(given)
    assert attempts == 1, "the next attempt of all processes finds what was told"


def test_mistakes_are_found_before_ray_starts(shards: Path, tmp_path: Path, small_config: Config) -> None:
    given = {"data": str(shards), "accept_changes": False, "address": "local", "processes": 2}
    with pytest.raises(UserError, match="nothing to resume"):
        train_on_ray(small_config(), out=tmp_path / "out", resume=True, **given)  # type: ignore[arg-type]
    assert not ray.is_initialized()
