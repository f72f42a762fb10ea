"""Speech features: from an encoder's hidden states at 50 Hz to one window of frames per latent frame."""

import torch
from torch import Tensor
from torch.nn import functional

HIDDEN_STATES = 33
"""Of the Whisper-large-v3 encoder: its input embedding and 32 layers, the last after the final norm."""
GROUPS = ((0, 8), (8, 16), (16, 24), (24, 32), (32, 33))
WINDOW = 8


def group_hidden_states(hidden_tsc: Tensor) -> Tensor:
    """Hidden states (time at 50 Hz, 33, channels) to features (time / 2 at 25 Hz, 5, channels) (official code).

    Means of layers 0-7, 8-15, 16-23, 24-31 and layer 32 alone, then linear interpolation in which the first and last
    samples keep their places (align_corners).
    """
    if hidden_tsc.shape[1] != HIDDEN_STATES:
        raise ValueError(f"{hidden_tsc.shape[1]} hidden states; the grouping takes {HIDDEN_STATES}")
    means_gct = torch.stack([hidden_tsc[:, first:end].mean(1) for first, end in GROUPS]).transpose(1, 2)
    # The official code's arithmetic to the letter: for a few lengths (58, 114, ...) it rounds to one frame less.
    frames = int(hidden_tsc.shape[0] / 50.0 * 25)
    return functional.interpolate(means_gct, size=frames, mode="linear", align_corners=True).permute(2, 0, 1)


def audio_windows(features_fgc: Tensor, latent_frames: int) -> Tensor:
    """Windows (latent frames, 8, groups, channels) of features at 25 Hz; frames outside the sound are zeros.

    Latent frame 0 shows video frame 0 alone and hears frames -2 .. 2, after three zeros. Latent frame i >= 1 shows
    frames 4i-3 .. 4i and hears 4i-5 .. 4i+2 (official code).
    """
    frames = features_fgc.shape[0]
    index_tw = 4 * torch.arange(latent_frames)[:, None] + torch.arange(-5, 3)
    index_tw[0, :3] = -1
    heard_tw = (index_tw >= 0) & (index_tw < frames)
    if frames == 0:
        return features_fgc.new_zeros(latent_frames, WINDOW, *features_fgc.shape[1:])
    windows = features_fgc[index_tw.clamp(0, frames - 1).to(features_fgc.device)]
    return windows * heard_tw[..., None, None].to(windows)


def null_audio(windows: Tensor) -> Tensor:
    """ "No audio": zero features, which still pass the projection's biases (official code)."""
    return torch.zeros_like(windows)
