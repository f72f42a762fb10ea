import json
from pathlib import Path

import pytest
import torch
from torch import nn

from schemas.errors import UserError
from training.checkpoint import (
    Checkpoint,
    RunIdentity,
    load_newest,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
)

IDENTITY = RunIdentity(meaning={"seed": 0, "stages": [{"name": "a", "steps": 3}]}, manifest="abc")


def checkpoint(step: int) -> Checkpoint:
    return Checkpoint(step, {"w": torch.full((2,), float(step))}, {"w": torch.ones(2)}, {})


def test_the_newest_comes_back_and_the_old_ones_go(tmp_path: Path) -> None:
    assert load_newest(tmp_path / "none", IDENTITY) is None
    for step in (2, 10, 100):
        save_checkpoint(tmp_path, checkpoint(step), IDENTITY, keep=2)
    found = load_newest(tmp_path, IDENTITY)
    assert found is not None
    assert found.step == 100
    assert found.weights["w"].tolist() == [100, 100]
    assert found.ema["w"].tolist() == [1, 1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000010", "step-00000100"]


def test_a_half_written_checkpoint_is_none(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint(2), IDENTITY, keep=2)
    half = tmp_path / ".partial-00000004"
    half.mkdir()
    (half / "weights.safetensors").write_bytes(b"torn")
    found = load_newest(tmp_path, IDENTITY)
    assert found is not None
    assert found.step == 2
    save_checkpoint(tmp_path, checkpoint(4), IDENTITY, keep=2)
    found = load_newest(tmp_path, IDENTITY)
    assert found is not None
    assert found.step == 4


def test_there_is_no_pickle_in_it(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path, checkpoint(2), IDENTITY, keep=2)
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
def test_another_run_is_refused_with_the_difference(tmp_path: Path, identity: RunIdentity, difference: str) -> None:
    save_checkpoint(tmp_path, checkpoint(2), IDENTITY, keep=2)
    with pytest.raises(UserError, match=difference):
        load_newest(tmp_path, identity)


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
    stored = {name: tensor.clone() for name, tensor in optimizer_tensors(optimizer, first).items()}
    assert set(stored) == {f"{what}.{of}" for what in ("step", "exp_avg", "exp_avg_sq") for of in ("weight", "bias")}
    second, optimizer = build()
    with torch.no_grad():
        for name, parameter in second.items():
            parameter.copy_(first[name])
    restore_optimizer(optimizer, second, stored)
    for seed in range(2, 4):
        step(second, optimizer, seed)
    assert all(torch.equal(second[name], straight[name]) for name in straight)


def test_state_is_readable(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path, checkpoint(7), IDENTITY, keep=1)
    state = json.loads((folder / "state.json").read_text())
    assert state == {"step": 7, "meaning": IDENTITY.meaning, "manifest": "abc"}
