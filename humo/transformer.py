"""The HuMo transformer, both released forms: Wan2.1's text-to-video backbone with references and audio.

Parameter names are those of the released checkpoints (Wan's original ones), plus `mask_predictor.*` for training.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from humo.attention import AudioLayer, KeysValues, Rotary, SelfAttention, TextAttention
from humo.audio_projection import AudioProjection
from humo.layers import Float32Linear, LayerNorm, Linear
from humo.mask_predictor import MaskPredictor
from humo.residual_cache import Residual
from humo.rope import rotary_angles

Form = Literal["overwrite", "channels"]
"""How references enter. `overwrite`: they replace the last R latent frames of the input (1.7B, 16 input channels).
`channels`: a mask and a condition stand beside the noise on the channel axis (17B, 36 input channels)."""

PATCH = 2
"""Latent pixels a token covers along height and along width; one frame along time."""
MASK_CHANNELS = 4
KEPT_IN_FLOAT32 = [
    "time_embedding",
    "time_projection",
    "head",
    "modulation",
    "norm_q",
    "norm_k",
    "norm3",
    "norm1_audio",
    "audio_proj_glob_norm",
]
"""A half-precision load leaves parameters in float32 that have one of these between the dots of their name."""
TIMESTEP_PERIOD = 10000.0


@dataclass(frozen=True)
class HuMoOutput:
    """What one forward pass gives."""

    velocity_bcthw: Tensor
    """Flow-matching velocity (noise minus clean) for all T+R frames in float32; the last R belong to the references."""
    mask_logits_bthw: Tensor | None
    """Face-mask logits of the T video frames, (batch, T, height / 2, width / 2) in latent pixels; only where asked."""


def timestep_features(timestep_b: Tensor, width: int) -> Tensor:
    """Cosines then sines of the timestep (0 .. 1000), (batch, width); float64 inside (official code)."""
    half = width // 2
    exponent = torch.arange(half, dtype=torch.float64, device=timestep_b.device) / half
    angles = timestep_b.double()[:, None] * TIMESTEP_PERIOD**-exponent
    return torch.cat((angles.cos(), angles.sin()), dim=-1).float()


@dataclass
class Memory:
    """What does not change from step to step: each part that is None is filled by the next forward pass.

    Use a part for one text, one audio and one size only: a pass that has it does not look at its conditions again.
    """

    text: list[KeysValues] | None = None
    """Of every block."""
    audio: list[KeysValues] | None = None
    """Of every block."""
    rotary: Rotary | None = None


class Block(nn.Module):
    """Modulated self-attention, text attention, audio attention, modulated feed-forward, in this order.

    The residual stream, the norms and the modulation stay in float32 under any weight type (official code).
    """

    def __init__(self, *, width: int, ffn: int, heads: int, audio_width: int, eps: float) -> None:
        super().__init__()
        self.norm1 = LayerNorm(width, eps, elementwise_affine=False)
        self.self_attn = SelfAttention(width, heads, eps)
        self.norm3 = LayerNorm(width, eps)
        self.cross_attn = TextAttention(width, heads, eps)
        self.norm2 = LayerNorm(width, eps, elementwise_affine=False)
        self.ffn = nn.Sequential(Linear(width, ffn), nn.GELU(approximate="tanh"), Linear(ffn, width))
        self.modulation = nn.Parameter(torch.randn(1, 6, width) / width**0.5)
        self.audio_cross_attn_wrapper = AudioLayer(width, heads, eps, audio_width)

    def forward(
        self,
        x_blc: Tensor,
        time_b6c: Tensor,
        rotary: Rotary,
        text: Tensor | KeysValues,
        audio: Tensor | KeysValues | None,
    ) -> tuple[Tensor, Tensor, KeysValues, KeysValues | None]:
        """One block.

        Args:
            x_blc: the residual stream.
            time_b6c: of the timestep; a batch of one counts for all samples.
            rotary: of the grid of tokens.
            text: embedded text, (batch, text tokens, width), or what this block made of it before.
            audio: audio tokens, (batch, frames, audio tokens, audio width), or what this block made of them; or None.

        Returns:
            The new residual stream; the stream as it was after audio attention (for the mask predictor); the keys and
            values of text and audio, which depend on neither the timestep nor the stream.
        """
        _, _, gate_a, shift_f, scale_f, gate_f = (self.modulation.float() + time_b6c).chunk(6, dim=1)
        if not isinstance(text, KeysValues):
            text = self.cross_attn.keys_values(text)
        if audio is not None and not isinstance(audio, KeysValues):
            audio = self.audio_cross_attn_wrapper.audio_cross_attn.keys_values(audio)
        x_blc = x_blc + self.self_attn(self.modulated(x_blc, time_b6c), rotary) * gate_a
        x_blc = x_blc + self.cross_attn(self.norm3(x_blc), text)
        if audio is not None:
            x_blc = self.audio_cross_attn_wrapper(x_blc, audio)
        new_blc = x_blc + self.ffn(self.norm2(x_blc) * (1 + scale_f) + shift_f) * gate_f
        return new_blc, x_blc, text, audio

    def modulated(self, x_blc: Tensor, time_b6c: Tensor) -> Tensor:
        """What self-attention gets of the residual stream."""
        shift, scale = (self.modulation.float() + time_b6c)[:, :2].chunk(2, dim=1)
        modulated: Tensor = self.norm1(x_blc) * (1 + scale) + shift
        return modulated


class Head(nn.Module):
    """Modulated norm and projection of every token to its patch of velocities, in float32."""

    def __init__(self, *, width: int, channels: int, eps: float) -> None:
        super().__init__()
        self.norm = LayerNorm(width, eps, elementwise_affine=False)
        self.head = Float32Linear(width, PATCH * PATCH * channels)
        self.modulation = nn.Parameter(torch.randn(1, 2, width) / width**0.5)

    def forward(self, x_blc: Tensor, time_bc: Tensor) -> Tensor:
        """(batch, tokens, width) to (batch, tokens, 4 * channels)."""
        shift, scale = (self.modulation.float() + time_bc[:, None]).chunk(2, dim=1)
        velocity: Tensor = self.head(self.norm(x_blc) * (1 + scale) + shift)
        return velocity


class HuMoTransformer(ModelMixin, ConfigMixin):
    """Velocity of noisy video latents under text, reference images and audio.

    Args:
        form: how references enter; see `Form`.
        width: channels of the residual stream; divides by `heads` into an even head width of at least 6.
        ffn: hidden width of the feed-forward layers.
        heads: attention heads.
        layers: blocks.
        text_dim: channels of the text features.
        text_length: text tokens; shorter texts are padded with zeros that are attended (official code).
        audio_dim: channels of the audio features.
        audio_window: audio frames (25 Hz) a latent frame gets.
        audio_groups: groups of encoder layers the features come in.
        audio_tokens: audio tokens a latent frame's queries see.
        audio_width: channels of an audio token.
        audio_hidden: hidden width of the audio projection.
        freq_dim: channels of the timestep features.
        latent_channels: channels of the latents.
        eps: of every norm.
        mask_blocks: the last so many blocks feed the mask predictor (all of them in a shallower model).

    Raises:
        ValueError: for an unknown form and for a width that its heads do not divide.
    """

    _supports_gradient_checkpointing = True
    _no_split_modules: ClassVar[list[str]] = ["Block"]  # type: ignore[assignment, misc]
    _repeated_blocks: ClassVar[list[str]] = ["Block"]  # type: ignore[misc]
    _keep_in_fp32_modules: ClassVar[list[str]] = KEPT_IN_FLOAT32  # type: ignore[assignment, misc]

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        *,
        form: Form,
        width: int,
        ffn: int,
        heads: int,
        layers: int,
        text_dim: int = 4096,
        text_length: int = 512,
        audio_dim: int = 1280,
        audio_window: int = 8,
        audio_groups: int = 5,
        audio_tokens: int = 16,
        audio_width: int = 1536,
        audio_hidden: int = 512,
        freq_dim: int = 256,
        latent_channels: int = 16,
        eps: float = 1e-6,
        mask_blocks: int = 4,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if form not in get_args(Form):
            raise ValueError(f"the form {form!r} is none of {', '.join(get_args(Form))}")
        if width % heads or width // heads % 2:
            raise ValueError(f"a width of {width} does not make {heads} heads of even width")
        self.form: Form = form
        self.head_width = width // heads
        self.text_length = text_length
        self.freq_dim = freq_dim
        self.latent_channels = latent_channels
        self.mask_blocks = min(mask_blocks, layers)
        self.gradient_checkpointing = False

        inputs = latent_channels if form == "overwrite" else 2 * latent_channels + MASK_CHANNELS
        self.patch_embedding = nn.Conv3d(inputs, width, kernel_size=(1, PATCH, PATCH), stride=(1, PATCH, PATCH))
        self.text_embedding = nn.Sequential(Linear(text_dim, width), nn.GELU(approximate="tanh"), Linear(width, width))
        self.time_embedding = nn.Sequential(Float32Linear(freq_dim, width), nn.SiLU(), Float32Linear(width, width))
        self.time_projection = nn.Sequential(nn.SiLU(), Float32Linear(width, 6 * width))
        self.audio_proj = AudioProjection(
            features=audio_window * audio_groups * audio_dim,
            hidden=audio_hidden,
            tokens=audio_tokens,
            width=audio_width,
        )
        self.blocks = nn.ModuleList(
            Block(width=width, ffn=ffn, heads=heads, audio_width=audio_width, eps=eps) for _ in range(layers)
        )
        self.head = Head(width=width, channels=latent_channels, eps=eps)
        self.mask_predictor = MaskPredictor(width, eps)
        self._initialise()

    def _initialise(self) -> None:
        """Wan's initial weights (official code); audio attention starts silent, so that adding it changes nothing."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.xavier_uniform_(self.patch_embedding.weight.flatten(1))
        for embedding in (self.text_embedding, self.time_embedding):
            for module in embedding.modules():
                if isinstance(module, nn.Linear):
                    nn.init.normal_(module.weight, std=0.02)
        nn.init.zeros_(self.head.head.weight)
        for block in self.blocks:
            assert isinstance(block, Block)
            nn.init.zeros_(block.audio_cross_attn_wrapper.audio_cross_attn.o.weight)

    def forward(
        self,
        latents_bcthw: Tensor,
        timestep_b: Tensor,
        *,
        text_bld: Tensor,
        audio_windows_btwgc: Tensor | None,
        reference_bcrhw: Tensor,
        zero_condition_bcthw: Tensor | None = None,
        return_mask_logits: bool = False,
        memory: Memory | None = None,
        residual: Residual | None = None,
    ) -> HuMoOutput:
        """One pass.

        Args:
            latents_bcthw: noisy latents of the T video and R reference frames, (batch, channels, T+R, height, width) in
                latent pixels (1/8 of the video's); height and width even.
            timestep_b: 0 (clean) .. 1000 (noise), (batch,) or (1,) for all, integer or float.
            text_bld: text features, (batch, up to `text_length` tokens, `text_dim`).
            audio_windows_btwgc: (batch, T or T+R, window, groups, channels); missing reference windows are zeros.
                "No audio" is zeros. None switches the audio layers off altogether, which is the plain Wan backbone.
            reference_bcrhw: clean reference latents, (batch, channels, R, height, width), R >= 1. "No image" is
                `humo.conditions.reference.null_reference`: zeros, or in the form `channels` the zero condition.
            zero_condition_bcthw: form `channels` only: latents of a grey video (the released zero_vae), (batch,
                channels, at least T, height, width); the first T frames are used.
            return_mask_logits: also run the mask predictor.
            memory: filled here, or filled before by the same conditions; see `Memory`.
            residual: may stand for the blocks, if the pass before had the same conditions; see `humo.residual_cache`.

        Raises:
            ValueError: form `channels` without a zero condition, more text tokens than `text_length`, more audio
                windows than frames, mask logits of blocks that a residual may stand for.
        """
        if return_mask_logits and residual is not None:
            raise ValueError("blocks that may be skipped give no mask logits")
        references = reference_bcrhw.shape[2]
        frames = latents_bcthw.shape[2]
        conditioned = self._with_references(latents_bcthw, reference_bcrhw, zero_condition_bcthw)
        patches = self.patch_embedding(conditioned.to(self.patch_embedding.weight.dtype))
        grid = tuple(patches.shape[2:])
        x_blc = patches.float().flatten(2).transpose(1, 2)
        del conditioned, patches

        time_bc = self.time_embedding(timestep_features(timestep_b, self.freq_dim))
        time_b6c = self.time_projection(time_bc).view(len(time_bc), 6, -1)
        if residual is not None:
            first = self.blocks[0]
            assert isinstance(first, Block)
            start_blc, input_blc = x_blc, first.modulated(x_blc, time_b6c)
            added_blc = residual.recall(input_blc, len(x_blc))
            if added_blc is not None:
                return HuMoOutput(self._unpatch(self.head(x_blc + added_blc, time_bc), grid), None)
        known = Memory() if memory is None else memory
        text: Sequence[Tensor | KeysValues] = known.text or [self._embed_text(text_bld)] * len(self.blocks)
        audio: Sequence[Tensor | KeysValues | None] | None = known.audio
        if audio is None:
            tokens = None if audio_windows_btwgc is None else self._embed_audio(audio_windows_btwgc, frames)
            audio = [tokens] * len(self.blocks)
        rotary = known.rotary or rotary_angles(grid, self.head_width, x_blc.device)

        first_masked = len(self.blocks) - self.mask_blocks
        mask_logits: list[Tensor] = []
        text_made: list[KeysValues] = []
        audio_made: list[KeysValues] = []
        for index, block in enumerate(self.blocks):
            arguments = (x_blc, time_b6c, rotary, text[index], audio[index])
            if self.gradient_checkpointing and torch.is_grad_enabled():
                x_blc, heard_blc, text_kv, audio_kv = checkpoint(block, *arguments, use_reentrant=False)
            else:
                x_blc, heard_blc, text_kv, audio_kv = block(*arguments)
            if memory is not None:
                text_made.append(text_kv)
                audio_made.append(audio_kv)
            if return_mask_logits and index >= first_masked:
                mask_logits.append(self.mask_predictor(heard_blc))
            # Each is as large as the residual stream and would be held during the next block.
            del arguments, heard_blc

        if memory is not None:
            memory.text, memory.rotary = text_made, rotary
            memory.audio = None if audio_windows_btwgc is None else audio_made
        if residual is not None:
            residual.keep(input_blc, x_blc - start_blc, len(x_blc))
        velocity_bld = self.head(x_blc, time_bc)
        mask_logits_bthw = None
        if return_mask_logits:
            mask_logits_bthw = torch.stack(mask_logits).mean(0).view(-1, *grid)[:, : frames - references]
        return HuMoOutput(self._unpatch(velocity_bld, grid), mask_logits_bthw)

    def _with_references(self, latents: Tensor, reference: Tensor, zero_condition: Tensor | None) -> Tensor:
        references = reference.shape[2]
        video = latents[:, :, :-references]
        if self.form == "overwrite":
            return torch.cat((video, reference.to(latents.dtype)), dim=2)
        if zero_condition is None:
            raise ValueError("the form 'channels' needs a zero condition")
        frames = video.shape[2]
        condition = torch.cat((zero_condition[:, :, :frames], reference), dim=2).to(latents.dtype)
        mask = latents.new_zeros(latents.shape[0], MASK_CHANNELS, *latents.shape[2:])
        mask[:, :, frames:] = 1
        return torch.cat((latents, mask, condition), dim=1)

    def _embed_text(self, text_bld: Tensor) -> Tensor:
        missing = self.text_length - text_bld.shape[1]
        if missing < 0:
            raise ValueError(f"{text_bld.shape[1]} text tokens, but the model takes {self.text_length}")
        embedded: Tensor = self.text_embedding(nn.functional.pad(text_bld, (0, 0, 0, missing)))
        return embedded

    def _embed_audio(self, windows: Tensor, frames: int) -> Tensor:
        missing = frames - windows.shape[1]
        if missing < 0:
            raise ValueError(f"{windows.shape[1]} audio windows for {frames} latent frames")
        tokens: Tensor = self.audio_proj(nn.functional.pad(windows, (0, 0, 0, 0, 0, 0, 0, missing)))
        return tokens

    def _unpatch(self, velocity_bld: Tensor, grid: tuple[int, ...]) -> Tensor:
        frames, rows, columns = grid
        patches = velocity_bld.view(-1, frames, rows, columns, PATCH, PATCH, self.latent_channels)
        return patches.permute(0, 6, 1, 2, 4, 3, 5).reshape(
            -1, self.latent_channels, frames, rows * PATCH, columns * PATCH
        )

    def official_state_dict(self) -> dict[str, Any]:
        """The parameters under their official names, without what only training uses."""
        return {name: value for name, value in self.state_dict().items() if not name.startswith("mask_predictor.")}
