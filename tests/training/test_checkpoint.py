from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from schemas.errors import UserError
from training.checkpoint import (
    Checkpoints,
    RunIdentity,
    complete,
    newest_state,
    optimizer_tensors,
    refuse_difference,
    restore_optimizer,
)
from training.config import Parallel
from training.parallel import joined

IDENTITY = RunIdentity(meaning={"seed": 0, "stages": [{"name": "a", "steps": 3}]}, manifest="abc")


@pytest.fixture
def checkpoints(tmp_path: Path) -> Iterator[Checkpoints]:
    with joined(Parallel(), device="cpu") as world:
        yield Checkpoints(tmp_path / "kept", keep=2, group=world.files, first=True)


def tensors(value: float) -> dict[str, torch.Tensor]:
    return {"weights.w": torch.full((2,), value), "ema.w": torch.full((2, 3), -value)}


def test_the_newest_comes_back_and_the_old_ones_go(checkpoints: Checkpoints, tmp_path: Path) -> None:
    assert newest_state(tmp_path / "kept") is None
    for step in (2, 10, 100):
        checkpoints.save(step, tensors(step), {"stage": "a"})
    checkpoints.settle(wait=True)
    assert newest_state(tmp_path / "kept") == {"step": 100, "stage": "a"}
    assert [path.name for path in sorted((tmp_path / "kept").iterdir())] == ["step-00000010", "step-00000100"]
    found = tensors(0)
    checkpoints.load(10, found)
    assert {name: value.unique().tolist() for name, value in found.items()} == {"weights.w": [10], "ema.w": [-10]}


def test_what_changes_while_it_is_written_does_not_count(checkpoints: Checkpoints) -> None:
    given = tensors(7)
    checkpoints.save(1, given, {})
    for value in given.values():
        value.zero_()
    checkpoints.settle(wait=True)
    found = tensors(0)
    checkpoints.load(1, found)
    assert found["weights.w"].tolist() == [7, 7]


def test_until_all_is_written_there_is_none(checkpoints: Checkpoints, tmp_path: Path) -> None:
    checkpoints.save(2, tensors(2), {})
    assert complete(tmp_path / "kept") == []
    checkpoints.settle(wait=True)
    assert len(complete(tmp_path / "kept")) == 1


def test_what_a_kill_left_half_written_goes(checkpoints: Checkpoints, tmp_path: Path) -> None:
    checkpoints.save(2, tensors(2), {})
    checkpoints.settle(wait=True)
    half = tmp_path / "kept" / ".partial-00000004"
    half.mkdir()
    (half / "shard-00001-model-00001-of-00001.safetensors").write_bytes(b"torn")
    again = Checkpoints(tmp_path / "kept", keep=2, group=checkpoints._group, first=True)
    assert not half.exists()
    again.save(4, tensors(4), {})
    again.settle(wait=True)
    assert newest_state(tmp_path / "kept") == {"step": 4}


def test_there_is_no_pickle_in_it(checkpoints: Checkpoints, tmp_path: Path) -> None:
    checkpoints.save(2, tensors(2), {})
    checkpoints.settle(wait=True)
    [folder] = complete(tmp_path / "kept")
    assert {path.suffix for path in folder.iterdir()} == {".json", ".safetensors"}


@pytest.mark.parametrize(
    ("identity", "difference"),
    [
        (RunIdentity({**IDENTITY.meaning, "seed": 1}, "abc"), "seed was 0, is now 1"),
        (RunIdentity({**IDENTITY.meaning, "new": "x"}, "abc"), 'new was null, is now "x"'),
        (RunIdentity({"seed": 0, "stages": [{"name": "a", "steps": 4}]}, "abc"), r"stages\.0\.steps was 3, is now 4"),
        (RunIdentity({"seed": 0, "stages": []}, "abc"), "stages was .* is now"),
        (RunIdentity(IDENTITY.meaning, "def"), "manifest abc, now def"),
    ],
)
def test_another_run_is_refused_with_the_difference(identity: RunIdentity, difference: str) -> None:
    refuse_difference(IDENTITY, IDENTITY, where=Path("out"))
    with pytest.raises(UserError, match=difference):
        refuse_difference(IDENTITY, identity, where=Path("out"))


def test_optimizer_goes_on_as_if_nothing_had_happened() -> None:
    def build() -> tuple[dict[str, nn.Parameter], torch.optim.AdamW]:
        torch.manual_seed(0)
        layer = nn.Linear(3, 2)
        parameters = {**dict(layer.named_parameters()), "never": nn.Parameter(torch.ones(1))}
        groups = [{"params": [layer.weight], "weight_decay": 0.1}, {"params": [layer.bias, parameters["never"]]}]
        return parameters, torch.optim.AdamW(groups, lr=0.1)

    def step(parameters: dict[str, nn.Parameter], optimizer: torch.optim.AdamW, seed: int) -> None:
        draw = torch.Generator().manual_seed(seed)
        for name in ("weight", "bias"):
            parameters[name].grad = torch.randn(parameters[name].shape, generator=draw)
        optimizer.step()

    straight, optimizer = build()
    for seed in range(4):
        step(straight, optimizer, seed)
    first, optimizer = build()
    for seed in range(2):
        step(first, optimizer, seed)
    optimizer_tensors(optimizer, first)  # Telling it twice tells the same.
    stored = {name: tensor.clone() for name, tensor in optimizer_tensors(optimizer, first).items()}
    assert stored["optimizer.steps"].tolist() == [2, 0, 2]
    second, optimizer = build()
    with torch.no_grad():
        for name, parameter in second.items():
            parameter.copy_(first[name])
    restore_optimizer(optimizer, second, stored)
    for seed in range(2, 4):
        step(second, optimizer, seed)
    assert all(torch.equal(second[name], straight[name]) for name in straight)
