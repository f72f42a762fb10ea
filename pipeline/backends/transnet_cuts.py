"""TransNet V2 over a source: windows of pictures in, each picture's chance to end a shot out."""

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.weights.weight import Weight, WeightFile
from schemas.errors import UserError

if TYPE_CHECKING:
    from pipeline.backends.transnetv2 import TransNetV2

WEIGHTS = (
    Weight(
        name="transnetv2",
        source="https://github.com/soCzech/TransNetV2",
        licence="MIT",
        files=(
            WeightFile(
                path="transnetv2-pytorch-weights.pth",
                url="https://huggingface.co/MiaoshouAI/transnetv2-pytorch-weights/resolve/"
                "a97542e4eb22e3af904ac13b10cf06da507e2ff1/transnetv2-pytorch-weights.pth",
                sha256="46520d66d4bf60414a4d82e0e94a92442ff950e34517a3718b2e54815e642b53",
            ),
        ),
    ),
)

FILE = "transnetv2-pytorch-weights.pth"
PICTURE = (48, 27)
"""Width and height that the network sees."""
WINDOW = 100
"""Pictures that the network sees at once; it is believed for the middle half."""
MARGIN = WINDOW // 4


def load_transnetv2(folder: Path, device: str) -> "TransNetV2":
    """The network with its weights. Raises UserError where the file holds others."""
    import torch

    from pipeline.backends.transnetv2 import TransNetV2

    path = folder / FILE
    model = TransNetV2()
    try:
        model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError, TypeError, AttributeError, pickle.UnpicklingError) as error:
        raise UserError(f"{path} does not hold TransNet V2: {' '.join(str(error).split())[:200]}") from error
    return model.to(device).eval()


class TransitionChances:
    """Takes a source's pictures one by one, in bounded memory, and tells each one's chance to end a shot."""

    def __init__(self, model: "TransNetV2") -> None:
        self._model = model
        self._device = next(model.parameters()).device
        self._waiting: list[NDArray[np.uint8]] = []
        self._last: NDArray[np.uint8] | None = None
        self._count = 0
        self._chances: list[float] = []

    def add(self, picture_hwc: NDArray[np.uint8]) -> None:
        """Take the next picture: RGB uint8, whatever its size."""
        small = cv2.resize(picture_hwc, PICTURE, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        if self._last is None:
            self._waiting += [small] * MARGIN
        self._waiting.append(small)
        self._last = small
        self._count += 1
        while len(self._waiting) >= WINDOW:
            self._look()

    def finish(self) -> NDArray[np.float32]:
        """Chances in [0, 1], one a picture."""
        while len(self._chances) < self._count:
            assert self._last is not None
            self._waiting += [self._last] * (WINDOW - len(self._waiting))
            self._look()
        return np.array(self._chances[: self._count], dtype=np.float32)

    def _look(self) -> None:
        import torch

        frames_bthwc = torch.from_numpy(np.stack(self._waiting[:WINDOW])[None]).to(self._device)
        with torch.inference_mode():
            chances = torch.sigmoid(self._model(frames_bthwc))[0, MARGIN : WINDOW - MARGIN]
        self._chances += chances.float().cpu().tolist()
        del self._waiting[: WINDOW // 2]


def runs(chances_t: NDArray[np.float32], threshold: float) -> Iterator[tuple[int, int]]:
    """Spans (first, last inclusive) of pictures above the threshold."""
    above = np.flatnonzero(np.diff(np.concatenate([[False], chances_t > threshold, [False]]).astype(np.int8)))
    for first, end in above.reshape(-1, 2):
        yield int(first), int(end) - 1
