"""How much memory generation takes, by calculation from the model's sizes."""

import os
from collections.abc import Sequence

import torch

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
