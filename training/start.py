"""The model that training begins from, spread over the processes, and the model directory it ends as."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from humo.checkpoints import (
    KNOWN_PARTS,
    Model,
    empty_transformer,
    load_part,
    part_class,
    read_index,
    read_shift,
    read_transformer_config,
    save_model_dir,
)
from humo.mini.model import mini_model
from humo.weights import fit_weights, read_weights
from training.config import TrainingConfig
from training.parallel import World, full_state, spread

MINI = "mini"


def start_model(config: TrainingConfig, world: World, *, encoded: bool = False) -> Model:
    """The model in float32, its transformer spread as the configuration says.

    Where the data are `encoded`, the first process alone has encoders, which it exports and makes validation videos
    with; text and audio encoder stay on its CPU.

    Raises UserError for an unfit model directory and for a spread that does not fit the model.
    """
    cpu, here = torch.device("cpu"), world.device
    devices = {"text_encoder": cpu, "audio_encoder": cpu, "vae": here} if encoded else dict.fromkeys(KNOWN_PARTS, here)
    model = unspread_model(config, {} if encoded and not world.first else devices)
    spread(model.transformer, config.parallel, world)
    return model


def unspread_model(config: TrainingConfig, devices: Mapping[str, torch.device]) -> Model:
    """`start_model` before it is spread: of a model directory the transformer's weights are still file maps, which take
    no memory until they are used. Encoders are read onto their `devices`, by the names of `KNOWN_PARTS`; what is not
    named there is not read.

    Raises UserError for an unfit model directory.
    """
    return mini_model(config.seed) if config.model.start == MINI else _read(Path(config.model.start), devices)


class _NotRead:
    """In the place of an encoder for which this process has no use."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} of an encoder that this process did not read")


def _read(directory: Path, devices: Mapping[str, torch.device]) -> Model:
    index = read_index(directory)
    folder = directory / "transformer"
    transformer = empty_transformer(read_transformer_config(folder), where=str(folder))
    fit_weights(transformer, read_weights(folder), where=str(folder))
    dtype = next(transformer.parameters()).dtype
    parts: dict[str, Any] = dict.fromkeys(KNOWN_PARTS, _NotRead())
    for part, device in devices.items():
        found = part_class(directory, index, part)
        parts[part] = load_part(directory, part, found, device=device, dtype=dtype, weights="full")
    return Model(
        transformer=transformer,
        text_encoder=parts["text_encoder"],
        audio_encoder=parts["audio_encoder"],
        codec=parts["vae"],
        defaults=index.defaults,
        shift=read_shift(directory),
    )


def export_model(directory: Path, model: Model, world: World) -> None:
    """Write the model as it is to a model directory, whole or not at all. Every process calls it; the first writes."""
    state = full_state(model.transformer, keep=world.first)

    def write() -> None:
        config = {name: value for name, value in model.transformer.config.items() if not name.startswith("_")}
        transformer = empty_transformer(config, where=str(directory))
        transformer.load_state_dict(state, assign=True)
        save_model_dir(directory, replace(model, transformer=transformer))

    world.by_first(write)
