"""Curves for TensorBoard, and for Weights & Biases where it is installed: means over the steps between two points."""

import importlib.util
import os
import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from training.config import Logging
from training.progress import StepRecord


class Board:
    """Writes curves, if this process is the one to tell.

    Args:
        folder: for the event files.
        settings: how often, and the devices' peak.
        device: of this process.
        devices: how many work together.
        tells: whether anything is written.
    """

    def __init__(self, folder: Path, settings: Logging, *, device: torch.device, devices: int, tells: bool) -> None:
        self._settings, self._device, self._devices = settings, device, devices
        self._records: list[StepRecord] = []
        self._flops = self._tokens = 0.0
        self._writer: Any = None
        self._run: Any = None
        if tells:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder))
            if importlib.util.find_spec("wandb"):
                # Without a key it would ask for one; then its files wait for `wandb sync`.
                mode = "online" if "WANDB_API_KEY" in os.environ else "offline"
                self._run = importlib.import_module("wandb").init(project="humo", dir=str(folder), mode=mode)

    def step(self, record: StepRecord, *, flops: float, tokens: int) -> None:
        """Take a step in: its record, the operations and the tokens of all its samples."""
        if self._writer is None:
            return
        self._records.append(record)
        self._flops, self._tokens = self._flops + flops, self._tokens + tokens
        if (record.step + 1) % self._settings.every == 0:
            self._point()

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """One point of each curve."""
        if self._writer is None:
            return
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        if self._run is not None:
            self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Everything reaches the disk, the steps since the last point too."""
        if self._records:
            self._point()
        if self._writer is not None:
            self._writer.close()
        if self._run is not None:
            self._run.finish()

    def _point(self) -> None:
        self.scalars(self._means(), self._records[-1].step + 1)
        self._records, self._flops, self._tokens = [], 0.0, 0.0

    def _means(self) -> dict[str, float]:
        records, seconds = self._records, sum(record.seconds for record in self._records)
        found: dict[str, list[float | None]] = {
            "loss/all": [record.loss for record in records],
            "loss/subject": [record.loss_subject for record in records],
            "loss/sync": [record.loss_sync for record in records],
            "loss/mask": [record.mask_loss for record in records],
            "optimizer/gradient_norm": [record.gradient_norm for record in records],
            "optimizer/learning_rate": [record.learning_rate for record in records],
            "optimizer/skipped": [float(record.skipped is not None) for record in records],
        }
        for band in range(len(records[0].loss_bands)):
            found[f"loss_by_time/band_{band}"] = [record.loss_bands[band] for record in records]
        means = {}
        for name, values in found.items():
            known = [value for value in values if value is not None]
            if known:
                means[name] = sum(known) / len(known)
        means["speed/samples_per_second"] = sum(record.valid for record in records) / seconds
        means["speed/tokens_per_second"] = self._tokens / seconds
        means["speed/loader_wait_share"] = sum(record.waited for record in records) / seconds
        means["speed/tflops_per_device"] = self._flops / seconds / self._devices / 1e12
        if self._settings.peak_tflops:
            means["speed/mfu"] = means["speed/tflops_per_device"] / self._settings.peak_tflops
        means["memory/gb"] = _peak_bytes(self._device) / 1e9
        return means


def _peak_bytes(device: torch.device) -> int:
    """The most that was in use: of the device's memory, or of the process's without one."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
