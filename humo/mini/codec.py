"""A fixed linear video codec with a VAE's contract: the lowest sixteen coefficients of a space-time cosine transform.

Strides 4 (time), 8, 8; sixteen channels; the first frame alone. The transform is orthonormal, so decoding is the
transpose of encoding and the error is what the dropped coefficients held.
"""

import math
from pathlib import Path

import torch
from torch import Tensor

from humo.mini.configuration import MiniConfig, read_config, write_config

SPACE = 8
TIME = 4
CHANNELS = 16
LUMA, WARM, GREEN = 0, 1, 2
"""The colour axis is cosine-transformed too: grey, red against blue, green against both."""

STILL = [(LUMA, 0, v, u) for v, u in ((0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (0, 3), (3, 0))] + [
    (WARM, 0, 0, 0),
    (GREEN, 0, 0, 0),
]
"""Coefficients (colour, time, vertical, horizontal) that stand in the same channels of every latent frame."""
GROUP = [*STILL, (LUMA, 1, 0, 0), (LUMA, 1, 0, 1), (LUMA, 1, 1, 0), (LUMA, 2, 0, 0), (LUMA, 3, 0, 0), (WARM, 1, 0, 0)]
"""Of four frames."""
FIRST = [*STILL, (LUMA, 0, 1, 2), (LUMA, 0, 2, 1), (LUMA, 0, 2, 2), (LUMA, 0, 0, 4), (WARM, 0, 0, 1), (WARM, 0, 1, 0)]
"""Of the first frame."""

SCALE = 0.25
"""One global factor; brings the latents of ordinary footage near unit variance."""
FIRST_GAIN = 2.0
"""Makes a lone frame's coefficients equal those of a still of four, so that references look like video."""
MEAN = {0: -8.0, 8: 0.8}
"""Means of the grey and the red-against-blue averages over ordinary footage, before scaling; the others have none."""


def cosine_basis(length: int) -> Tensor:
    """Orthonormal cosine transform (DCT-II), (coefficients, samples) in float64."""
    samples = torch.arange(length, dtype=torch.float64) + 0.5
    basis = torch.cos(math.pi / length * torch.arange(length, dtype=torch.float64)[:, None] * samples)
    basis[0] /= math.sqrt(2)
    return basis * math.sqrt(2 / length)


def _basis(coefficients: list[tuple[int, int, int, int]], frames: int) -> Tensor:
    """(16, 3, frames, 8, 8): the orthonormal patterns of the kept coefficients."""
    colour, time, space = cosine_basis(3), cosine_basis(frames), cosine_basis(SPACE)
    rows = [torch.einsum("c,t,y,x->ctyx", colour[c], time[t], space[v], space[u]) for c, t, v, u in coefficients]
    return torch.stack(rows).float()


class LinearCodec:
    """See `humo.encoders.VideoCodec`. Runs on whatever device its input is on."""

    spatial_stride = SPACE
    temporal_stride = TIME

    def __init__(self) -> None:
        self.first_basis = _basis(FIRST, 1)
        self.group_basis = _basis(GROUP, TIME)
        self.mean = torch.zeros(CHANNELS, 1, 1, 1)
        for channel, mean in MEAN.items():
            self.mean[channel] = mean

    @classmethod
    def load(cls, folder: Path, device: torch.device, dtype: torch.dtype) -> "LinearCodec":
        """It has no parameters; the folder must say that it is this codec's."""
        read_config(folder, cls.__name__)
        return cls()

    def save(self, folder: Path) -> None:
        """Write its configuration."""
        write_config(folder, MiniConfig(encoder=type(self).__name__))

    def encode(self, video_bcthw: Tensor) -> Tensor:
        """(batch, 3, 4n+1, height, width) in [-1, 1] to (batch, 16, n+1, height / 8, width / 8) in float32.

        Raises ValueError for other lengths and for sizes that do not divide by 8.
        """
        frames, height, width = video_bcthw.shape[2:]
        if frames % TIME != 1 or height % SPACE or width % SPACE:
            raise ValueError(
                f"{frames} frames of {height}x{width}; the codec takes 4n+1 frames, sizes that divide by 8"
            )
        video = video_bcthw.float()
        first = FIRST_GAIN * _analyse(video[:, :, :1], self.first_basis)
        latents = first if frames == 1 else torch.cat((first, _analyse(video[:, :, 1:], self.group_basis)), dim=2)
        return (latents - self.mean.to(latents)) * SCALE

    def decode(self, latents_bcthw: Tensor) -> Tensor:
        """(batch, 16, n+1, h, w) to (batch, 3, 4n+1, 8h, 8w), clipped to [-1, 1]."""
        latents = latents_bcthw.float() / SCALE + self.mean.to(latents_bcthw.device)
        video = _synthesise(latents[:, :, :1] / FIRST_GAIN, self.first_basis)
        if latents.shape[2] > 1:
            video = torch.cat((video, _synthesise(latents[:, :, 1:], self.group_basis)), dim=2)
        return video.clamp(-1, 1)


def _analyse(video_bcthw: Tensor, basis: Tensor) -> Tensor:
    return torch.nn.functional.conv3d(video_bcthw, basis.to(video_bcthw), stride=basis.shape[2:])


def _synthesise(latents_bcthw: Tensor, basis: Tensor) -> Tensor:
    return torch.nn.functional.conv_transpose3d(latents_bcthw, basis.to(latents_bcthw), stride=basis.shape[2:])
