"""Long videos: overlapping windows of latent frames, denoised side by side and blended in every step.

No window is made after another from its finished frames. At each sampling step all windows' velocities are averaged
where they overlap, with weights that fall to each window's ends, before the one sampler takes the step for the whole
video. So there is one trajectory, and no boundary for a glitch to stand at.
"""

import torch
from torch import Tensor

OVERLAP = 0.32
"""Of a window, at least: 8 of 25 latent frames at the training length."""


def window_starts(frames: int, window: int) -> list[int]:
    """First latent frames of evenly spread windows that cover `frames` and overlap by `OVERLAP` or more.

    One window, [0], where `frames` do not exceed it.
    """
    if frames <= window:
        return [0]
    stride = max(1, int(window * (1 - OVERLAP)))
    count = -(-(frames - window) // stride) + 1
    return [round(index * (frames - window) / (count - 1)) for index in range(count)]


def blend_weights(starts: list[int], window: int, frames: int) -> list[Tensor]:
    """For each window its frames' weights, (min(window, frames),): a ramp up to the middle and down; sums are 1."""
    length = min(window, frames)
    ramp = torch.minimum(torch.arange(1, length + 1), torch.arange(length, 0, -1)).float()
    total = torch.zeros(frames)
    for start in starts:
        total[start : start + length] += ramp
    return [ramp / total[start : start + length] for start in starts]
