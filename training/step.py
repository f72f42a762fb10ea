"""One optimizer step: the losses of this process's samples, gradients over all processes, clipping, update."""

import time
import zlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from humo.transformer import HuMoTransformer
from training.batch import Batch
from training.config import Stage, TrainingConfig
from training.encoding import BatchEncoder
from training.objective import Counts, count, losses
from training.parallel import World, whole
from training.progress import StepRecord
from training.stages import keep_old_inputs

BANDS = 4
"""Equal parts of the time s, whose losses are told apart."""


@dataclass(frozen=True)
class Gradients:
    """What the passes of a step left besides the parameters' gradients. The same on every process."""

    loss: float
    """Velocity loss, a mean over the valid samples of all processes."""
    mask_loss: float
    norm: float
    """Before clipping."""
    sums: Mapping[str, float]
    """Over all processes: see `_sums`."""


def autocast(config: TrainingConfig, device: torch.device) -> AbstractContextManager[object]:
    """Matrix products in the configuration's precision. Weights that were cast are not kept: they are all weights."""
    half = config.precision == "bfloat16"
    return torch.autocast(device.type, torch.bfloat16, enabled=half, cache_enabled=False)


def backward(
    model: HuMoTransformer,
    encoder: BatchEncoder,
    batch: Batch,
    parameters: Mapping[str, nn.Parameter],
    *,
    config: TrainingConfig,
    world: World,
    stage: Stage,
) -> Gradients:
    """Fill the parameters' gradients with those of the step's loss, clipped. Every process calls it with its share."""
    batch = replace(batch, weight_b=world.least(batch.weight_b))
    own = count(batch.face_mask_bthw, batch.weight_b)
    counted = world.totals({"samples": own.samples, "faces": own.faces})
    counts = Counts(**counted)
    for parameter in parameters.values():
        parameter.grad = None
    velocities, velocity, mask = [], 0.0, 0.0
    for part in batch.parts(config.parallel.micro_batch):
        encoded = encoder.encode(part, with_audio=stage.uses_sync)
        with autocast(config, world.device):
            found = losses(model, encoded, config.objective, counts)
        (found.total / world.sequence).backward()  # type: ignore[no-untyped-call]
        velocities.append(found.velocity_b.cpu())
        velocity, mask = velocity + float(found.velocity), mask + float(found.mask)
    keep_old_inputs(parameters, stage, model.latent_channels)
    norm = nn.utils.clip_grad_norm_(parameters.values(), config.optimizer.clip_norm)
    sums = world.totals({"loss": velocity, "mask": mask, **_sums(batch, torch.cat(velocities))})
    return Gradients(loss=sums["loss"], mask_loss=sums["mask"], norm=float(whole(norm)), sums=sums)


def _sums(batch: Batch, velocity_b: Tensor) -> dict[str, float]:
    """Losses and numbers of this process's valid samples by task and by band, and a checksum of all its samples."""
    valid_b = batch.weight_b > 0
    groups = {task: torch.tensor([one == task for one in batch.tasks]) for task in ("subject", "sync")}
    band_b = (batch.time_b * BANDS).long().clamp(0, BANDS - 1)
    groups |= {f"band{band}": band_b == band for band in range(BANDS)}
    sums: dict[str, float] = {"valid": float(valid_b.sum()), "checksum": float(sum(_checksums(batch)))}
    for name, chosen_b in groups.items():
        sums[f"{name}_loss"] = float(velocity_b[chosen_b & valid_b].double().sum())
        sums[f"{name}_count"] = float((chosen_b & valid_b).sum())
    return sums


def _checksums(batch: Batch) -> list[int]:
    """A number below 2^32 for each sample: in float64 two million of them add up exactly, in any order."""
    drawn = zip(batch.slots, batch.keys, batch.windows, batch.time_b.tolist(), _kept(batch), strict=True)
    return [zlib.crc32(repr(one).encode()) for one in drawn]


def _kept(batch: Batch) -> list[list[bool]]:
    kept: list[list[bool]] = torch.stack((batch.has_text_b, batch.has_image_b, batch.has_audio_b), dim=1).tolist()
    return kept


def record(
    found: Gradients, *, step: int, stage: str, rate: float, skipped: str | None, began: float, waited: float
) -> StepRecord:
    """The step's line in the log."""

    def mean(name: str) -> float | None:
        counted = found.sums[f"{name}_count"]
        return found.sums[f"{name}_loss"] / counted if counted else None

    return StepRecord(
        step=step,
        stage=stage,
        loss=found.loss,
        loss_subject=mean("subject"),
        loss_sync=mean("sync"),
        loss_bands=tuple(mean(f"band{band}") for band in range(BANDS)),
        mask_loss=found.mask_loss,
        gradient_norm=found.norm,
        learning_rate=rate,
        valid=int(found.sums["valid"]),
        samples=f"{int(found.sums['checksum']):x}",
        skipped=skipped,
        seconds=round(time.monotonic() - began, 4),
        waited=round(waited, 4),
    )
