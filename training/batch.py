"""What a step's samples are between the shards and the model: drawn, read and stacked, in pixels or encoded before."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Self

from torch import Tensor


@dataclass(frozen=True)
class Damage:
    """A sample that could not be used."""

    key: str
    reason: str
    unread: bool = False
    """Whether its bytes could not be had, which says nothing about the sample."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """B slots of one step and one bucket: F frames, T = (F - 1) / 4 + 1 latent frames, R references."""

    step: int
    slots: tuple[int, ...]
    """Their places in the step, which other processes share."""
    keys: tuple[str, ...]
    windows: tuple[int, ...]
    """The video frames they begin at."""
    tasks: tuple[str, ...]
    waveform_bs: Tensor
    """float32, 640 samples a frame; zeros where there is no audio."""
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

    def parts(self, size: int) -> Iterator[Self]:
        """Batches of `size` of these samples; 0: one of all."""
        total = len(self.keys)
        for start in range(0, total, size or total):
            chosen = {
                field.name: getattr(self, field.name)[start : start + (size or total)]
                for field in fields(self)
                if field.name not in ("step", "damaged")
            }
            yield replace(self, **chosen)


@dataclass(frozen=True, kw_only=True)
class PixelBatch(Batch):
    """Before any encoder."""

    captions: tuple[str, ...]
    video_bfhwc: Tensor
    """uint8 RGB."""
    references_brhwc: Tensor
    """uint8 RGB, fitted onto white."""


@dataclass(frozen=True, kw_only=True)
class FeatureBatch(Batch):
    """What the encoders made of it before training, as `humo encode` stored it."""

    texts_bld: tuple[Tensor, ...]
    """(tokens, channels) each."""
    latents_bcthw: Tensor
    """Of the video."""
    audio_bfgc: Tensor
    """Features at 25 Hz; zeros where there is no audio."""
    reference_bcrhw: Tensor
    """Latents of the references."""
