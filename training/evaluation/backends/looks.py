"""What gives embeddings of pictures and texts, by transformers; by open_clip it is `pipeline.backends.open_clip_looks`.

Radford et al. 2021, "CLIP"; Oquab et al. 2023, "DINOv2". Weights are folders in transformers' layout on this machine;
nothing is fetched.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from schemas.errors import UserError

Pictures = Sequence[NDArray[np.uint8]]

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class PictureEmbedder(Protocol):
    """Embeds pictures."""

    name: str

    def pictures(self, frames_hwc: Pictures) -> NDArray[np.float32]:
        """Embeddings of length 1, shape (n, dimension), of RGB uint8 pictures (H, W, 3)."""
        ...


class PictureTextEmbedder(PictureEmbedder, Protocol):
    """Embeds pictures and texts into one space."""

    def texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings of length 1, shape (n, dimension)."""
        ...


class AestheticScorer(PictureEmbedder, Protocol):
    """Scores its own embeddings."""

    def aesthetic(self, embeddings_nd: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores, shape (n,), about 1 to 10."""
        ...


class ClipFolder:
    """CLIP by transformers."""

    def __init__(self, folder: Path, *, device: str = "cpu") -> None:
        """Load it. Raises UserError for a folder that holds no CLIP."""
        from transformers import AutoTokenizer, CLIPModel

        self._model: Any = _loaded(CLIPModel, folder, "a CLIP model").to(device)
        self._tokenizer: Any = _loaded(AutoTokenizer, folder, "a CLIP tokenizer")
        self._side = int(self._model.config.vision_config.image_size)
        self._longest = int(self._model.config.text_config.max_position_embeddings)
        self._device = device
        self.name = f"clip:{weights_digest(folder)}"

    def pictures(self, frames_hwc: Pictures) -> NDArray[np.float32]:
        """See `PictureEmbedder`."""
        import torch

        pixels_bchw = prepared(frames_hwc, side=self._side, mean=CLIP_MEAN, std=CLIP_STD)
        with torch.inference_mode():
            pooled = self._model.vision_model(pixel_values=torch.from_numpy(pixels_bchw).to(self._device)).pooler_output
            return unit_rows(self._model.visual_projection(pooled).cpu().numpy())

    def texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See `PictureTextEmbedder`. What is beyond the model's context is cut off."""
        import torch

        tokens = self._tokenizer(
            list(texts), padding=True, truncation=True, max_length=self._longest, return_tensors="pt"
        ).to(self._device)
        with torch.inference_mode():
            pooled = self._model.text_model(
                input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
            ).pooler_output
            return unit_rows(self._model.text_projection(pooled).cpu().numpy())


class DinoFolder:
    """DINOv2 by transformers: its class token."""

    def __init__(self, folder: Path, *, device: str = "cpu") -> None:
        """Load it. Raises UserError for a folder that holds no DINOv2."""
        from transformers import Dinov2Model

        self._model: Any = _loaded(Dinov2Model, folder, "a DINOv2 model").to(device)
        self._device = device
        patch = int(self._model.config.patch_size)
        self._side = min(int(self._model.config.image_size), 224) // patch * patch
        self.name = f"dinov2:{weights_digest(folder)}"

    def pictures(self, frames_hwc: Pictures) -> NDArray[np.float32]:
        """See `PictureEmbedder`."""
        import torch

        pixels_bchw = prepared(frames_hwc, side=self._side, mean=IMAGENET_MEAN, std=IMAGENET_STD)
        with torch.inference_mode():
            states = self._model(pixel_values=torch.from_numpy(pixels_bchw).to(self._device)).last_hidden_state
            return unit_rows(states[:, 0].cpu().numpy())


class WidthDiffers(Exception):
    """An aesthetic head reads embeddings of another width than a CLIP gives."""


class AestheticClip:
    """LAION's aesthetic head on a CLIP that is there anyway. The head was trained on OpenAI's ViT-L/14."""

    def __init__(self, embedder: PictureEmbedder, head: Path, *, device: str = "cpu") -> None:
        """`head`: its file. Raises UserError for another file, WidthDiffers for another CLIP."""
        from pipeline.backends.open_clip_looks import aesthetic_head

        self._embedder = embedder
        self._head: Any = aesthetic_head(head, device)
        self._device = device
        self.name = f"LAION head on {embedder.name}"
        width = embedder.pictures([np.zeros((8, 8, 3), np.uint8)]).shape[1]
        if width != self._head[0].in_features:
            raise WidthDiffers(
                f"the aesthetic head reads embeddings of {self._head[0].in_features} numbers, {embedder.name} gives "
                f"{width}: it was trained on OpenAI's ViT-L/14"
            )

    def pictures(self, frames_hwc: Pictures) -> NDArray[np.float32]:
        """See `PictureEmbedder`."""
        return self._embedder.pictures(frames_hwc)

    def aesthetic(self, embeddings_nd: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `AestheticScorer`."""
        import torch

        with torch.inference_mode():
            scores = self._head(torch.from_numpy(embeddings_nd).to(self._device))
        return np.asarray(scores.float().cpu().numpy()[:, 0], dtype=np.float32)


def prepared(
    frames_hwc: Pictures, *, side: int, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> NDArray[np.float32]:
    """Pictures scaled so that the shorter side is `side`, cut to the middle square, normalised: (n, 3, side, side)."""
    squares = []
    for frame in frames_hwc:
        height, width = frame.shape[:2]
        scale = side / min(height, width)
        size = (max(side, round(width * scale)), max(side, round(height * scale)))
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        resized = cv2.resize(frame, size, interpolation=method)
        y, x = (size[1] - side) // 2, (size[0] - side) // 2
        squares.append(resized[y : y + side, x : x + side])
    normal = (np.stack(squares) / 255 - np.array(mean)) / np.array(std)
    return np.ascontiguousarray(normal.transpose(0, 3, 1, 2), dtype=np.float32)


def unit_rows(rows_nd: NDArray[np.float32]) -> NDArray[np.float32]:
    """Every row at length 1."""
    lengths = np.linalg.norm(rows_nd, axis=1, keepdims=True)
    return np.asarray(rows_nd / np.maximum(lengths, 1e-12), dtype=np.float32)


def weights_digest(folder: Path) -> str:
    """8 hex digits of a folder's safetensors."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:8]


def _loaded(kind: Any, folder: Path, what: str) -> Any:
    safe = {} if kind.__name__ == "AutoTokenizer" else {"use_safetensors": True}
    try:
        loaded = kind.from_pretrained(folder, local_files_only=True, **safe)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{folder} holds not {what}: {' '.join(str(error).split())[:200]}") from error
    return loaded.eval() if safe else loaded
