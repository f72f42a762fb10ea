"""How much memory generation takes, by calculation from the model's sizes."""

import os
from collections.abc import Iterable, Sequence

import torch
from torch import nn

from humo.transformer import PATCH, HuMoTransformer
from schemas.errors import UserError

SHARE = 0.25
"""Of the device's memory that the activations of a batch of passes may take."""
WHOLE_STREAMS = 2.6
"""Residual streams of all tokens that each of several processes holds at most: before the blocks, while its own tokens
are cut out, and behind them, when all are gathered and go through the head. Traced with 2, 4 and 8 processes."""
MOST_PASSES = 4
"""No guidance of ours makes more passes in a step."""


def activation_bytes(model: HuMoTransformer, *, tokens: int, processes: int = 1) -> int:
    """Largest live activations of one sample's pass without gradients, in each of the processes that share its tokens.

    Three copies of the residual stream in float32 (a block's input, the stream in it, its modulated form) with the
    hidden feed-forward layer before and after its GELU in the working type; or seven, while the self-attention's
    queries and keys are turned; whichever is more. Besides them the rotary tables and the latents.
    """
    width, ffn = int(model.config["width"]), int(model.config["ffn"])
    stream = 4 * width
    working = max(3 * stream + 2 * ffn * working_bytes(model), 7 * stream)
    tables = 4 * model.head_width
    latents = 4 * PATCH * PATCH * model.patch_embedding.in_channels
    own = -(-tokens // processes) * (working + tables + latents)
    return own if processes == 1 else own + int(WHOLE_STREAMS * tokens * stream)


def working_bytes(model: HuMoTransformer) -> int:
    """Of a number of the type that the linear layers compute in, whatever they are held in."""
    return model.patch_embedding.weight.element_size()


def passes_that_fit(model: HuMoTransformer, *, latents_shape: Sequence[int], device: torch.device) -> int:
    """Passes of a batch of this size that may run as one: by the memory the device has, not by what is free just now,
    so that the same seed makes the same video.
    """
    batch, _, frames, rows, columns = latents_shape
    tokens = frames * (rows // PATCH) * (columns // PATCH)
    needed = batch * activation_bytes(model, tokens=tokens)
    return max(1, min(MOST_PASSES, int(SHARE * device_bytes(device) / needed)))


def device_bytes(device: torch.device) -> int:
    """All memory of the device."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def weight_bytes(modules: Iterable[nn.Module]) -> int:
    """Of all parameters; the modules may be on the meta device."""
    return sum(p.numel() * p.element_size() for module in modules for p in module.parameters())


def memory_bytes(model: HuMoTransformer, *, frames: int, passes: int) -> int:
    """Keys and values of text and audio for all blocks, as `humo.passes` holds them: a row a pass.

    Keys in float32, which their norm returns; values in the working type.
    """
    tokens = model.text_length + frames * int(model.config["audio_tokens"])
    return passes * len(model.blocks) * tokens * int(model.config["width"]) * (4 + working_bytes(model))


def held_bytes(module: nn.Module, layers: nn.ModuleList, *, streamed: bool) -> int:
    """The module's weights on the device. Streamed: of these layers, only one at a time."""
    if not streamed:
        return weight_bytes([module])
    return weight_bytes([module]) - weight_bytes(layers) + max(weight_bytes([layer]) for layer in layers)


def sampling_bytes(
    model: HuMoTransformer, *, latents_shape: Sequence[int], passes: int, streamed: bool, processes: int = 1
) -> int:
    """The device memory that sampling takes: weights, keys and values, and the activations of a batch of passes.

    At 480x832, 97 frames, one reference (25 + 1 latent frames, 40,560 tokens), bfloat16, one pass at a time, in GB:

    |       | weights | blocks streamed | keys, values (2 texts, 2 audios) | activations | sum         |
    |-------|---------|-----------------|----------------------------------|-------------|-------------|
    | 1.7B  | 3.5     |                 | 0.5                              | 2.2         | 6.3 of 12   |
    | 17B   |         | 1.8             | 2.3                              | 5.9         | 10.0 of 24  |

    With the parts one at a time (`humo.residence`) the others need less: UMT5-XXL 11.4 in bfloat16, but 6.7 in 8 bits
    and 2.5 with its layers streamed, besides 0.1 for its activations; Whisper 6.2 and 0.5; the Wan VAE 0.5, and tile by
    tile 1.4 to encode and 2.2 to decode.
    """
    frames, rows, columns = latents_shape[2:]
    tokens = frames * (rows // PATCH) * (columns // PATCH)
    kept = memory_bytes(model, frames=frames, passes=max(2, passes))
    activations = latents_shape[0] * passes * activation_bytes(model, tokens=tokens, processes=processes)
    return held_bytes(model, model.blocks, streamed=streamed) + kept + activations


def check_room(
    model: HuMoTransformer, *, latents_shape: Sequence[int], streamed: bool, processes: int, device: torch.device
) -> None:
    """Raises UserError if sampling takes more memory than the device has, so that nobody waits for a failure."""

    def takes(streamed: bool) -> int:
        return sampling_bytes(model, latents_shape=latents_shape, passes=1, streamed=streamed, processes=processes)

    needed, least, there = takes(streamed), takes(True), device_bytes(device)
    if needed <= there:
        return
    advice = "take a smaller size or fewer frames"
    if least <= there:
        advice = f"--offload blocks takes {least / 1e9:.1f} GB"
    raise UserError(f"this takes {needed / 1e9:.1f} GB and the device has {there / 1e9:.1f} GB; {advice}")
