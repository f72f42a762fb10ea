"""Steps of the plan as batches of arrays, read and decoded ahead by worker processes.

What a slot holds follows from (seed, step, slot), so any number of workers yields the same batches in the same order.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from training.batch import Batch, Damage
from training.config import TrainingConfig
from training.dataset import ShardSet
from training.draws import Draw, generator, timestep
from training.features import Features, empty_features, feature_batch, read_features
from training.framing import LATENT_FRAMES
from training.plan import Plan, Slot
from training.reading import ReadFailed
from training.samples import DamagedSample
from training.windows import ClipCache, Window, cut_window, empty_window, pixel_batch, stacked

Item = TypeVar("Item")
LATENT_CHANNELS = 16
LATENT_PIXELS = 8


class Batches(Dataset[Batch]):
    """The plan's steps as batches: item n is step n, or the share of its slots that a process has.

    Args:
        shards: where the samples lie, in pixels or encoded.
        plan: which are in which step.
        config: how they are cut and varied.
        share: (number, how many): the slots are dealt in runs to so many processes.
    """

    def __init__(
        self, shards: ShardSet, plan: Plan, config: TrainingConfig, *, share: tuple[int, int] = (0, 1)
    ) -> None:
        self._shards, self._plan, self._config, self._share = shards, plan, config, share
        self._cache = ClipCache(config.data.cache_mb << 20)

    def __len__(self) -> int:
        return self._plan.total_steps

    def __getitem__(self, step: int) -> Batch:
        number, shares = self._share
        slots = self._plan.slots(step)
        length = len(slots) // shares
        return self.load(slots[number * length : (number + 1) * length])

    def load(self, slots: Sequence[Slot]) -> Batch:
        """Read, decode and cut these slots, which share a bucket, and draw their noise, time and dropout."""
        if self._shards.manifest.features:
            return self._loaded(slots, self._features, empty_features, feature_batch)
        return self._loaded(slots, self._window, lambda slot: empty_window(slot.bucket), pixel_batch)

    def _window(self, slot: Slot) -> Window:
        place = (slot.step, slot.slot)
        return cut_window(
            self._cache.get(self._shards, slot),
            slot,
            augmentation=self._config.data.augmentation,
            crop=generator(self._config.seed, Draw.CROP, *place),
            variation=generator(self._config.seed, Draw.REFERENCE, *place),
        )

    def _features(self, slot: Slot) -> Features:
        random = generator(self._config.seed, Draw.REFERENCE, slot.step, slot.slot)
        varied = self._config.data.augmentation.varies
        return read_features(self._shards, slot, variant=float(random.random()) if varied else 0.0)

    def _loaded(
        self,
        slots: Sequence[Slot],
        read: Callable[[Slot], Item],
        empty: Callable[[Slot], Item],
        together: Callable[[Sequence[Item], dict[str, Any]], Batch],
    ) -> Batch:
        items, damaged = [], []
        for slot in slots:
            try:
                items.append(read(slot))
            except DamagedSample as error:
                items.append(empty(slot))
                damaged.append(Damage(slot.row.key, str(error)))
            except ReadFailed as error:
                # What reads ahead only tells of it: all processes of the run are to stop, and at the same step.
                items.append(empty(slot))
                damaged.append(Damage(slot.row.key, str(error), unread=True))
        lost = {damage.key for damage in damaged}
        draws = [self._draw(slot) for slot in slots]
        has_text, has_image, has_audio = (torch.tensor([draw[2][which] for draw in draws]) for which in range(3))
        common = {
            "step": slots[0].step,
            "slots": tuple(slot.slot for slot in slots),
            "keys": tuple(slot.row.key for slot in slots),
            "windows": tuple(slot.first_frame for slot in slots),
            "tasks": tuple(slot.task for slot in slots),
            "has_audio_b": has_audio & torch.tensor([slot.task == "sync" for slot in slots]),
            "has_image_b": has_image,
            "has_text_b": has_text,
            "noise_bcthw": stacked([draw[0] for draw in draws]),
            "time_b": torch.tensor([draw[1] for draw in draws], dtype=torch.float32),
            "weight_b": torch.tensor([0.0 if slot.row.key in lost else 1.0 for slot in slots]),
            "damaged": tuple(damaged),
        }
        return together(items, common)

    def _draw(self, slot: Slot) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.float32]], float, list[bool]]:
        """A slot's noise (16, T + R, h, w), its time and which of text, image and audio stay."""
        seed, place, bucket = self._config.seed, (slot.step, slot.slot), slot.bucket
        latents = (bucket.frames - 1) // LATENT_FRAMES + 1 + bucket.references
        shape = (LATENT_CHANNELS, latents, bucket.height // LATENT_PIXELS, bucket.width // LATENT_PIXELS)
        noise = generator(seed, Draw.NOISE, *place).standard_normal(shape, np.float32)
        normal = float(generator(seed, Draw.TIMESTEP, *place).standard_normal())
        dropout = self._config.objective.dropout
        rates = np.array([dropout.text, dropout.image, dropout.audio])
        stays = generator(seed, Draw.DROPOUT, *place).random(3) >= rates
        shift = self._config.objective.shift_of(bucket.height, bucket.width)
        return noise, timestep(normal, shift), stays.tolist()


def batches_from(batches: Batches, first_step: int, *, workers: int) -> Iterator[Batch]:
    """The batches of all steps from `first_step` on, in order, read ahead by `workers` processes.

    The processes are forked, because importing the model's packages anew would take longer than a small run's first
    hundred steps. So this is to be called before threads are started that a fork would cut off.
    """
    loader: DataLoader[Batch] = DataLoader(
        batches,
        batch_size=None,
        sampler=range(first_step, len(batches)),
        num_workers=workers,
        multiprocessing_context="fork" if workers else None,
        prefetch_factor=2 if workers else None,
    )
    return iter(loader)
