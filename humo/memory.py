"""How much memory generation takes, by calculation from the model's sizes."""

import os
from collections.abc import Iterable, Sequence

import torch
from torch import nn

from humo.transformer import PATCH, HuMoTransformer

SHARE = 0.25
"""Of the device's memory that the activations of a batch of passes may take."""
MOST_PASSES = 4
"""No guidance of ours makes more passes in a step."""


def activation_bytes(model: HuMoTransformer, *, tokens: int) -> int:
    """Largest live activations of one sample's pass without gradients.

    The residual stream, its normed and modulated copies in float32 (4 in all), and the hidden feed-forward layer before
    and after its GELU in the weights' type, or the self-attention's queries, keys and values in float32 while they are
    turned, whichever is more.
    """
    width, ffn = int(model.config["width"]), int(model.config["ffn"])
    weight_bytes = model.get_parameter("blocks.0.ffn.0.weight").element_size()
    stream = 4 * 4 * tokens * width
    return stream + tokens * max(2 * ffn * weight_bytes, 6 * 4 * width)


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

    Keys in float32, which their norm returns; values in the weights' type.
    """
    value_bytes = model.get_parameter("blocks.0.ffn.0.weight").element_size()
    tokens = model.text_length + frames * int(model.config["audio_tokens"])
    return passes * len(model.blocks) * tokens * int(model.config["width"]) * (4 + value_bytes)


def sampling_bytes(model: HuMoTransformer, *, latents_shape: Sequence[int], passes: int, streamed: bool) -> int:
    """The device memory that sampling takes: weights, keys and values, and the activations of a batch of passes.

    Streamed: of the blocks, only the one at work is on the device.

    At 480x832, 97 frames, one reference (25 + 1 latent frames, 40,560 tokens), bfloat16, one pass at a time:

    |       | weights | blocks streamed | keys, values (2 texts, 2 audios) | activations | sum           |
    |-------|---------|-----------------|----------------------------------|-------------|---------------|
    | 1.7B  | 3.5 GB  |                 | 0.5 GB                           | 2.5 GB      | 6.5 of 12 GB  |
    | 17B   |         | 1.8 GB          | 2.3 GB                           | 8.3 GB      | 12.4 of 24 GB |

    UMT5-XXL alone has 11.4 GB in bfloat16; with its layers streamed it takes its embedding (2.1 GB) and one layer.
    """
    frames, rows, columns = latents_shape[2:]
    tokens = frames * (rows // PATCH) * (columns // PATCH)
    rest = weight_bytes([model]) - weight_bytes(model.blocks)
    blocks = weight_bytes([model.blocks[0]]) if streamed else weight_bytes(model.blocks)
    kept = memory_bytes(model, frames=frames, passes=max(2, passes))
    return rest + blocks + kept + latents_shape[0] * passes * activation_bytes(model, tokens=tokens)
