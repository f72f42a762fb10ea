"""Text, reference images and speech to frames, with all the encoders of a model."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy
import torch
from numpy.typing import NDArray

from humo.checkpoints import Model, load_model_dir
from humo.conditions.audio import audio_windows
from humo.conditions.reference import encode_references, fit_reference, zero_condition
from humo.conditions.text import clean_text
from humo.encoders import SAMPLES_PER_FRAME, latent_frames
from humo.generation import OnStep, sample
from humo.guidance import Guidance, Mode
from humo.offload import Offload, resident, streamed
from humo.request import check_frames, check_size, check_text, choose_mode
from humo.transformer import HuMoTransformer
from humo.wan import UMT5TextEncoder, WanCodec

CPU = torch.device("cpu")


@dataclass(frozen=True)
class HuMoPipeline:
    """Generates videos with one model."""

    model: Model
    device: torch.device = CPU
    """Where the work is done."""
    offload: Offload = "none"
    """See `humo.offload`; with anything but `none` the model's parts are on the CPU."""

    @classmethod
    def from_directory(
        cls, directory: Path, *, device: torch.device, dtype: torch.dtype, offload: Offload = "none"
    ) -> "HuMoPipeline":
        """With the model of a model directory; see `humo.checkpoints.load_model_dir`.

        Where anything is offloaded, the Wan VAE also works tile by tile.
        """
        model = load_model_dir(directory, device=device if offload == "none" else torch.device("cpu"), dtype=dtype)
        if offload != "none" and isinstance(model.codec, WanCodec):
            model.codec.model.enable_tiling()
        return cls(model, device, offload)

    def _at_work(self, part: object) -> AbstractContextManager[None]:
        """The part on the device, for as long as the offloading asks."""
        if self.offload == "none":
            return nullcontext()
        if self.offload == "blocks" and isinstance(part, HuMoTransformer):
            return streamed(part, part.blocks, self.device)
        if self.offload == "blocks" and isinstance(part, UMT5TextEncoder):
            return streamed(part.model, part.model.encoder.block, self.device)
        return resident(part, self.device)

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

        Returns:
            RGB, (frames, height, width, 3).

        Raises:
            UserError: for an empty text, a length that is not 4n+1, a size that does not divide by 16, or a mode whose
                conditions were not given.
        """
        defaults = self.model.defaults
        frames = defaults.frames if frames is None else frames
        height = defaults.height if height is None else height
        width = defaults.width if width is None else width
        mode = choose_mode(mode, images=bool(images), speech=speech_s is not None)
        negative = defaults.negative_text if negative_text is None else negative_text
        check_text(text)
        check_frames(frames)
        check_size(height, width)
        transformer, codec = self.model.transformer, self.model.codec
        device = self.device
        video_frames = latent_frames(frames)
        channels, rows, columns = transformer.latent_channels, height // 8, width // 8
        if "I" in mode:
            fitted = [fit_reference(image, height, width) for image in images]
            with self._at_work(codec):
                reference = encode_references(codec, fitted)
        else:
            reference = torch.zeros(channels, 1, rows, columns)
        speech_s = numpy.zeros(0, numpy.float32) if speech_s is None or "A" not in mode else speech_s
        with self._at_work(self.model.audio_encoder):
            features = self.model.audio_encoder.encode(speech_s, len(speech_s) // SAMPLES_PER_FRAME).to(device)
        with self._at_work(self.model.text_encoder):
            words, negative_words = (
                self.model.text_encoder.encode([clean_text(given)]).to(device) for given in (text, negative)
            )
        total_frames = video_frames + reference.shape[1]
        grey = None
        if transformer.form == "channels":
            grey_frames = 4 * (total_frames - 1) + 1
            with self._at_work(codec):
                grey = zero_condition(codec, frames=grey_frames, height=height, width=width)[None].to(device)
        generator = torch.Generator().manual_seed(seed)
        with self._at_work(transformer):
            latents = sample(
                transformer,
                noise=torch.randn(1, channels, total_frames, rows, columns, generator=generator).to(device),
                text=words,
                text_negative=negative_words,
                audio_windows=audio_windows(features, video_frames)[None].to(device),
                reference=reference[None].to(device),
                zero_condition=grey,
                mode=mode,
                steps=defaults.steps if steps is None else steps,
                shift=self.model.shift,
                guidance=defaults.guidance.guidance() if guidance is None else guidance,
                on_step=on_step,
                window=latent_frames(defaults.frames),
            )
        with self._at_work(codec):
            pixels_thwc = codec.decode(latents)[0].permute(1, 2, 3, 0)
        return ((pixels_thwc + 1) * 127.5).round().to(torch.uint8).cpu().numpy()
