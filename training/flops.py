"""The arithmetic of a training step, for MFU: what the gradients in use need, without anything computed twice.

A product of matrices counts two operations a multiplication. Forward once; backward once for the gradients that flow
through (twice in softmax attention, whose two products have two factors each that need them) and once for the weights
that train. Norms, rotations and the like are left out.
"""

from collections.abc import Collection

from humo.transformer import PATCH, HuMoTransformer
from training.config import Group
from training.framing import LATENT_FRAMES
from training.loader import LATENT_PIXELS
from training.plan import Bucket


def tokens_of(bucket: Bucket) -> int:
    """Of one sample, its references included."""
    frames = (bucket.frames - 1) // LATENT_FRAMES + 1 + bucket.references
    return frames * (bucket.height // LATENT_PIXELS // PATCH) * (bucket.width // LATENT_PIXELS // PATCH)


def step_flops(model: HuMoTransformer, bucket: Bucket, *, trains: Collection[Group], with_audio: bool) -> float:
    """Operations of one sample's forward and backward pass.

    At 97 frames of 480x832 with one reference, all that the paper's stage 2 trains: 1.18e15 for the 1.7B, 6.89e15 for
    the 17B, of which self-attention's softmax alone is 0.91e15 and 4.04e15.
    """
    sizes = model.config
    width, ffn = float(sizes["width"]), float(sizes["ffn"])
    audio_tokens, audio_width = int(sizes["audio_tokens"]), int(sizes["audio_width"])
    tokens, text = tokens_of(bucket), int(sizes["text_length"])
    frames = (bucket.frames - 1) // LATENT_FRAMES + 1 + bucket.references

    def layers(multiplications: float, group: Group) -> float:
        return 2 * multiplications * (3 if group in trains else 2)

    def softmax(queries: float, keys: float) -> float:
        return 4 * queries * keys * width * 3

    block = layers(4 * tokens * width**2, "self_attention") + softmax(tokens, tokens)
    block += layers(2 * (tokens + text) * width**2, "other") + softmax(tokens, text)
    block += layers(2 * tokens * width * ffn, "other")
    if with_audio:
        heard = frames * audio_tokens
        block += layers(2 * tokens * width**2 + 2 * heard * audio_width * width, "audio") + softmax(
            tokens, audio_tokens
        )
    return len(model.blocks) * block


def forward_flops(model: HuMoTransformer, bucket: Bucket, part: str, *, with_audio: bool) -> float:
    """Operations of one sample's forward pass through one part of every block, for what is computed again.

    `part`: `self_attn`, `cross_attn`, `audio_cross_attn_wrapper` or `ffn`. Keys and values of text and audio are made
    outside of these.
    """
    sizes = model.config
    width, tokens = float(sizes["width"]), float(tokens_of(bucket))
    projected = 2 * tokens * width**2
    operations = {
        "self_attn": 4 * projected + 4 * tokens**2 * width,
        "cross_attn": 2 * projected + 4 * tokens * int(sizes["text_length"]) * width,
        "audio_cross_attn_wrapper": (2 * projected + 4 * tokens * int(sizes["audio_tokens"]) * width) * with_audio,
        "ffn": 4 * tokens * width * float(sizes["ffn"]),
    }
    return len(model.blocks) * operations[part]
