"""SyncNet: two towers that place five frames of a face and 0.2 s of sound in one space, near if they belong together.

Chung and Zisserman 2016, "Out of time: automated lip sync in the wild"; layers as in the published weights
(`syncnet_v2.model`), whose names are kept.
"""

import pickle
from pathlib import Path

import torch
from torch import Tensor, nn

from schemas.errors import UserError

FACE_PX = 224
FACE_FRAMES = 5
SOUND_STEPS = 20
"""Steps of 10 ms that go with the five frames."""
CEPSTRA = 13
EMBEDDING = 1024


def _conv2d(inputs: int, outputs: int, kernel: tuple[int, int], padding: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, kernel, padding=padding), nn.BatchNorm2d(outputs), nn.ReLU()]


def _conv3d(
    inputs: int, outputs: int, kernel: tuple[int, int, int], *, stride: int = 1, padding: int = 0
) -> list[nn.Module]:
    """Stride and padding are those of the picture; time is neither strided nor padded."""
    conv = nn.Conv3d(inputs, outputs, kernel, stride=(1, stride, stride), padding=(0, padding, padding))
    return [conv, nn.BatchNorm3d(outputs), nn.ReLU()]


def _pool3d(*, padding: int = 0) -> nn.Module:
    return nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, padding, padding))


def _head() -> nn.Sequential:
    return nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, EMBEDDING))


class SyncNet(nn.Module):
    """The network. Use it in evaluation mode: its normalisations carry the statistics of its training."""

    def __init__(self) -> None:
        super().__init__()
        self.netcnnaud = nn.Sequential(
            *_conv2d(1, 64, (3, 3), 1),
            nn.MaxPool2d((1, 1), stride=(1, 1)),
            *_conv2d(64, 192, (3, 3), 1),
            nn.MaxPool2d((3, 3), stride=(1, 2)),
            *_conv2d(192, 384, (3, 3), 1),
            *_conv2d(384, 256, (3, 3), 1),
            *_conv2d(256, 256, (3, 3), 1),
            nn.MaxPool2d((3, 3), stride=(2, 2)),
            *_conv2d(256, 512, (5, 4), 0),
        )
        self.netfcaud = _head()
        self.netfclip = _head()
        self.netcnnlip = nn.Sequential(
            *_conv3d(3, 96, (5, 7, 7), stride=2),
            _pool3d(),
            *_conv3d(96, 256, (1, 5, 5), stride=2, padding=1),
            _pool3d(padding=1),
            *_conv3d(256, 256, (1, 3, 3), padding=1),
            *_conv3d(256, 256, (1, 3, 3), padding=1),
            *_conv3d(256, 256, (1, 3, 3), padding=1),
            _pool3d(),
            *_conv3d(256, 512, (1, 6, 6)),
        )

    def sound(self, cepstra_b1ct: Tensor) -> Tensor:
        """Embeddings (batch, 1024) of sound: cepstra of shape (batch, 1, 13, 20)."""
        embedded: Tensor = self.netfcaud(self.netcnnaud(cepstra_b1ct).flatten(1))
        return embedded

    def lips(self, faces_bcthw: Tensor) -> Tensor:
        """Embeddings (batch, 1024) of faces, shape (batch, 3, 5, 224, 224): blue, green, red, 0 to 255."""
        embedded: Tensor = self.netfclip(self.netcnnlip(faces_bcthw).flatten(1))
        return embedded


def load_syncnet(weights: Path, device: str) -> SyncNet:
    """The network with its published weights, in evaluation mode.

    Raises:
        UserError: the file is missing, is no plain state dictionary, or does not fit.
    """
    if not weights.is_file():
        raise UserError(f"SyncNet's weights are missing: there is no file {weights}; humo fetch syncnet-v2")
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise UserError(f"{weights} is no file of weights: {str(error).splitlines()[0]}") from error
    network = SyncNet()
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise UserError(f"{weights} does not hold SyncNet: {str(error).splitlines()[0]}") from error
    try:
        return network.to(device).eval()
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"SyncNet cannot run on {device}: {str(error).splitlines()[0]}") from error
