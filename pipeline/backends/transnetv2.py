"""Shot transitions by TransNet V2 (Souček and Lokoč 2020), in PyTorch, with the names of its converted weights.

Pictures of 48 x 27 run through three stacks of dilated separable 3D convolutions; the similarity of each picture to
its neighbours, by features and by colour histogram, is put beside them; a linear layer tells each picture's chance to
be the last before a cut, or part of a transition.
"""

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

WIDTH, HEIGHT = 48, 27
LOOKUP = 101
"""Neighbours that each picture is compared with, itself in the middle."""
STACKS, FILTERS, SIMILARITY, HIDDEN = 3, 16, 128, 1024


class _Separable(nn.Module):
    """A convolution in space, then a dilated one in time."""

    def __init__(self, inputs: int, outputs: int, dilation: int) -> None:
        super().__init__()
        space = nn.Conv3d(inputs, 2 * outputs, (1, 3, 3), padding=(0, 1, 1), bias=False)
        time = nn.Conv3d(
            2 * outputs, outputs, (3, 1, 1), dilation=(dilation, 1, 1), padding=(dilation, 0, 0), bias=False
        )
        self.layers = nn.ModuleList([space, time])

    def forward(self, x_bcthw: Tensor) -> Tensor:
        for layer in self.layers:
            x_bcthw = layer(x_bcthw)
        return x_bcthw


class _Dilated(nn.Module):
    """Four dilations side by side, then batch normalisation."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.Conv3D_1 = _Separable(inputs, outputs, 1)
        self.Conv3D_2 = _Separable(inputs, outputs, 2)
        self.Conv3D_4 = _Separable(inputs, outputs, 4)
        self.Conv3D_8 = _Separable(inputs, outputs, 8)
        self.bn = nn.BatchNorm3d(4 * outputs, eps=1e-3)

    def forward(self, x_bcthw: Tensor) -> Tensor:
        parts = (self.Conv3D_1, self.Conv3D_2, self.Conv3D_4, self.Conv3D_8)
        normed: Tensor = self.bn(torch.cat([part(x_bcthw) for part in parts], dim=1))
        return normed


class _Stack(nn.Module):
    """Two dilated blocks with a residual, then half the size."""

    def __init__(self, inputs: int, filters: int) -> None:
        super().__init__()
        self.DDCNN = nn.ModuleList([_Dilated(inputs, filters), _Dilated(4 * filters, filters)])

    def forward(self, x_bcthw: Tensor) -> Tensor:
        first = nnf.relu(self.DDCNN[0](x_bcthw))
        return nnf.avg_pool3d(nnf.relu(self.DDCNN[1](first)) + first, (1, 2, 2))


class _FrameSimilarity(nn.Module):
    def __init__(self, features: int) -> None:
        super().__init__()
        self.projection = nn.Linear(features, SIMILARITY)
        self.fc = nn.Linear(LOOKUP, SIMILARITY)

    def forward(self, stacks: list[Tensor]) -> Tensor:
        features_btd = torch.cat([x_bcthw.mean(dim=(3, 4)) for x_bcthw in stacks], dim=1).transpose(1, 2)
        return nnf.relu(self.fc(_similarities(nnf.normalize(self.projection(features_btd), dim=2))))


class _ColorHistograms(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(LOOKUP, SIMILARITY)

    def forward(self, frames_bthwc: Tensor) -> Tensor:
        """Histograms of 8 x 8 x 8 colours."""
        batch, count = frames_bthwc.shape[:2]
        bins = (frames_bthwc.reshape(batch * count, -1, 3).long() >> 5) @ frames_bthwc.new_tensor(
            [64, 8, 1], dtype=torch.long
        )
        histogram = torch.zeros(batch * count, 512, device=frames_bthwc.device)
        histogram.scatter_add_(1, bins, torch.ones_like(bins, dtype=histogram.dtype))
        return nnf.relu(self.fc(_similarities(nnf.normalize(histogram, dim=1).reshape(batch, count, 512))))


def _similarities(x_btd: Tensor) -> Tensor:
    """Of each picture to its neighbours, shape (batch, time, LOOKUP); 0 where there is none."""
    half = (LOOKUP - 1) // 2
    padded = nnf.pad(x_btd @ x_btd.transpose(1, 2), (half, half))
    count = x_btd.shape[1]
    times = torch.arange(count, device=x_btd.device)
    near = times[:, None] + torch.arange(LOOKUP, device=x_btd.device)
    return padded[:, times[:, None], near]


class TransNetV2(nn.Module):
    """The network. Names of modules and parameters are those of the converted weights."""

    def __init__(self) -> None:
        super().__init__()
        inputs = [3, *(4 * FILTERS * 2**number for number in range(STACKS - 1))]
        self.SDDCNN = nn.ModuleList([_Stack(inputs[number], FILTERS * 2**number) for number in range(STACKS)])
        self.frame_sim_layer = _FrameSimilarity(sum(4 * FILTERS * 2**number for number in range(STACKS)))
        self.color_hist_layer = _ColorHistograms()
        features = 4 * FILTERS * 2 ** (STACKS - 1) * (HEIGHT >> STACKS) * (WIDTH >> STACKS)
        self.fc1 = nn.Linear(features + 2 * SIMILARITY, HIDDEN)
        self.cls_layer1 = nn.Linear(HIDDEN, 1)
        self.cls_layer2 = nn.Linear(HIDDEN, 1)

    def forward(self, frames_bthwc: Tensor) -> Tensor:
        """Logits (batch, time) that a picture is the last of its shot; from RGB uint8 (batch, time, 27, 48, 3).

        `cls_layer2` tells all pictures of a transition; it trained the network and is not asked here.
        """
        x_bcthw = frames_bthwc.permute(0, 4, 1, 2, 3).float() / 255
        stacks = []
        for stack in self.SDDCNN:
            x_bcthw = stack(x_bcthw)
            stacks.append(x_bcthw)
        flat_btd = x_bcthw.permute(0, 2, 3, 4, 1).flatten(2)
        seen = torch.cat([self.color_hist_layer(frames_bthwc), self.frame_sim_layer(stacks), flat_btd], dim=2)
        logits: Tensor = self.cls_layer1(nnf.relu(self.fc1(seen)))
        return logits[..., 0]
