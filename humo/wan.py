"""The real encoders: UMT5 for text, Wan's VAE for video, Whisper for speech, each from a local folder."""

from pathlib import Path
from typing import Any

import numpy
import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from transformers import AutoTokenizer, UMT5EncoderModel, WhisperFeatureExtractor, WhisperModel

from humo.conditions.audio import group_hidden_states
from humo.encoders import SAMPLE_RATE, SAMPLES_PER_FRAME

TEXT_LENGTH = 512
CHUNK_SECONDS = 30
"""Whisper's field of view; longer speech is encoded chunk by chunk (official code)."""


class UMT5TextEncoder:
    """See `humo.encoders.TextEncoder`."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        """A `UMT5EncoderModel` and its tokenizer."""
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer

    @classmethod
    def load(cls, folder: Path, device: torch.device, dtype: torch.dtype) -> "UMT5TextEncoder":
        """From a folder with both the model and the tokenizer."""
        model: Any = UMT5EncoderModel.from_pretrained(folder, dtype=dtype, local_files_only=True, use_safetensors=True)
        return cls(model.to(device), AutoTokenizer.from_pretrained(folder, local_files_only=True))

    def save(self, folder: Path) -> None:
        """Write model and tokenizer."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    @torch.no_grad()
    def encode(self, texts: list[str]) -> Tensor:
        """At most 512 tokens a text; padding is masked inside the encoder and zero in its output (official code)."""
        tokens = self.tokenizer(
            texts,
            padding=True,
            truncation=True,
            max_length=TEXT_LENGTH,
            return_tensors="pt",
        ).to(self.model.device)
        output = self.model(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask)
        features: Tensor = output.last_hidden_state.float() * tokens.attention_mask[..., None]
        return features


class WanCodec:
    """See `humo.encoders.VideoCodec`: the posterior's mean, normalised per channel (official code)."""

    spatial_stride = 8
    temporal_stride = 4

    def __init__(self, model: Any) -> None:
        """A diffusers `AutoencoderKLWan`."""
        self.model = model.eval().requires_grad_(False)
        shape = (1, -1, 1, 1, 1)
        self.mean = torch.tensor(self.model.config.latents_mean).view(shape)
        self.std = torch.tensor(self.model.config.latents_std).view(shape)

    @classmethod
    def load(cls, folder: Path, device: torch.device, dtype: torch.dtype) -> "WanCodec":
        """From a folder in diffusers' layout. `dtype` is for the transformer: the VAE stays in float32."""
        model = AutoencoderKLWan.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        return cls(model.to(device))

    def save(self, folder: Path) -> None:
        """Write the VAE."""
        self.model.save_pretrained(folder)

    @torch.no_grad()
    def encode(self, video_bcthw: Tensor) -> Tensor:
        """See the protocol."""
        latents = self.model.encode(video_bcthw.to(self.model.device, self.model.dtype)).latent_dist.mode().float()
        normalised: Tensor = (latents - self.mean.to(latents)) / self.std.to(latents)
        return normalised

    @torch.no_grad()
    def decode(self, latents_bcthw: Tensor) -> Tensor:
        """See the protocol."""
        latents = latents_bcthw.to(self.model.device).float()
        latents = latents * self.std.to(latents) + self.mean.to(latents)
        video: Tensor = self.model.decode(latents.to(self.model.dtype)).sample
        return video.float().clamp(-1, 1)


class WhisperAudioEncoder:
    """See `humo.encoders.AudioEncoder`; needs a Whisper of 32 encoder layers."""

    def __init__(self, model: Any, extractor: WhisperFeatureExtractor) -> None:
        """A transformers `WhisperModel` and its feature extractor."""
        self.model = model.eval().requires_grad_(False)
        self.extractor = extractor

    @classmethod
    def load(cls, folder: Path, device: torch.device, dtype: torch.dtype) -> "WhisperAudioEncoder":
        """From a folder in transformers' layout. `dtype` is for the transformer: Whisper stays in float32."""
        model: Any = WhisperModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        return cls(model.to(device), WhisperFeatureExtractor.from_pretrained(folder, local_files_only=True))

    def save(self, folder: Path) -> None:
        """Write model and feature extractor."""
        self.model.save_pretrained(folder)
        self.extractor.save_pretrained(folder)

    @torch.no_grad()
    def encode(self, waveform_s: NDArray[numpy.float32], frames: int) -> Tensor:
        """Hidden states of every 30 s chunk, cut to the sound's length, grouped and brought to 25 Hz."""
        heard = len(waveform_s) // SAMPLES_PER_FRAME
        chunk = CHUNK_SECONDS * SAMPLE_RATE
        states = [self._hidden_states(waveform_s[start : start + chunk]) for start in range(0, len(waveform_s), chunk)]
        if heard == 0:
            return torch.zeros(frames, 5, self.model.config.d_model, device=self.model.device)
        features = group_hidden_states(torch.cat(states)[: 2 * heard])
        return functional.pad(features, (0, 0, 0, 0, 0, frames - len(features)))

    def _hidden_states(self, waveform_s: NDArray[numpy.float32]) -> Tensor:
        """(1500, 33, channels) of one chunk, padded to 30 s."""
        mel = self.extractor(waveform_s, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_features
        output = self.model.encoder(mel.to(self.model.device, self.model.dtype), output_hidden_states=True)
        return torch.stack(output.hidden_states, dim=2)[0].float()
