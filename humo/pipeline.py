"""Text, reference images and speech to frames, with all the encoders of a model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor

from humo.checkpoints import Weights, load_model_dir
from humo.conditions.audio import audio_windows
from humo.conditions.reference import encode_references, fit_reference, zero_condition
from humo.conditions.text import clean_text
from humo.encoders import SAMPLES_PER_FRAME, latent_frames
from humo.generation import OnStep, sample
from humo.guidance import Guidance, Mode
from humo.memory import check_room
from humo.request import check_frames, check_size, check_text, choose_mode
from humo.residence import AllResident, Offload, OneAtATime, Parts
from humo.residual_cache import Reuse


@dataclass(frozen=True)
class HuMoPipeline:
    """Generates videos with one model."""

    parts: Parts
    """The model; see `humo.residence`."""
    processes: int = 1
    """How many share each video; see `humo.sequence_parallel`."""

    @classmethod
    def from_directory(
        cls,
        directory: Path,
        *,
        device: torch.device,
        dtype: torch.dtype,
        offload: Offload = "none",
        weights: Weights = "full",
    ) -> "HuMoPipeline":
        """With the model of a model directory.

        Args:
            directory: see `humo.checkpoints.load_model_dir`; so for errors.
            device: where the work is done.
            dtype: of the transformer's and the text encoder's weights; what is delicate stays in float32.
            offload: what is in the device's memory; see `humo.residence`.
            weights: in how many bits they are held; see `humo.checkpoints.Weights`.
        """
        if offload == "none":
            return cls(AllResident(load_model_dir(directory, device=device, dtype=dtype, weights=weights), device))
        return cls(
            OneAtATime(directory, device=device, dtype=dtype, stream_layers=offload == "blocks", weights=weights)
        )

    def __call__(
        self,
        prompt: str,
        *,
        images: Sequence[NDArray[numpy.uint8]] = (),
        speech_s: NDArray[numpy.float32] | None = None,
        negative_prompt: str | None = None,
        num_frames: int | None = None,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int | None = None,
        seed: int = 0,
        mode: Mode | None = None,
        guidance: Guidance | None = None,
        on_step: OnStep | None = None,
        reuse: Reuse | None = None,
    ) -> NDArray[numpy.uint8]:
        """`generate` under the argument names that diffusers' pipelines have."""
        return self.generate(
            text=prompt,
            images=images,
            speech_s=speech_s,
            negative_text=negative_prompt,
            frames=num_frames,
            height=height,
            width=width,
            steps=num_inference_steps,
            seed=seed,
            mode=mode,
            guidance=guidance,
            on_step=on_step,
            reuse=reuse,
        )

    def generate(
        self,
        *,
        text: str,
        images: Sequence[NDArray[numpy.uint8]] = (),
        speech_s: NDArray[numpy.float32] | None = None,
        frames: int | None = None,
        height: int | None = None,
        width: int | None = None,
        steps: int | None = None,
        seed: int = 0,
        mode: Mode | None = None,
        negative_text: str | None = None,
        guidance: Guidance | None = None,
        on_step: OnStep | None = None,
        reuse: Reuse | None = None,
    ) -> NDArray[numpy.uint8]:
        """Generate one video.

        Args:
            text: what it shows.
            images: reference images, RGB (height, width, 3) of any size, best first.
            speech_s: 16 kHz mono in [-1, 1]; past its end the video hears nothing.
            frames: 4n+1; the model's default when None, as the next three. Longer videos than the default are made in
                overlapping windows of its length; see `humo.windows`.
            height: pixels, divides by 16.
            width: pixels, divides by 16.
            steps: sampling steps.
            seed: of the noise; the same seed repeats the video on the same machine.
            mode: the conditions to use; all that were given when None.
            negative_text: what the passes without the text get; the model's default when None.
            guidance: how the passes are mixed; the model's own when None.
            on_step: told after each step.
            reuse: lets steps reuse what the blocks made before, and accounts for it; see `humo.residual_cache`.

        Returns:
            RGB, (frames, height, width, 3).

        Raises:
            UserError: for an empty text, a length that is not 4n+1, a size that does not divide by 16, a mode whose
                conditions were not given, or more than the device's memory can hold.
        """
        defaults = self.parts.defaults
        frames = defaults.frames if frames is None else frames
        height = defaults.height if height is None else height
        width = defaults.width if width is None else width
        mode = choose_mode(mode, images=bool(images), speech=speech_s is not None)
        check_text(text)
        check_frames(frames)
        check_size(height, width)
        video_frames = latent_frames(frames)
        seen = min(video_frames, latent_frames(defaults.frames)) + max(1, len(images) if "I" in mode else 0)
        channels, device = self.parts.transformer.latent_channels, self.parts.device
        check_room(
            self.parts.transformer,
            latents_shape=(1, channels, seen, height // 8, width // 8),
            streamed=self.parts.stream_layers,
            processes=self.processes,
            device=device,
        )
        reference, grey = self._pictures(images if "I" in mode else (), video_frames, height=height, width=width)
        features = self._heard(speech_s if "A" in mode else None)
        words, negative_words = self._words(text, defaults.negative_text if negative_text is None else negative_text)
        total_frames = video_frames + reference.shape[1]
        generator = torch.Generator().manual_seed(seed)
        shape = (1, channels, total_frames, height // 8, width // 8)
        with self.parts.working_transformer() as transformer:
            latents = sample(
                transformer,
                noise=torch.randn(shape, generator=generator).to(device),
                text=words,
                text_negative=negative_words,
                audio_windows=audio_windows(features, video_frames)[None].to(device),
                reference=reference[None].to(device),
                zero_condition=None if grey is None else grey[None].to(device),
                mode=mode,
                steps=defaults.steps if steps is None else steps,
                shift=self.parts.shift,
                guidance=defaults.guidance.guidance() if guidance is None else guidance,
                on_step=on_step,
                reuse=reuse,
                window=latent_frames(defaults.frames),
            )
        return self._shown(latents)

    # Each part is known to one of the following methods alone, so that it is free when the method is done.

    def _pictures(
        self, images: Sequence[NDArray[numpy.uint8]], video_frames: int, *, height: int, width: int
    ) -> tuple[Tensor, Tensor | None]:
        """Latents of the references, zeros for one without any; and the zero condition of the form `channels`."""
        transformer, grey = self.parts.transformer, None
        reference = torch.zeros(transformer.latent_channels, 1, height // 8, width // 8)
        if not images and transformer.form == "overwrite":
            return reference, grey
        with self.parts.codec() as codec:
            if images:
                reference = encode_references(codec, [fit_reference(image, height, width) for image in images])
            if transformer.form == "channels":
                grey_frames = 4 * (video_frames + reference.shape[1] - 1) + 1
                grey = zero_condition(codec, frames=grey_frames, height=height, width=width)
        return reference, grey

    def _heard(self, speech_s: NDArray[numpy.float32] | None) -> Tensor:
        """Features of the speech, a row a frame; without any, no row."""
        if speech_s is None:
            sizes = self.parts.transformer.config
            return torch.zeros(0, sizes["audio_groups"], sizes["audio_dim"])
        with self.parts.audio_encoder() as encoder:
            return encoder.encode(speech_s, len(speech_s) // SAMPLES_PER_FRAME).to(self.parts.device)

    def _words(self, text: str, negative_text: str) -> tuple[Tensor, Tensor]:
        """Features of both texts."""
        with self.parts.text_encoder() as encoder:
            given, negative = (encoder.encode([clean_text(one)]) for one in (text, negative_text))
        return given.to(self.parts.device), negative.to(self.parts.device)

    def _shown(self, latents: Tensor) -> NDArray[numpy.uint8]:
        """The video of the latents."""
        with self.parts.codec() as codec:
            pixels_thwc = codec.decode(latents)[0].permute(1, 2, 3, 0)
        return ((pixels_thwc + 1) * 127.5).round().to(torch.uint8).cpu().numpy()
