"""The three attentions of a block. All softmax attention passes through `Attention.attend`, the one seam: its `kernel`
computes (a FlashAttention can stand there), its `route` decides which tokens meet (tokens may lie on several devices).

Module and parameter names are those of the released checkpoints.
"""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from humo.layers import LayerNorm, Linear, RMSNorm
from humo.rope import rotate

Rotary = tuple[Tensor, Tensor]
Kernel = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Unmasked softmax attention: queries, keys, values, (batch, tokens, heads, head width) each, to the queries' shape. It
is the layout of FlashAttention's `flash_attn_func`. Queries and keys may come in float32 beside values of another type;
the result has the values' type."""
Route = Callable[[Kernel, Tensor, Tensor, Tensor], Tensor]
"""Brings queries, (batch, tokens, heads, head width), keys and values to the kernel and its result back in the queries'
shape."""


class KeysValues(NamedTuple):
    """Normed keys and plain values, (batch, ..., tokens, heads, head width)."""

    keys: Tensor
    values: Tensor


def softmax_attention(q_blhd: Tensor, k_bmhd: Tensor, v_bmhd: Tensor) -> Tensor:
    """The default kernel: torch's own choice, in the values' type."""
    q, k, v = (x.to(v_bmhd.dtype).transpose(1, 2) for x in (q_blhd, k_bmhd, v_bmhd))
    return functional.scaled_dot_product_attention(q, k, v).transpose(1, 2)


def everywhere(kernel: Kernel, q_blhd: Tensor, k_bmhd: Tensor, v_bmhd: Tensor) -> Tensor:
    """Every query meets all keys of its sample."""
    return kernel(q_blhd, k_bmhd, v_bmhd)


def within_frames(kernel: Kernel, q_blhd: Tensor, k_bfnhd: Tensor, v_bfnhd: Tensor) -> Tensor:
    """The queries, frame after frame, meet the keys of their own frame alone."""
    keys, values = k_bfnhd.flatten(0, 1), v_bfnhd.flatten(0, 1)
    by_frame = q_blhd.reshape(len(keys), -1, *q_blhd.shape[2:])
    return kernel(by_frame, keys, values).reshape(q_blhd.shape)


class Attention(nn.Module):
    """Projections, q and k norms and the output layer, shared by the three attentions.

    Args:
        width: channels of the queries and of the output.
        heads: attention heads; `width` divides by it.
        eps: of the q and k norms.
        source_width: channels of what keys and values are made from; `width` when None.
    """

    def __init__(self, width: int, heads: int, eps: float, source_width: int | None = None) -> None:
        super().__init__()
        source_width = width if source_width is None else source_width
        self.heads = heads
        self.kernel: Kernel = softmax_attention
        self.route: Route = everywhere
        self.q = Linear(width, width)
        self.k = Linear(source_width, width)
        self.v = Linear(source_width, width)
        self.o = Linear(width, width)
        self.norm_q = RMSNorm(width, eps)
        self.norm_k = RMSNorm(width, eps)

    def queries(self, x_blc: Tensor) -> Tensor:
        """Normed queries, (batch, tokens, heads, head width)."""
        return self._split(self.norm_q(self.q(x_blc)))

    def keys_values(self, source: Tensor) -> KeysValues:
        """Of (batch, ..., tokens, channels)."""
        return KeysValues(self._split(self.norm_k(self.k(source))), self._split(self.v(source)))

    def attend(self, q_blhd: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """The values mixed for each query, in the queries' shape."""
        return self.route(self.kernel, q_blhd, k, v)

    def output(self, mixed_blhd: Tensor) -> Tensor:
        """(batch, tokens, heads, head width) to (batch, tokens, width)."""
        projected: Tensor = self.o(mixed_blhd.flatten(2))
        return projected

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:-1], self.heads, -1)


class SelfAttention(Attention):
    """All tokens of video and references see each other, with rotary positions."""

    def forward(self, x_blc: Tensor, rotary: Rotary) -> Tensor:
        """(batch, tokens, width) in and out."""
        keys, values = self.keys_values(x_blc)
        mixed = self.attend(rotate(self.queries(x_blc), *rotary), rotate(keys, *rotary), values)
        return self.output(mixed)


class TextAttention(Attention):
    """Every token sees every text token, the zero-padded ones included (official code)."""

    def forward(self, x_blc: Tensor, text_bmhd: KeysValues) -> Tensor:
        """(batch, tokens, width) and the text's keys and values to (batch, tokens, width)."""
        return self.output(self.attend(self.queries(x_blc), *text_bmhd))


class AudioAttention(Attention):
    """The tokens of one latent frame see that frame's audio tokens and no others. No positions, no mask."""

    def __init__(self, width: int, heads: int, eps: float, source_width: int) -> None:
        super().__init__(width, heads, eps, source_width)
        self.route = within_frames

    def forward(self, x_blc: Tensor, audio_bfnhd: KeysValues) -> Tensor:
        """(batch, frames * tokens a frame, width) and the audio's keys and values, by frame, to the former's shape."""
        return self.output(self.attend(self.queries(x_blc), *audio_bfnhd))


class AudioLayer(nn.Module):
    """Audio attention with its own affine norm and an ungated residual."""

    def __init__(self, width: int, heads: int, eps: float, audio_width: int) -> None:
        super().__init__()
        self.audio_cross_attn = AudioAttention(width, heads, eps, audio_width)
        self.norm1_audio = LayerNorm(width, eps)

    def forward(self, x_blc: Tensor, audio_bfnhd: KeysValues) -> Tensor:
        """Same shape as `x_blc`."""
        heard: Tensor = self.audio_cross_attn(self.norm1_audio(x_blc), audio_bfnhd)
        return x_blc + heard


def use_kernel(model: nn.Module, kernel: Kernel) -> None:
    """Compute every attention of the model by this kernel, such as a FlashAttention."""
    for module in model.modules():
        if isinstance(module, Attention):
            module.kernel = kernel
