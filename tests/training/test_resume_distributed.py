"""A run of several processes goes on after any death, on any number of processes, with the very next sample."""

import json
import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
from torch.distributed.checkpoint.state_dict_loader import load

from humo.checkpoints import load_model_dir
from schemas.errors import UserError
from tests.ranks import killed_at_last, run_ranks, start_ranks
from tests.training.conftest import SMALL
from training.config import TrainingConfig, load_config
from training.trainer import train

STEPS = {"start": 8, "subject": 5, "sync": 9}
LAST = sum(STEPS.values())
LONGER = [
    *SMALL,
    *(f"stages.{name}.steps={steps}" for name, steps in STEPS.items()),
    "checkpoints={every: 3, keep: 20}",
    "validation={samples: 1, windows: 1, timesteps: 1, donors: 1, bootstrap: 100}",
]
BRANCH = 9
"""Inside the second stage."""


def go(config: TrainingConfig, data: Path, out: Path, resume: bool) -> None:
    train(config, data=str(data), out=out, resume=resume)


def lines(out: Path) -> dict[int, dict[str, Any]]:
    """The log by step; of a step that was done again, the last."""
    file = out / "log.jsonl"
    text = file.read_text().split("\n")[:-1] if file.exists() else []
    return {line["step"]: line for line in map(json.loads, text)}


def stored(out: Path, step: int) -> dict[str, torch.Tensor]:
    """All tensors of a checkpoint, put together."""
    folder = str(out / "checkpoints" / f"step-{step:08d}")
    found = HuggingFaceStorageReader(folder).read_metadata().state_dict_metadata
    whole = {name: torch.zeros(one.size, dtype=one.properties.dtype) for name, one in found.items()}
    load(whole, storage_reader=HuggingFaceStorageReader(folder), no_dist=True)
    return whole


@pytest.fixture(scope="module")
def settings(tiny_model: Path) -> list[str]:
    return [*LONGER, f"model.start={tiny_model}"]


@pytest.fixture(scope="module")
def undisturbed(shards: Path, settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("two") / "out"
    run_ranks(2, go, load_config("mini", settings), shards, out, False)
    return out


@pytest.mark.slow
def test_killed_five_times_it_ends_bit_for_bit_as_the_undisturbed(
    shards: Path, tmp_path: Path, settings: list[str], undisturbed: Path
) -> None:
    out, config, draw = tmp_path / "out", load_config("mini", settings), random.Random(3)
    kills, while_writing = [], 0
    for number in range(5):
        begun = (out / "run.json").exists()
        with killed_at_last(start_ranks(2, go, config, shards, out, begun)) as ranks:
            done = max([-1, *lines(out)])
            target = min(done + draw.randint(1, 4), LAST - 2)
            wanted: Callable[[], bool] = lambda: max([-1, *lines(out)]) >= target  # noqa: B023, E731
            if number == 2:
                wanted = lambda: any((out / "checkpoints").glob(".partial-*/*"))  # noqa: E731
            deadline = time.monotonic() + 120
            while not wanted():
                assert all(rank.is_alive() for rank in ranks)
                assert time.monotonic() < deadline
                time.sleep(0.002)
            draw.choice(ranks).kill()
        kills.append(max(lines(out)))
        while_writing += any((out / "checkpoints").glob(".partial-*"))
    assert while_writing
    assert max(kills) < LAST - 1, "it was never killed late"
    run_ranks(2, go, config, shards, out, True)
    ours, theirs = stored(undisturbed, LAST), stored(out, LAST)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    ours, theirs = lines(undisturbed), lines(out)
    for step in range(LAST):
        assert {**ours[step], "seconds": 0, "waited": 0} == {**theirs[step], "seconds": 0, "waited": 0}


def test_two_processes_export_the_whole_average(undisturbed: Path) -> None:
    model = load_model_dir(undisturbed / "model", device=torch.device("cpu"), dtype=torch.float32)
    last = stored(undisturbed, LAST)
    for name, parameter in model.transformer.named_parameters():
        assert torch.equal(parameter, last[f"weights.{name}"]), name


def test_validation_changes_nothing(shards: Path, tmp_path: Path, settings: list[str], undisturbed: Path) -> None:
    # After steps 8 and 12: the end of a stage, and one after which a checkpoint is written.
    out = tmp_path / "out"
    run_ranks(2, go, load_config("mini", [*settings, "validation.every=4"]), shards, out, False)
    for step in (12, LAST):
        ours, theirs = stored(undisturbed, step), stored(out, step)
        assert ours.keys() == theirs.keys()
        assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


def test_a_mistake_is_everyones(tmp_path: Path, settings: list[str], shards: Path) -> None:
    run_ranks(2, expect_mistake, load_config("mini", settings), shards, tmp_path)
    assert sorted(file.read_text() for file in tmp_path.glob("*.txt")) == ["nothing to resume"] * 2


def expect_mistake(config: TrainingConfig, data: Path, folder: Path) -> None:
    try:
        train(config, data=str(data), out=folder / "absent", resume=True)
    except UserError as error:
        (folder / f"{os.getpid()}.txt").write_text(str(error)[:17])


@pytest.mark.slow
@pytest.mark.parametrize(("count", "change"), [(1, []), (4, ["parallel.shard=2"])])
def test_on_another_number_of_processes_the_same_samples_follow(
    shards: Path, tmp_path: Path, settings: list[str], undisturbed: Path, count: int, change: list[str]
) -> None:
    out = tmp_path / "out"
    shutil.copytree(undisturbed, out, ignore=shutil.ignore_patterns("model", "log.jsonl", "board"))
    for folder in (out / "checkpoints").iterdir():
        if folder.name > f"step-{BRANCH:08d}":
            shutil.rmtree(folder)
    run_ranks(count, go, load_config("mini", [*settings, *change]), shards, out, True)
    before, after = lines(undisturbed), lines(out)
    assert min(after) == BRANCH
    assert [after[step]["samples"] for step in after] == [before[step]["samples"] for step in after]
    apart = [abs(after[step]["loss"] / before[step]["loss"] - 1) for step in range(BRANCH, BRANCH + 10)]
    assert apart[0] < 1e-6
    assert max(apart) < 1e-4
