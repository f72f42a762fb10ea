"""A batch of pixels, sound and words through the frozen encoders to what the model takes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from humo.checkpoints import Model
from humo.conditions.audio import audio_windows, null_audio
from humo.conditions.reference import null_reference, zero_condition
from humo.conditions.text import clean_text
from humo.encoders import latent_frames
from training.loader import Batch

_KEPT_CAPTIONS = 4096


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


class BatchEncoder:
    """The three frozen encoders and the official nulls. Texts are encoded once and kept."""

    def __init__(self, model: Model, device: torch.device) -> None:
        self._form, self._device = model.transformer.form, device
        self._audio, self._codec = model.audio_encoder, model.codec
        self._text: Callable[[str], Tensor] = lru_cache(maxsize=_KEPT_CAPTIONS)(
            lambda caption: model.text_encoder.encode([clean_text(caption)])[0]
        )
        self._zero = lru_cache(maxsize=8)(self._grey)

    def encode(self, batch: Batch, *, with_audio: bool = True) -> EncodedBatch:
        """Everything of a batch. Without audio the model's audio layers will be switched off."""
        captions = [caption if has else "" for caption, has in zip(batch.captions, batch.has_text_b, strict=True)]
        return EncodedBatch(
            clean_bcthw=self.video(batch.video_bfhwc),
            conditions=Conditions(
                text_bld=self.text(captions),
                audio_btwgc=self.audio(batch) if with_audio else None,
                reference_bcrhw=self.references(batch),
                zero_bcthw=self.zero(batch),
            ),
            noise_bcthw=batch.noise_bcthw.to(self._device),
            time_b=batch.time_b.to(self._device),
            face_mask_bthw=batch.face_mask_bthw.to(self._device, torch.float32),
            weight_b=batch.weight_b.to(self._device),
        )

    def video(self, video_bfhwc: Tensor) -> Tensor:
        """uint8 frames to latents (B, 16, T, h, w)."""
        return self._codec.encode(_pixels(video_bfhwc, self._device))

    def references(self, batch: Batch) -> Tensor:
        """The pictures, each encoded alone, as latents (B, 16, R, h, w); the null where they were dropped."""
        samples, references = batch.references_brhwc.shape[:2]
        alone = _pixels(batch.references_brhwc.flatten(0, 1)[:, None], self._device)
        latents = self._codec.encode(alone)[:, :, 0]
        latents = latents.view(samples, references, *latents.shape[1:]).transpose(1, 2)
        null = null_reference(latents, form=self._form, zero_condition_bcthw=self.zero(batch))
        return torch.where(batch.has_image_b.to(self._device).view(-1, 1, 1, 1, 1), latents, null)

    def text(self, captions: list[str]) -> Tensor:
        """(B, longest, channels), shorter ones padded with zeros."""
        encoded = [self._text(caption) for caption in captions]
        longest = max(len(tokens) for tokens in encoded)
        return torch.stack([functional.pad(tokens, (0, 0, 0, longest - len(tokens))) for tokens in encoded]).to(
            self._device
        )

    def audio(self, batch: Batch) -> Tensor:
        """The windows' sound as audio windows (B, T, 8, groups, channels); the null where there is none."""
        frames = batch.video_bfhwc.shape[1]
        silent = np.zeros(0, np.float32)
        windows = []
        for waveform, has in zip(batch.waveform_bs, batch.has_audio_b, strict=True):
            features = self._audio.encode(waveform.numpy() if has else silent, frames)
            heard = audio_windows(features, latent_frames(frames))
            windows.append(heard if has else null_audio(heard))
        return torch.stack(windows).to(self._device)

    def zero(self, batch: Batch) -> Tensor | None:
        """In the form `channels` the zero condition of the batch's shape."""
        if self._form != "channels":
            return None
        samples, frames, height, width, _ = batch.video_bfhwc.shape
        references = batch.references_brhwc.shape[1]
        return self._zero(frames + 4 * references, height, width).expand(samples, -1, -1, -1, -1)

    def _grey(self, frames: int, height: int, width: int) -> Tensor:
        return zero_condition(self._codec, frames=frames, height=height, width=width)[None].to(self._device)


def _pixels(frames_bfhwc: Tensor, device: torch.device) -> Tensor:
    return frames_bfhwc.to(device).permute(0, 4, 1, 2, 3).float() / 127.5 - 1
