"""A batch of pixels, sound and words through the frozen encoders to what the model takes."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from humo.checkpoints import Model
from humo.conditions.audio import WINDOW, audio_windows
from humo.conditions.reference import null_reference, zero_condition
from humo.conditions.text import clean_text
from humo.encoders import SAMPLES_PER_FRAME, TextEncoder, latent_frames
from training.batch import Batch, FeatureBatch, PixelBatch
from training.features import NULL_TEXT, null_name

_KEPT_TEXTS = 1 << 30
"""Bytes; a long caption of UMT5 takes 8 MB."""


@dataclass(frozen=True)
class Conditions:
    """What steers a denoising pass."""

    text_bld: Tensor
    audio_btwgc: Tensor | None
    """Windows of the T video frames; None switches the audio layers off, as in stages that know no sync samples."""
    reference_bcrhw: Tensor
    zero_bcthw: Tensor | None
    """In the form `channels`: the latents of a grey video, T + R frames."""


@dataclass(frozen=True)
class EncodedBatch:
    """One step's tensors on the device; T video and R reference latent frames."""

    clean_bcthw: Tensor
    """Normalised latents of the T video frames."""
    conditions: Conditions
    """With the nulls in place of what is missing or was dropped."""
    noise_bcthw: Tensor
    """T + R frames."""
    time_b: Tensor
    """s in (0, 1)."""
    face_mask_bthw: Tensor
    """float32 0 or 1, on the token grid of the T video frames."""
    weight_b: Tensor
    """1, or 0 for a damaged sample."""


class _Texts:
    """Encoded captions, the least recently used dropped when they take more than `limit` bytes."""

    def __init__(self, encoder: TextEncoder, *, limit: int) -> None:
        self._encoder, self._limit, self._used = encoder, limit, 0
        self._kept: OrderedDict[str, Tensor] = OrderedDict()

    def get(self, caption: str) -> Tensor:
        if caption in self._kept:
            self._kept.move_to_end(caption)
            return self._kept[caption]
        text_ld = self._encoder.encode([clean_text(caption)])[0].cpu()
        self._kept[caption] = text_ld
        self._used += text_ld.nbytes
        while self._used > self._limit:
            self._used -= self._kept.popitem(last=False)[1].nbytes
        return text_ld


class BatchEncoder:
    """The three frozen encoders and the official nulls. Encoded texts are kept, on the CPU.

    Args:
        model: whose encoders these are.
        device: where their results go.
        nulls: for batches that were encoded before: `training.features.read_nulls`.
    """

    def __init__(self, model: Model, device: torch.device, nulls: Mapping[str, Tensor] | None = None) -> None:
        self._form, self._device, self._nulls = model.transformer.form, device, nulls
        self._audio, self._codec = model.audio_encoder, model.codec
        sizes = model.transformer.config
        self._audio_shape = (WINDOW, int(sizes["audio_groups"]), int(sizes["audio_dim"]))
        self._texts = _Texts(model.text_encoder, limit=_KEPT_TEXTS)
        self._zero = lru_cache(maxsize=8)(self._grey)

    def encode(self, batch: Batch, *, with_audio: bool = True) -> EncodedBatch:
        """Everything of a batch. Without audio the model's audio layers will be switched off."""
        zero = self.zero(batch)
        if isinstance(batch, PixelBatch):
            clean, texts = self.video(batch.video_bfhwc), self._captions(batch)
            reference = self.pictures(batch.references_brhwc)
        else:
            assert isinstance(batch, FeatureBatch)
            clean, texts = batch.latents_bcthw.to(self._device), self._stored_texts(batch)
            reference = batch.reference_bcrhw.to(self._device)
        null = null_reference(reference, form=self._form, zero_condition_bcthw=zero)
        has_image = batch.has_image_b.to(self._device).view(-1, 1, 1, 1, 1)
        return EncodedBatch(
            clean_bcthw=clean,
            conditions=Conditions(
                text_bld=padded(texts).to(self._device),
                audio_btwgc=self.audio(batch) if with_audio else None,
                reference_bcrhw=torch.where(has_image, reference, null),
                zero_bcthw=zero,
            ),
            noise_bcthw=batch.noise_bcthw.to(self._device),
            time_b=batch.time_b.to(self._device),
            face_mask_bthw=batch.face_mask_bthw.to(self._device, torch.float32),
            weight_b=batch.weight_b.to(self._device),
        )

    def video(self, video_bfhwc: Tensor) -> Tensor:
        """uint8 frames to latents (B, 16, T, h, w)."""
        return self._codec.encode(_pixels(video_bfhwc, self._device))

    def pictures(self, references_brhwc: Tensor) -> Tensor:
        """The references, each encoded alone, as latents (B, 16, R, h, w)."""
        alone = _pixels(references_brhwc.flatten(0, 1)[:, None], self._device)
        latents = self._codec.encode(alone)[:, :, 0]
        return latents.view(*references_brhwc.shape[:2], *latents.shape[1:]).transpose(1, 2)

    def text(self, caption: str) -> Tensor:
        """(tokens, channels), on the CPU."""
        return self._texts.get(caption)

    def sound(self, waveform_s: Tensor, frames: int) -> Tensor:
        """Features (frames, groups, channels)."""
        return self._audio.encode(waveform_s.numpy(), frames)

    def audio(self, batch: Batch) -> Tensor:
        """Audio windows (B, T, 8, groups, channels); the null where there is none."""
        frames = batch.waveform_bs.shape[1] // SAMPLES_PER_FRAME
        length = latent_frames(frames)
        windows = []
        # What stands in a damaged sample's place has no features.
        for place, has in enumerate((batch.has_audio_b & (batch.weight_b > 0)).tolist()):
            if not has:
                windows.append(torch.zeros(length, *self._audio_shape))
            elif isinstance(batch, FeatureBatch):
                windows.append(audio_windows(batch.audio_bfgc[place], length))
            else:
                windows.append(audio_windows(self.sound(batch.waveform_bs[place], frames), length))
        return torch.stack([window.to(self._device) for window in windows])

    def zero(self, batch: Batch) -> Tensor | None:
        """In the form `channels` the zero condition of the batch's shape."""
        if self._form != "channels":
            return None
        samples, _, latents, height, width = batch.noise_bcthw.shape
        return self._zero(4 * (latents - 1) + 1, 8 * height, 8 * width).expand(samples, -1, -1, -1, -1)

    def _captions(self, batch: PixelBatch) -> list[Tensor]:
        return [
            self.text(caption if has else "") for caption, has in zip(batch.captions, batch.has_text_b, strict=True)
        ]

    def _stored_texts(self, batch: FeatureBatch) -> list[Tensor]:
        assert self._nulls is not None
        null = self._nulls[NULL_TEXT]
        kept = (batch.has_text_b & (batch.weight_b > 0)).tolist()
        return [text if has else null for text, has in zip(batch.texts_bld, kept, strict=True)]

    def _grey(self, frames: int, height: int, width: int) -> Tensor:
        if self._nulls is not None:
            return self._nulls[null_name(frames, height, width)][None].to(self._device)
        return zero_condition(self._codec, frames=frames, height=height, width=width)[None].to(self._device)


def padded(texts_ld: Sequence[Tensor]) -> Tensor:
    """(B, longest, channels), shorter ones padded with zeros."""
    longest = max(len(tokens) for tokens in texts_ld)
    return torch.stack([functional.pad(tokens, (0, 0, 0, longest - len(tokens))) for tokens in texts_ld])


def _pixels(frames_bfhwc: Tensor, device: torch.device) -> Tensor:
    return frames_bfhwc.to(device).permute(0, 4, 1, 2, 3).float() / 127.5 - 1
