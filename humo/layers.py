"""Linear layers and norms that state in which precision they compute, whatever the type of their weights.

The released weights were made with bfloat16 matrix products around a float32 residual stream; these layers keep to it
under bfloat16 weights as well as under autocast.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Linear(nn.Linear):
    """Computes in the type of its weights."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply to the last axis."""
        return functional.linear(x.to(self.weight.dtype), self.weight, self.bias)


class Float32Linear(nn.Linear):
    """Computes in float32: the time embedding and the head."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply to the last axis."""
        with torch.autocast(x.device.type, enabled=False):
            return functional.linear(x.float(), self.weight.float(), self.bias.float())


class LayerNorm(nn.LayerNorm):
    """Computes in and returns float32."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axis."""
        weight = self.weight.float() if self.elementwise_affine else None
        bias = self.bias.float() if self.elementwise_affine else None
        return functional.layer_norm(x.float(), self.normalized_shape, weight, bias, self.eps)


class RMSNorm(nn.Module):
    """Root-mean-square norm over all heads together (official code). Computes in and returns float32."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axis."""
        return functional.rms_norm(x.float(), self.weight.shape, self.weight.float(), self.eps)
