"""The model directory: reading and writing it.

DIR/model_index.json    encoders, defaults, guidance
DIR/transformer/        config.json and safetensors, as diffusers writes them
DIR/text_encoder/  DIR/audio_encoder/  DIR/vae/  DIR/scheduler/
"""

import inspect
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import ValidationError
from torch import nn

from humo.encoders import AudioEncoder, TextEncoder, VideoCodec
from humo.generation import sampler
from humo.int8 import store_in_8_bits
from humo.settings import GenerationDefaults, ModelIndex
from humo.transformer import KEPT_IN_FLOAT32, HuMoTransformer
from humo.weights import fit_weights, read_weights
from schemas.errors import UserError

INDEX = "model_index.json"
Weights = Literal["full", "int8-text", "int8"]
"""`full`: as they are. `int8-text`: the text encoder's linear layers in 8 bits. `int8`: the transformer's too."""
KNOWN_PARTS = {
    "text_encoder": {"HashedTextEncoder": "humo.mini.text", "UMT5TextEncoder": "humo.wan"},
    "audio_encoder": {"MelAudioEncoder": "humo.mini.audio", "WhisperAudioEncoder": "humo.wan"},
    "vae": {"LinearCodec": "humo.mini.codec", "WanCodec": "humo.wan"},
}
"""The classes a model directory may name, by folder, with their modules, which are imported when needed."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """Everything that generating and training need."""

    transformer: HuMoTransformer
    text_encoder: TextEncoder
    audio_encoder: AudioEncoder
    codec: VideoCodec
    defaults: GenerationDefaults
    shift: float
    """Of the sampler's noise schedule."""


def save_model_dir(directory: Path, model: Model) -> None:
    """Write a model directory, whole or not at all; one that is there is replaced."""
    partial = directory.with_name(directory.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    model.transformer.save_pretrained(partial / "transformer")
    for folder, part in (
        ("text_encoder", model.text_encoder),
        ("audio_encoder", model.audio_encoder),
        ("vae", model.codec),
    ):
        part.save(partial / folder)
    sampler(steps=model.defaults.steps, shift=model.shift).save_config(partial / "scheduler")
    index = ModelIndex(
        text_encoder=type(model.text_encoder).__name__,
        audio_encoder=type(model.audio_encoder).__name__,
        vae=type(model.codec).__name__,
        defaults=model.defaults,
    )
    (partial / INDEX).write_text(json.dumps(index.model_dump(by_alias=True), indent=1, ensure_ascii=False) + "\n")
    shutil.rmtree(directory, ignore_errors=True)
    partial.rename(directory)


def load_model_dir(directory: Path, *, device: torch.device, dtype: torch.dtype, weights: Weights = "full") -> Model:
    """Read a model directory.

    Args:
        directory: as `save_model_dir` writes it.
        device: where everything goes.
        dtype: of the transformer's and the text encoder's weights; what is delicate stays in float32.
        weights: in how many bits they are held; see `humo.int8`.

    Raises:
        UserError: for a folder or a file that is missing or unfit, naming it.
    """
    index = read_index(directory)
    classes = {part: part_class(directory, index, part) for part in KNOWN_PARTS}
    shift = read_shift(directory)
    transformer = load_transformer(directory / "transformer", dtype=dtype, int8=weights == "int8")
    parts = {
        part: load_part(directory, part, found, device=device, dtype=dtype, weights=weights)
        for part, found in classes.items()
    }
    return Model(
        transformer=transformer.to(device),  # type: ignore[arg-type]
        text_encoder=parts["text_encoder"],
        audio_encoder=parts["audio_encoder"],
        codec=parts["vae"],
        defaults=index.defaults,
        shift=shift,
    )


def part_class(directory: Path, index: ModelIndex, part: str) -> Any:
    """The class of an encoder or of the codec. Raises UserError if it is unknown or its folder is missing."""
    known, name = KNOWN_PARTS[part], getattr(index, part)
    if name not in known:
        raise UserError(f"{directory / INDEX} names {name!r} as its {part}; known are {', '.join(known)}")
    if not (directory / part).is_dir():
        raise UserError(f"{directory / part} does not exist")
    return getattr(import_module(known[name]), name)


def load_part(
    directory: Path, part: str, found: Any, *, device: torch.device, dtype: torch.dtype, weights: Weights
) -> Any:
    """An encoder or the codec; see `load_model_dir`. `found` is its `part_class`."""
    if part != "text_encoder" or weights == "full":
        return found.load(directory / part, device, dtype)
    encoder = found.load(directory / part, torch.device("cpu"), dtype)
    # The mini encoder has no weights.
    if isinstance(module := getattr(encoder, "model", None), nn.Module):
        store_in_8_bits(module, nn.Linear)
        module.to(device)
    return encoder


def read_shift(directory: Path) -> float:
    """Of the sampler's noise schedule. Raises UserError if the scheduler's configuration has none."""
    path = directory / "scheduler" / "scheduler_config.json"
    shift = read_json(path).get("flow_shift")
    if not isinstance(shift, (int, float)) or shift <= 0:
        raise UserError(f"{path} has no flow_shift above 0")
    return float(shift)


def load_transformer(folder: Path, *, dtype: torch.dtype, int8: bool = False) -> HuMoTransformer:
    """The transformer of a model directory, on the CPU and in evaluation mode.

    Weights whose type stays are file maps: they enter memory when they are used.

    Args:
        folder: `transformer` of a model directory.
        dtype: of the weights; what is delicate stays in float32.
        int8: hold the linear layers in 8 bits; see `humo.int8`.

    Raises:
        UserError: for unreadable files and for missing, unknown or misshaped keys, naming them.
    """
    model = empty_transformer(read_transformer_config(folder), where=str(folder))
    fit_weights(model, read_weights(folder), where=str(folder))
    for name, parameter in model.named_parameters():
        kept = any(part in KEPT_IN_FLOAT32 for part in name.split("."))
        parameter.data = parameter.data.to(torch.float32 if kept else dtype)
    if int8:
        store_in_8_bits(model)
    model.eval()
    return model


def read_transformer_config(folder: Path) -> dict[str, Any]:
    """Arguments of `HuMoTransformer` by the folder's `config.json`. Raises UserError for entries it does not take."""
    config = read_json(folder / "config.json")
    arguments = {name: value for name, value in config.items() if not name.startswith("_")}
    known = set(inspect.signature(HuMoTransformer.__init__).parameters) - {"self"}
    if unknown := sorted(set(arguments) - known):
        raise UserError(f"{folder}: the configuration has unknown entries: {', '.join(unknown)}")
    return arguments


def empty_transformer(config: Mapping[str, Any], *, where: str) -> HuMoTransformer:
    """On the meta device. Raises UserError for a configuration that makes no model."""
    try:
        with torch.device("meta"):
            model: HuMoTransformer = HuMoTransformer(**config)
    except (TypeError, ValueError, ZeroDivisionError, RuntimeError) as error:
        raise UserError(f"{where}: the configuration makes no model: {error}") from error
    return model


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises UserError for a file that is missing or holds something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except ValueError as error:
        raise UserError(f"{path} is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is no JSON object")
    return content


def read_index(directory: Path) -> ModelIndex:
    """What a model directory says about itself. Raises UserError for a folder that is none."""
    if not directory.is_dir():
        raise UserError(f"{directory} does not exist; give the folder of a model, such as a training run's")
    if not (directory / INDEX).is_file():
        inside = next((path.parent for path in sorted(directory.glob(f"*/{INDEX}"))), None)
        hint = f"; {inside} is one" if inside else ""
        raise UserError(f"{directory} is no model directory: it has no {INDEX}{hint}")
    try:
        return ModelIndex.model_validate(read_json(directory / INDEX))
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{directory / INDEX}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
