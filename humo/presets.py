"""The sizes of the released variants and of the mini model, as keyword arguments of `HuMoTransformer`."""

from typing import Any, Literal

Variant = Literal["1.7b", "17b", "mini"]

HUMO_1_7B: dict[str, Any] = {"form": "overwrite", "width": 1536, "ffn": 8960, "heads": 12, "layers": 30}
HUMO_17B: dict[str, Any] = {"form": "channels", "width": 5120, "ffn": 13824, "heads": 40, "layers": 40}
MINI: dict[str, Any] = {
    "form": "overwrite",
    "width": 128,
    "ffn": 512,
    "heads": 2,
    "layers": 4,
    "text_dim": 64,
    "text_length": 32,
    "audio_dim": 24,
    "audio_tokens": 4,
    "audio_width": 128,
    "audio_hidden": 128,
    "freq_dim": 128,
}
"""The real architecture at toy width, about 1.7 million parameters; text and audio sizes are the mini encoders'."""

PRESETS: dict[Variant, dict[str, Any]] = {"1.7b": HUMO_1_7B, "17b": HUMO_17B, "mini": MINI}
