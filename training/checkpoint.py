"""Where a run can be taken up again: complete folders of safetensors and JSON, each there whole or not at all."""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from schemas.errors import UserError

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")
_STATE, _WEIGHTS, _EMA, _OPTIMIZER = "state.json", "weights.safetensors", "ema.safetensors", "optimizer.safetensors"


@dataclass(frozen=True)
class RunIdentity:
    """What a resumed run must share with the one that wrote the checkpoint."""

    meaning: dict[str, Any]
    """`TrainingConfig.meaning()`."""
    manifest: str
    """The manifest's fingerprint."""


@dataclass(frozen=True)
class Checkpoint:
    """A run after `step` steps. At the very start of a stage there is neither average nor optimizer."""

    step: int
    weights: dict[str, Tensor]
    ema: dict[str, Tensor]
    optimizer: dict[str, Tensor]


def save_checkpoint(folder: Path, checkpoint: Checkpoint, identity: RunIdentity, *, keep: int) -> Path:
    """Write a checkpoint under its final name only when it is complete, then drop all but the newest `keep`."""
    final = folder / f"step-{checkpoint.step:08d}"
    if final.exists():
        return final
    partial = folder / f".partial-{checkpoint.step:08d}"
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    save_file(_plain(checkpoint.weights), partial / _WEIGHTS)
    save_file(_plain(checkpoint.ema), partial / _EMA)
    save_file(_plain(checkpoint.optimizer), partial / _OPTIMIZER)
    (partial / _STATE).write_text(json.dumps({"step": checkpoint.step, **asdict(identity)}, indent=1) + "\n")
    for file in sorted(partial.iterdir()):
        _flush(file)
    partial.rename(final)
    _flush(folder)
    for old in _complete(folder)[:-keep]:
        shutil.rmtree(old)
    return final


def load_newest(folder: Path, identity: RunIdentity) -> Checkpoint | None:
    """The newest checkpoint, or None. Raises UserError with the difference if another run wrote it."""
    complete = _complete(folder)
    if not complete:
        return None
    state = json.loads((complete[-1] / _STATE).read_text())
    refuse_difference(RunIdentity(meaning=state["meaning"], manifest=state["manifest"]), identity, where=complete[-1])
    return Checkpoint(
        step=state["step"],
        weights=load_file(complete[-1] / _WEIGHTS),
        ema=load_file(complete[-1] / _EMA),
        optimizer=load_file(complete[-1] / _OPTIMIZER),
    )


def refuse_difference(stored: RunIdentity, wanted: RunIdentity, *, where: Path) -> None:
    """Raise UserError that shows what differs, if anything does."""
    differences = list(_differences(stored.meaning, wanted.meaning, ""))
    if stored.manifest != wanted.manifest:
        differences.append(f"the data: manifest {stored.manifest}, now {wanted.manifest}")
    if differences:
        raise UserError(f"{where} is of another run: {'; '.join(differences)}. Use the same, or another --out")


def optimizer_tensors(optimizer: torch.optim.Optimizer, parameters: dict[str, nn.Parameter]) -> dict[str, Tensor]:
    """AdamW's state as named tensors. Parameters that never had a gradient have none."""
    return {
        f"{moment}.{name}": optimizer.state[parameter][moment]
        for name, parameter in parameters.items()
        if parameter in optimizer.state
        for moment in _MOMENTS
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer, parameters: dict[str, nn.Parameter], tensors: dict[str, Tensor]
) -> None:
    """Put `optimizer_tensors` back."""
    names = {parameter: name for name, parameter in parameters.items()}
    ordered = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state = {
        number: {moment: tensors[f"{moment}.{names[parameter]}"] for moment in _MOMENTS}
        for number, parameter in enumerate(ordered)
        if f"step.{names[parameter]}" in tensors
    }
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _complete(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*")) if folder.is_dir() else []


def _plain(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _differences(stored: Any, wanted: Any, place: str) -> Iterator[str]:
    if isinstance(stored, dict) and isinstance(wanted, dict):
        for name in sorted(stored.keys() | wanted.keys()):
            yield from _differences(stored.get(name), wanted.get(name), f"{place}.{name}" if place else name)
    elif isinstance(stored, list) and isinstance(wanted, list) and len(stored) == len(wanted):
        for number, (before, after) in enumerate(zip(stored, wanted, strict=True)):
            yield from _differences(before, after, f"{place}.{number}")
    elif stored != wanted:
        yield f"{place} was {json.dumps(stored)}, is now {json.dumps(wanted)}"
