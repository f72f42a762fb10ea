"""Samples that training does not see, measured with nothing left to chance: steady windows, noise, times, nulls."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import torch
from torch import Tensor

from humo.transformer import HuMoTransformer
from training.batch import Batch
from training.config import Augmentation, TrainingConfig
from training.dataset import IndexRow, ShardSet
from training.draws import timestep
from training.encoding import BatchEncoder, Conditions, EncodedBatch
from training.loader import LATENT_PIXELS, Batches
from training.objective import predict, squared_error
from training.plan import Bucket, Plan, Slot, Task, bucket_of
from training.reading import ReadFailed
from training.step import autocast


class HeldOut:
    """Windows of any samples, loaded without augmentation and dropout, with noise of steps beyond training's."""

    def __init__(self, shards: ShardSet, plan: Plan, config: TrainingConfig) -> None:
        steady = Augmentation(flip=0, smallest_scale=1, colour=0)
        data = config.data.model_copy(update={"augmentation": steady})
        self._batches = Batches(shards, plan, config.model_copy(update={"data": data}))
        self.config = config
        self.first_step = plan.total_steps
        """The first step that training does not have."""
        quantiles = (np.arange(config.validation.timesteps) + 0.5) / config.validation.timesteps
        self._normals = [NormalDist().inv_cdf(quantile) for quantile in quantiles]

    def slots(self, rows: Sequence[IndexRow], *, windows: int, beyond: int) -> dict[Bucket, list[Slot]]:
        """Evenly spread windows of each row, in the step that lies so far beyond training's last."""
        found: dict[Bucket, list[Slot]] = defaultdict(list)
        for row in rows:
            bucket = bucket_of(row, self.config.data)
            if bucket is None:
                continue
            for first in np.linspace(0, row.frames - bucket.frames, windows).round():
                task: Task = "sync" if row.tier == "sync" else "subject"
                place = len(found[bucket])
                found[bucket].append(Slot(self.first_step + beyond, place, task, row, bucket, int(first)))
        return found

    def load(self, slots: Sequence[Slot]) -> Batch:
        """Their batch; every condition that a sample has is there. Raises ReadFailed."""
        kept = torch.ones(len(slots), dtype=torch.bool)
        has_audio = torch.tensor([slot.task == "sync" for slot in slots])
        batch = self._batches.load(slots)
        if unread := [damage for damage in batch.damaged if damage.unread]:
            raise ReadFailed(f"held-out sample {unread[0].key}: {unread[0].reason}")
        return replace(batch, has_text_b=kept, has_image_b=kept, has_audio_b=has_audio)

    def encode(self, encoder: BatchEncoder, slots: Sequence[Slot]) -> EncodedBatch:
        """Their batch, encoded."""
        return encoder.encode(self.load(slots))

    @torch.no_grad()
    def errors(self, model: HuMoTransformer, own: EncodedBatch, conditions: Conditions) -> Tensor:
        """Squared errors (B, T, h, w) on the CPU, means over channels and over the times at even quantiles."""
        height, width = (LATENT_PIXELS * side for side in own.clean_bcthw.shape[-2:])
        shift = self.config.objective.shift_of(height, width)
        total = torch.zeros(())
        for time in (timestep(normal, shift) for normal in self._normals):
            with autocast(self.config, own.time_b.device):
                output = predict(
                    model,
                    clean_bcthw=own.clean_bcthw,
                    noise_bcthw=own.noise_bcthw,
                    time_b=torch.full_like(own.time_b, time),
                    conditions=conditions,
                )
            total = total + squared_error(output, own.clean_bcthw, own.noise_bcthw).mean(dim=1).cpu()
        return total / len(self._normals)
