"""From a window of audio features per latent frame to the audio tokens that the frame's queries see."""

from torch import Tensor, nn
from torch.nn import functional

from humo.layers import LayerNorm, Linear


class _Layer(nn.Module):
    """Puts one layer under the key `layer`, as in the released checkpoints."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        applied: Tensor = self.layer(x)
        return applied


class AudioProjection(nn.Module):
    """Two hidden layers with ReLU, then all tokens of a frame at once, each normed (official code).

    Args:
        features: window length * groups * feature channels.
        hidden: width of the two hidden layers.
        tokens: audio tokens a latent frame.
        width: channels of an audio token.
    """

    def __init__(self, *, features: int, hidden: int, tokens: int, width: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.audio_proj_glob_1 = _Layer(Linear(features, hidden))
        self.audio_proj_glob_2 = _Layer(Linear(hidden, hidden))
        self.audio_proj_glob_3 = _Layer(Linear(hidden, tokens * width))
        self.audio_proj_glob_norm = _Layer(LayerNorm(width))

    def forward(self, windows_bfwgc: Tensor) -> Tensor:
        """(batch, frames, window, groups, channels) to (batch, frames, tokens, width). Zero windows keep the biases."""
        hidden = functional.relu(self.audio_proj_glob_1(windows_bfwgc.flatten(2)))
        hidden = functional.relu(self.audio_proj_glob_2(hidden))
        tokens: Tensor = self.audio_proj_glob_3(hidden)
        normed: Tensor = self.audio_proj_glob_norm(tokens.view(*tokens.shape[:2], self.tokens, -1))
        return normed
