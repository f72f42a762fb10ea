"""Captions by Qwen2.5-VL or Qwen3-VL through transformers, from a folder in the published layout.

Bai et al. 2025, "Qwen2.5-VL Technical Report". Frames go in as pictures, in time order, through the image processor on
PIL and NumPy: neither torchvision nor a video reader is needed.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.backends.captioner import Asked, Decoding, Reply
from pipeline.weights.weight import Weight, hub_files, shards
from schemas.errors import UserError

_TEXT_FILES = ("config.json", "generation_config.json", "preprocessor_config.json", "tokenizer.json")
_INDEX = "model.safetensors.index.json"
_QWEN25 = (*_TEXT_FILES, "tokenizer_config.json", _INDEX)

WEIGHTS = (
    Weight(
        name="qwen2.5-vl-7b",
        source="https://huggingface.co/Qwen/Qwen2.5-VL-7B-Instruct",
        licence="Apache-2.0",
        files=hub_files(
            "Qwen/Qwen2.5-VL-7B-Instruct", "cc594898137f460bfe9f0759e9844b3ce807cfb5", *_QWEN25, *shards(5)
        ),
    ),
    Weight(
        name="qwen2.5-vl-3b",
        source="https://huggingface.co/Qwen/Qwen2.5-VL-3B-Instruct",
        licence="Qwen research licence",
        licence_note="for non-commercial research only",
        files=hub_files(
            "Qwen/Qwen2.5-VL-3B-Instruct", "66285546d2b821cf421d4f5eb2576359d3770cd3", *_QWEN25, *shards(2)
        ),
    ),
    Weight(
        name="qwen3-vl-8b",
        source="https://huggingface.co/Qwen/Qwen3-VL-8B-Instruct",
        licence="Apache-2.0",
        files=hub_files("Qwen/Qwen3-VL-8B-Instruct", "0c351dd01ed87e9c1b53cbc748cba10e6187ff3b", *_QWEN25, *shards(4)),
    ),
)

MODELS = ("qwen2_5_vl", "qwen3_vl")
"""Architectures, as `config.json` names them."""
MOST_PIXELS = 768 * 432
"""Of a frame as the model sees it: about 400 tokens of Qwen2.5-VL."""
SYSTEM = "You are a helpful assistant."
PICTURE = "<|image_pad|>"


class QwenCaptioner:
    """Holds the model. Made once in the process that uses it."""

    def __init__(self, folder: Path, *, version: str, device: str, decoding: Decoding, batch: int) -> None:
        """Load the model, in bfloat16 on a GPU and in float32 on the processor.

        Args:
            folder: the model in its published layout, with safetensors.
            version: what rows record of the weights.
            device: `cuda` or `cpu`.
            decoding: how it writes. At temperature 0 it takes the likeliest word each time.
            batch: clips at a time.

        Raises UserError where the folder holds no such model.
        """
        import torch
        import transformers
        from transformers import AutoConfig, AutoModelForImageTextToText, AutoTokenizer
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

        local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            kind = AutoConfig.from_pretrained(folder, **local).model_type
            if kind not in MODELS:
                raise UserError(f"{folder} holds a model of the kind {kind!r}; captions takes {' and '.join(MODELS)}")
            dtype = torch.bfloat16 if device == "cuda" else torch.float32
            model = AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype, use_safetensors=True, **local)
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, padding_side="left", **local)
            self._pictures: Any = Qwen2VLImageProcessorPil.from_pretrained(folder, max_pixels=MOST_PIXELS, **local)
        except (OSError, ValueError) as error:
            raise UserError(f"cannot load the captioner from {folder}: {' '.join(str(error).split())[:300]}") from error
        on_device: Any = model
        self._model = on_device.to(device).eval()
        self._device = device
        self._batch = batch
        end = self._tokenizer.convert_tokens_to_ids("<|im_end|>")
        # The published sampling options do not apply: ours are recorded with each caption.
        configured: Any = transformers.GenerationConfig
        self._generation = configured(
            max_new_tokens=decoding.tokens,
            do_sample=decoding.temperature > 0,
            temperature=decoding.temperature or None,
            eos_token_id=end,
            pad_token_id=self._tokenizer.pad_token_id if self._tokenizer.pad_token_id is not None else end,
        )
        self.name = f"{kind}:{version}"

    def reply(self, asked: Sequence[Asked]) -> list[Reply]:
        """A reply for every key. See `Captioner`."""
        # Alike long prompts beside one another: less padding.
        ordered = sorted(asked, key=lambda one: (len(one.frames_thwc), one.frames_thwc[0].shape))
        return [reply for batch in _batches(ordered, self._batch) for reply in self._some(batch)]

    def _some(self, asked: Sequence[Asked]) -> list[Reply]:
        import torch

        seen = self._pictures([frame for one in asked for frame in one.frames_thwc], return_tensors="pt")
        merged = (seen["image_grid_thw"].prod(dim=1) // self._pictures.merge_size**2).tolist()
        counts = iter(merged)
        texts = [_prompt(one, [next(counts) for _ in one.frames_thwc]) for one in asked]
        tokens = self._tokenizer(texts, padding=True, return_tensors="pt", add_special_tokens=False)
        ids_bl = tokens["input_ids"].to(self._device)
        with torch.inference_mode():
            written_bl = self._model.generate(
                input_ids=ids_bl,
                attention_mask=tokens["attention_mask"].to(self._device),
                mm_token_type_ids=(ids_bl == self._model.config.image_token_id).int(),
                pixel_values=seen["pixel_values"].to(self._device, self._model.dtype),
                image_grid_thw=seen["image_grid_thw"].to(self._device),
                generation_config=self._generation,
            )
        answers = self._tokenizer.batch_decode(written_bl[:, ids_bl.shape[1] :], skip_special_tokens=True)
        return [Reply(key=one.key, text=answer) for one, answer in zip(asked, answers, strict=True)]


def _prompt(asked: Asked, tokens: list[int]) -> str:
    """ChatML, as Qwen's own chat templates write it. `tokens`: of each frame."""
    frames = "".join(f"<|vision_start|>{PICTURE * count}<|vision_end|>" for count in tokens)
    turns = ("system", SYSTEM), ("user", f"{frames}{asked.text()}")
    said = "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in turns)
    return f"{said}<|im_start|>assistant\n"


def _batches(asked: Sequence[Asked], size: int) -> Iterator[Sequence[Asked]]:
    for start in range(0, len(asked), size):
        yield asked[start : start + size]
