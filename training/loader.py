"""Steps of the plan as batches of arrays, read and decoded ahead by worker processes.

What a slot holds follows from (seed, step, slot), so any number of workers yields the same batches in the same order.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from schemas.sample import SAMPLES_PER_FRAME
from training.config import Data, TrainingConfig
from training.dataset import ShardSet
from training.decode import Clip, UInt8, decode_clip
from training.draws import Draw, generator, timestep
from training.framing import LATENT_FRAMES, crop_corner, face_mask, move_box, speaker_boxes, varied_reference
from training.plan import Bucket, Plan, Slot
from training.samples import DamagedSample, read_members

LATENT_CHANNELS = 16
LATENT_PIXELS = 8


@dataclass(frozen=True)
class Damage:
    """A sample that could not be used."""

    key: str
    reason: str


@dataclass(frozen=True)
class Batch:
    """One step's samples before any encoder, B slots of one bucket: T = (F - 1) / 4 + 1 latent frames, R references."""

    step: int
    slots: tuple[int, ...]
    """Their places in the step, which other processes share."""
    keys: tuple[str, ...]
    windows: tuple[int, ...]
    """The video frames they begin at."""
    tasks: tuple[str, ...]
    captions: tuple[str, ...]
    video_bfhwc: Tensor
    """uint8 RGB."""
    waveform_bs: Tensor
    """float32, 640 samples a frame; zeros where there is no audio."""
    references_brhwc: Tensor
    """uint8 RGB, fitted onto white."""
    face_mask_bthw: Tensor
    """bool, on the token grid; the speaker's face in sync samples, else empty."""
    has_audio_b: Tensor
    """bool: a sync sample whose audio was not dropped."""
    has_image_b: Tensor
    """bool: its references were not dropped."""
    has_text_b: Tensor
    """bool: its caption was not dropped."""
    noise_bcthw: Tensor
    """float32 standard normal in latent shape, T + R frames."""
    time_b: Tensor
    """float32, s in (0, 1): 0 is the video, 1 is noise."""
    weight_b: Tensor
    """float32: 1, or 0 for a damaged sample, whose place holds zeros."""
    damaged: tuple[Damage, ...]

    def parts(self, size: int) -> "Iterator[Batch]":
        """Batches of `size` of these samples; 0: one of all."""
        total = len(self.keys)
        for start in range(0, total, size or total):
            chosen = {
                field.name: getattr(self, field.name)[start : start + (size or total)]
                for field in fields(self)
                if field.name not in ("step", "damaged")
            }
            yield replace(self, **chosen)


class ClipCache:
    """Decoded clips, the least recently used dropped when they take more than `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self._limit, self._used = limit, 0
        self._clips: OrderedDict[tuple[str, Bucket], Clip] = OrderedDict()

    def get(self, shards: ShardSet, slot: Slot) -> Clip:
        """The slot's whole clip. Raises DamagedSample."""
        place = (slot.row.key, slot.bucket)
        if place in self._clips:
            self._clips.move_to_end(place)
            return self._clips[place]
        clip = decode_clip(read_members(shards.address(slot.row.shard), slot.row), slot.row, slot.bucket)
        self._clips[place] = clip
        self._used += clip.nbytes
        while self._used > self._limit:
            self._used -= self._clips.popitem(last=False)[1].nbytes
        return clip


@dataclass(frozen=True)
class Window:
    """One slot's caption and arrays, cut and fitted."""

    caption: str
    video_fhwc: UInt8
    waveform_s: np.ndarray[tuple[int], np.dtype[np.float32]]
    references_rhwc: UInt8
    face_mask_thw: np.ndarray[tuple[int, int, int], np.dtype[np.bool_]]


def cut_window(clip: Clip, slot: Slot, *, data: Data, seed: int) -> Window:
    """Cut a slot's frames, sound and face mask out of its clip, and vary its references."""
    bucket, place = slot.bucket, (slot.step, slot.slot)
    frames = slice(slot.first_frame, slot.first_frame + bucket.frames)
    video = clip.video_fhwc[frames]
    scaled, size = (video.shape[1], video.shape[2]), (bucket.height, bucket.width)
    faces = clip.faces[frames]
    of_interest = [box for frame in faces for box in speaker_boxes(frame)]
    of_interest = of_interest or [face.box for frame in faces for face in frame]
    random = generator(seed, Draw.CROP, *place)
    corner = crop_corner(of_interest, scaled=scaled, size=size, random=random)
    video = video[:, corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1]]
    boxes = [
        [moved for box in speaker_boxes(frame) if (moved := move_box(box, scaled=scaled, size=size, corner=corner))]
        for frame in faces
    ]
    mask = face_mask(boxes, size=size)
    if slot.task == "sync" and clip.waveform is not None:
        waveform = clip.waveform[frames.start * SAMPLES_PER_FRAME : frames.stop * SAMPLES_PER_FRAME]
    else:
        waveform = np.zeros(bucket.frames * SAMPLES_PER_FRAME, np.float32)
        mask[:] = False
    random = generator(seed, Draw.REFERENCE, *place)
    references = [
        varied_reference(image, size=size, augmentation=data.augmentation, random=random) for image in clip.references
    ]
    return Window(clip.caption, video, waveform, np.stack(references), mask)


def empty_window(bucket: Bucket) -> Window:
    """What stands in a damaged sample's place."""
    size = (bucket.height, bucket.width)
    return Window(
        "",
        np.zeros((bucket.frames, *size, 3), np.uint8),
        np.zeros(bucket.frames * SAMPLES_PER_FRAME, np.float32),
        np.zeros((bucket.references, *size, 3), np.uint8),
        face_mask([[]] * bucket.frames, size=size),
    )


class Batches(Dataset[Batch]):
    """The plan's steps as batches: item n is step n, or the share of its slots that a process has.

    Args:
        shards: where the samples lie.
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
        windows, damaged = [], []
        for slot in slots:
            try:
                clip = self._cache.get(self._shards, slot)
                windows.append(cut_window(clip, slot, data=self._config.data, seed=self._config.seed))
            except DamagedSample as error:
                windows.append(empty_window(slot.bucket))
                damaged.append(Damage(slot.row.key, str(error)))
        lost = {damage.key for damage in damaged}
        draws = [self._draw(slot) for slot in slots]
        has_text, has_image, has_audio = (torch.tensor([draw[2][which] for draw in draws]) for which in range(3))
        return Batch(
            step=slots[0].step,
            slots=tuple(slot.slot for slot in slots),
            keys=tuple(slot.row.key for slot in slots),
            windows=tuple(slot.first_frame for slot in slots),
            tasks=tuple(slot.task for slot in slots),
            captions=tuple(window.caption for window in windows),
            video_bfhwc=_stack([window.video_fhwc for window in windows]),
            waveform_bs=_stack([window.waveform_s for window in windows]),
            references_brhwc=_stack([window.references_rhwc for window in windows]),
            face_mask_bthw=_stack([window.face_mask_thw for window in windows]),
            has_audio_b=has_audio & torch.tensor([slot.task == "sync" for slot in slots]),
            has_image_b=has_image,
            has_text_b=has_text,
            noise_bcthw=_stack([draw[0] for draw in draws]),
            time_b=torch.tensor([draw[1] for draw in draws], dtype=torch.float32),
            weight_b=torch.tensor([0.0 if slot.row.key in lost else 1.0 for slot in slots]),
            damaged=tuple(damaged),
        )

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
        return noise, timestep(normal, self._config.objective.shift), stays.tolist()


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


def _stack(arrays: Sequence[np.ndarray[tuple[int, ...], np.dtype[np.generic]]]) -> Tensor:
    return torch.from_numpy(np.stack(arrays))
