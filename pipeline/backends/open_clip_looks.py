"""Image and text embeddings by open_clip, and LAION's aesthetic head on them.

Radford et al. 2021, "CLIP"; Schuhmann 2022, "improved-aesthetic-predictor". The head was trained on the embeddings of
OpenAI's ViT-L/14: another model's say nothing to it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.weights.weight import Weight, WeightFile, hub_files
from schemas.errors import UserError

WEIGHTS = (
    Weight(
        name="open-clip-vit-l-14",
        source="https://huggingface.co/timm/vit_large_patch14_clip_224.openai",
        licence="MIT",
        files=hub_files(
            "timm/vit_large_patch14_clip_224.openai", "main", "open_clip_config.json", "open_clip_model.safetensors"
        ),
    ),
    Weight(
        name="laion-aesthetic",
        source="https://github.com/christophschuhmann/improved-aesthetic-predictor",
        licence="Apache-2.0",
        files=(
            WeightFile(
                path="sac+logos+ava1-l14-linearMSE.pth",
                url="https://github.com/christophschuhmann/improved-aesthetic-predictor/raw/"
                "6934dd81792f086e613a121dbce43082cb8be85e/sac%2Blogos%2Bava1-l14-linearMSE.pth",
                sha256="21dd590f3ccdc646f0d53120778b296013b096a035a2718c9cb0d511bff0f1e0",
                size=3_714_759,
            ),
        ),
    ),
)

HEAD_FILE = "sac+logos+ava1-l14-linearMSE.pth"
HEAD_LAYERS = (1024, 128, 64, 16, 1)
"""Widths after the embedding; linear layers with dropout between them and no other activation."""


class OpenClipLooks:
    """Holds the two models. Made once in the process that uses it."""

    def __init__(self, folder: Path, head: Path, *, version: str, device: str, batch: int) -> None:
        """Load them.

        Args:
            folder: open_clip's layout: `open_clip_config.json` and `open_clip_model.safetensors`.
            head: folder with the aesthetic head's file.
            version: what rows record of the weights.
            device: `cuda` or `cpu`.
            batch: pictures or texts at a time.

        Raises UserError where a file is not what it should be.
        """
        import open_clip
        import torch

        if not (folder / "open_clip_model.safetensors").is_file():
            raise UserError(f"{folder} has no open_clip_model.safetensors")
        where = f"local-dir:{folder}"
        model, preprocess = open_clip.create_model_from_pretrained(where, device=device, return_transform=True)
        self._model: Any = model.eval()
        self._preprocess: Any = preprocess
        self._tokenizer: Any = open_clip.get_tokenizer(where)
        self._head = aesthetic_head(head / HEAD_FILE, device)
        self._device = device
        self._batch = batch
        self._torch = torch
        self.name = f"open_clip:{version}"

    def pictures(self, frames_hwc: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Embeddings of length 1, shape (n, dimension), of RGB uint8 pictures (H, W, 3)."""
        from PIL import Image

        def embed(some: Sequence[NDArray[np.uint8]]) -> Any:
            pixels = self._torch.stack([self._preprocess(Image.fromarray(frame)) for frame in some])
            return self._model.encode_image(pixels.to(self._device), normalize=True)

        return self._embedded(embed, frames_hwc)

    def texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings of length 1, shape (n, dimension). What is beyond the model's context (77 tokens) is cut off."""
        return self._embedded(
            lambda some: self._model.encode_text(self._tokenizer(list(some)).to(self._device), normalize=True), texts
        )

    def aesthetic(self, embeddings_nd: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores of pictures, shape (n,), about 1 to 10."""
        with self._torch.inference_mode():
            scores = self._head(self._torch.from_numpy(embeddings_nd).to(self._device))
        return np.asarray(scores.float().cpu().numpy()[:, 0], dtype=np.float32)

    def _embedded(self, embed: Any, items: Sequence[Any]) -> NDArray[np.float32]:
        with self._torch.inference_mode():
            found = [
                embed(items[start : start + self._batch]).float().cpu().numpy()
                for start in range(0, len(items), self._batch)
            ]
        return np.concatenate(found).astype(np.float32, copy=False)


def aesthetic_head(path: Path, device: str) -> Any:
    """LAION's head: embeddings (n, width) to scores (n, 1). Its file is a pickle, read without running code.

    Raises UserError for any other content.
    """
    import pickle

    import torch
    from torch import nn

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        width = int(state["layers.0.weight"].shape[1])
        # Dropout takes a place between linear layers, as the published keys count them.
        layers: list[nn.Module] = []
        for before, after in zip((width, *HEAD_LAYERS), HEAD_LAYERS, strict=False):
            layers.append(nn.Linear(before, after))
            if after not in HEAD_LAYERS[-2:]:
                layers.append(nn.Dropout())
        head = nn.Module()
        head.layers = nn.Sequential(*layers)
        head.load_state_dict(state)
    except (OSError, KeyError, TypeError, RuntimeError, pickle.UnpicklingError) as error:
        raise UserError(f"{path} is not LAION's aesthetic head: {' '.join(str(error).split())[:200]}") from error
    return head.layers.to(device).eval()
