"""Rotary positions over time, height and width, as Wan has them: plain over the video's and the references' frames.

Source: official code. References follow the video on the time axis, so they take positions T .. T+R-1.
"""

import torch
from torch import Tensor

THETA = 10000.0


def axis_pairs(head_width: int) -> tuple[int, int, int]:
    """How many of a head's rotated pairs belong to time, height and width. Time takes what does not divide by three."""
    pairs = head_width // 2
    third = pairs // 3
    return pairs - 2 * third, third, third


def rotary_angles(grid: tuple[int, int, int], head_width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines, each (frames * height * width, head_width / 2) in float32, tokens in frame, row, column order.

    Args:
        grid: tokens along time (video and reference frames), height and width.
        head_width: channels of one attention head; even.
        device: where the tables are made.
    """
    tables = []
    for axis, (length, pairs) in enumerate(zip(grid, axis_pairs(head_width), strict=True)):
        # In float64, because a float32 angle at position 1000 is already wrong in its fourth digit.
        exponent = torch.arange(pairs, dtype=torch.float64, device=device) / pairs
        angles = torch.arange(length, dtype=torch.float64, device=device)[:, None] * THETA**-exponent
        shape = [1, 1, 1, pairs]
        shape[axis] = length
        tables.append(angles.view(shape).expand(*grid, pairs))
    angles_lp = torch.cat(tables, dim=-1).flatten(0, 2)
    return angles_lp.cos().float(), angles_lp.sin().float()


def rotate(x_blhd: Tensor, cosines_lp: Tensor, sines_lp: Tensor) -> Tensor:
    """Turn neighbouring channel pairs by their token's angles. Same shape and, computed there, float32."""
    first, second = x_blhd.float().view(*x_blhd.shape[:-1], -1, 2).unbind(-1)
    cosines, sines = cosines_lp[:, None], sines_lp[:, None]
    return torch.stack((first * cosines - second * sines, first * sines + second * cosines), dim=-1).flatten(-2)
