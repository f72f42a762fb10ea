"""Where a run can be taken up again: folders that are there whole or not at all.

Every process writes its own shards while training goes on (torch's distributed checkpoints, as safetensors, so that
nothing is unpickled); any other number of processes can read them. A folder gets its final name when all have written
and `state.json` stands beside the tensors.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load as load_distributed
from torch.distributed.checkpoint.state_dict_saver import async_save

from humo.weights import check_fit
from schemas.errors import UserError

_STATE = "state.json"
_PARTIAL = ".partial-"
_MOMENTS = ("exp_avg", "exp_avg_sq")
_STEPS = "optimizer.steps"


@dataclass(frozen=True)
class RunIdentity:
    """What a resumed run must share with the one that wrote the checkpoint."""

    meaning: dict[str, Any]
    """`TrainingConfig.meaning()`."""
    manifest: str
    """The manifest's fingerprint."""


class Checkpoints:
    """The checkpoints of one run. Every process makes all the calls."""

    def __init__(self, folder: Path, *, keep: int, group: dist.ProcessGroup, first: bool) -> None:
        self._folder, self._keep, self._group, self._first = folder, keep, group, first
        self._pending: tuple[Path, Path, dict[str, Any], Future[Any]] | None = None
        if first:
            for left in folder.glob(f"{_PARTIAL}*"):
                shutil.rmtree(left)

    def save(self, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Copy the tensors and write them in the background. The one before is waited for.

        Args:
            step: how many are done.
            tensors: whole or sharded, by name.
            facts: what else is to be known, as JSON; `identity` among it.
        """
        self.settle(wait=True)
        final = self._folder / f"step-{step:08d}"
        if final.exists():
            return
        partial = self._folder / f"{_PARTIAL}{step:08d}"
        partial.mkdir(parents=True, exist_ok=True)
        writer = HuggingFaceStorageWriter(str(partial), save_distributed=True)
        written = async_save(dict(tensors), storage_writer=writer, process_group=self._group)
        assert isinstance(written, Future)
        self._pending = (partial, final, {"step": step, **facts}, written)

    def settle(self, *, wait: bool) -> None:
        """Give what is written its final name and drop all but the newest; with `wait`, wait until it is written."""
        if self._pending is None or not (wait or self._pending[3].done()):
            return
        partial, final, facts, written = self._pending
        written.result()
        self._pending = None
        if self._first:
            # Its future is done only when all processes have written.
            state = partial / _STATE
            state.write_text(json.dumps(facts, indent=1) + "\n")
            _flush(state)
            partial.rename(final)
            _flush(self._folder)
            for old in complete(self._folder)[: -self._keep]:
                shutil.rmtree(old)

    def load(self, step: int, tensors: Mapping[str, Tensor]) -> None:
        """Fill the tensors, whole or sharded in any way, from the checkpoint after `step` steps.

        Raises UserError where it lacks some of them, or holds them in other shapes.
        """
        folder = self._folder / f"step-{step:08d}"
        reader = HuggingFaceStorageReader(str(folder))
        found = reader.read_metadata().state_dict_metadata
        stored = {name: tuple(one.size) for name, one in found.items() if isinstance(one, TensorStorageMetadata)}
        check_fit({name: tuple(one.shape) for name, one in tensors.items()}, stored, where=str(folder), extras=("*",))
        load_distributed(dict(tensors), storage_reader=reader, process_group=self._group)


def complete(folder: Path) -> list[Path]:
    """The whole checkpoints of a run, the oldest first."""
    return sorted(folder.glob("step-*")) if folder.is_dir() else []


def newest_state(folder: Path) -> dict[str, Any] | None:
    """What the newest checkpoint's `state.json` holds, or None without any."""
    found = complete(folder)
    if not found:
        return None
    state: dict[str, Any] = json.loads((found[-1] / _STATE).read_text())
    return state


def refuse_difference(stored: RunIdentity, wanted: RunIdentity, *, where: Path) -> None:
    """Raise UserError that shows what differs, if anything does."""
    differences = list(_differences(stored.meaning, wanted.meaning, ""))
    if stored.manifest != wanted.manifest:
        differences.append(f"the data: manifest {stored.manifest}, now {wanted.manifest}")
    if differences:
        raise UserError(
            f"{where} is of another run: {'; '.join(differences)}. "
            "Use the same, or another --out, or --accept-changes to go on with the new"
        )


def identity_facts(identity: RunIdentity) -> dict[str, Any]:
    """As `state.json` and `run.json` hold it."""
    return asdict(identity)


def optimizer_tensors(optimizer: torch.optim.Optimizer, parameters: dict[str, nn.Parameter]) -> dict[str, Tensor]:
    """AdamW's state as named tensors, and in one the steps of each parameter, in order of names; 0 before the first."""
    # Asked by `get`: the optimizer's state would grow an empty entry for a parameter that never had a gradient.
    held = {name: optimizer.state.get(one, {}) for name, one in parameters.items()}
    moments = {
        f"optimizer.{moment}.{name}": held[name].get(moment, torch.zeros_like(one))
        for name, one in parameters.items()
        for moment in _MOMENTS
    }
    steps = [float(held[name].get("step", 0)) for name in sorted(parameters)]
    return {**moments, _STEPS: torch.tensor(steps)}


def restore_optimizer(
    optimizer: torch.optim.Optimizer, parameters: dict[str, nn.Parameter], tensors: dict[str, Tensor]
) -> None:
    """Put `optimizer_tensors` back."""
    steps = dict(zip(sorted(parameters), tensors[_STEPS].tolist(), strict=True))
    names = {parameter: name for name, parameter in parameters.items()}
    ordered = [names[parameter] for group in optimizer.param_groups for parameter in group["params"]]
    state = {
        number: {
            "step": torch.tensor(steps[name]),
            **{moment: tensors[f"optimizer.{moment}.{name}"] for moment in _MOMENTS},
        }
        for number, name in enumerate(ordered)
        if steps[name]
    }
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


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
