"""The three attentions of a block. All softmax attention passes through `attend`, the one place for faster kernels.

Module and parameter names are those of the released checkpoints.
"""

from torch import Tensor, nn
from torch.nn import functional

from humo.layers import LayerNorm, Linear, RMSNorm
from humo.rope import rotate

Rotary = tuple[Tensor, Tensor]


def attend(q_blhd: Tensor, k_bmhd: Tensor, v_bmhd: Tensor) -> Tensor:
    """Unmasked softmax attention in the values' type; (batch, queries, heads, head width) in and out."""
    q, k, v = (x.to(v_bmhd.dtype).transpose(1, 2) for x in (q_blhd, k_bmhd, v_bmhd))
    return functional.scaled_dot_product_attention(q, k, v).transpose(1, 2)


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
        self.q = Linear(width, width)
        self.k = Linear(source_width, width)
        self.v = Linear(source_width, width)
        self.o = Linear(width, width)
        self.norm_q = RMSNorm(width, eps)
        self.norm_k = RMSNorm(width, eps)

    def queries(self, x_blc: Tensor) -> Tensor:
        """Normed queries, (batch, tokens, heads, head width)."""
        return self._split(self.norm_q(self.q(x_blc)))

    def keys_values(self, source_bmc: Tensor) -> tuple[Tensor, Tensor]:
        """Normed keys and plain values, (batch, tokens, heads, head width)."""
        return self._split(self.norm_k(self.k(source_bmc))), self._split(self.v(source_bmc))

    def output(self, mixed_blhd: Tensor) -> Tensor:
        """(batch, tokens, heads, head width) to (batch, tokens, width)."""
        projected: Tensor = self.o(mixed_blhd.flatten(2))
        return projected

    def _split(self, x_blc: Tensor) -> Tensor:
        return x_blc.view(*x_blc.shape[:2], self.heads, -1)


class SelfAttention(Attention):
    """All tokens of video and references see each other, with rotary positions."""

    def forward(self, x_blc: Tensor, rotary: Rotary) -> Tensor:
        """(batch, tokens, width) in and out."""
        keys, values = self.keys_values(x_blc)
        return self.output(attend(rotate(self.queries(x_blc), *rotary), rotate(keys, *rotary), values))


class TextAttention(Attention):
    """Every token sees every text token, the zero-padded ones included (official code)."""

    def forward(self, x_blc: Tensor, text_bmc: Tensor) -> Tensor:
        """(batch, tokens, width) and (batch, text tokens, width) to (batch, tokens, width)."""
        return self.output(attend(self.queries(x_blc), *self.keys_values(text_bmc)))


class AudioAttention(Attention):
    """The tokens of one latent frame see that frame's audio tokens and no others. No positions, no mask."""

    def forward(self, x_blc: Tensor, audio_bfnc: Tensor) -> Tensor:
        """(batch, frames * tokens a frame, width) and (batch, frames, audio tokens, audio width) to the former."""
        batch, frames = audio_bfnc.shape[:2]
        queries = self.queries(x_blc)
        by_frame = queries.reshape(batch * frames, -1, *queries.shape[2:])
        mixed = attend(by_frame, *self.keys_values(audio_bfnc.flatten(0, 1)))
        return self.output(mixed.reshape(queries.shape))


class AudioLayer(nn.Module):
    """Audio attention with its own affine norm and an ungated residual."""

    def __init__(self, width: int, heads: int, eps: float, audio_width: int) -> None:
        super().__init__()
        self.audio_cross_attn = AudioAttention(width, heads, eps, audio_width)
        self.norm1_audio = LayerNorm(width, eps)

    def forward(self, x_blc: Tensor, audio_bfnc: Tensor) -> Tensor:
        """Same shape as `x_blc`."""
        heard: Tensor = self.audio_cross_attn(self.norm1_audio(x_blc), audio_bfnc)
        return x_blc + heard
