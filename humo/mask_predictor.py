"""The face-mask predictor of focus-by-predicting: for training alone, left out of weights in the published layout.

The paper says what it reads, the features after audio attention in the last four blocks, and that the outputs are
averaged. Its shape is not published; this is the smallest with a hidden layer.
"""

from torch import Tensor, nn
from torch.nn import functional

from humo.layers import LayerNorm, Linear


class MaskPredictor(nn.Module):
    """One small network, shared by the blocks it reads: norm, hidden layer, one logit a token."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.norm = LayerNorm(width, eps)
        self.hidden = Linear(width, width // 4)
        self.logit = Linear(width // 4, 1)

    def forward(self, features_blc: Tensor) -> Tensor:
        """(batch, tokens, width) to float32 logits (batch, tokens): how likely the token shows the speaker's face."""
        logits: Tensor = self.logit(functional.gelu(self.hidden(self.norm(features_blc))))
        return logits.squeeze(-1).float()
