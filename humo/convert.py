"""Checkpoints into a model directory's transformer, and back into the layouts that other tools read.

In: HuMo's released weights and Wan2.1's, original or diffusers'. Out: the official HuMo layout, and the base alone in
diffusers' layout. Weights are read as file maps and written shard by shard: one shard is all that is ever in memory.
"""

import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors.torch import save_file
from torch import Tensor

from humo.checkpoints import INDEX, empty_transformer, read_index, read_json, read_transformer_config
from humo.conditions.text import NEGATIVE_TEXT
from humo.generation import sampler
from humo.layouts import Layout, detect_layout, diffusers_name, model_config
from humo.parameters import parameter_group
from humo.settings import GenerationDefaults, GuidanceSettings, ModelIndex
from humo.transformer import Form
from humo.weights import check_fit, read_weights
from schemas.errors import UserError

SHARD_BYTES = 4 * 10**9
KNOWN_EXTRAS = ("freqs",)
"""Keys that released files may hold and the model has no use for: tables that are computed anew."""
SHIFT = 5.0
DEFAULTS = {
    "overwrite": GuidanceSettings(form="official_1_7b", text=7.5, image=4.0, audio=7.5),
    "channels": GuidanceSettings(form="official_17b", text=5.0, audio=5.5),
}
PARTS = ("text_encoder", "audio_encoder", "vae")
Target = Literal["humo", "wan-diffusers"]


@dataclass(frozen=True, kw_only=True)
class Converted:
    """What a conversion did."""

    parameters: int
    """Written."""
    form: Form
    layout: Layout
    """Found in the source."""
    left_aside: tuple[str, ...]
    """Keys of the source that were not written."""
    new: tuple[str, ...]
    """Parameters that the source did not have."""


def import_weights(
    source: Path,
    out: Path,
    *,
    form: Form | None = None,
    heads: int | None = None,
    extras: tuple[str, ...] = (),
    encoders: Path | None = None,
    seed: int = 0,
    shard_bytes: int = SHARD_BYTES,
) -> Converted:
    """Make a model directory from released weights. Values and their types stay as they are.

    What the source lacks is made new so that the first output equals the source's: audio attention starts silent, and
    the new input channels of the form `channels` start at zero. The mask predictor is always new.

    Args:
        source: a weight file, an index of shards, or a folder with one of them; see `humo.weights.read_weights`.
        out: the directory to write, whole or not at all; must not be there yet.
        form: for weights of the bare base: how references are to enter.
        heads: where neither a `config.json` beside the weights nor the released models' head width tells.
        extras: patterns of keys that may be left aside, besides `KNOWN_EXTRAS`.
        encoders: a model directory whose encoders are copied; without it they are to be put in place afterwards.
        seed: of what is made new.
        shard_bytes: largest file.

    Raises:
        UserError: for unreadable weights and for missing, unknown or misshaped keys, naming them.
    """
    state = read_weights(source)
    where = str(source)
    layout = detect_layout(state, where=where)
    folder = source if source.is_dir() else source.parent
    described = read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
    state = _official(state, layout)
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    config = model_config(shapes, described, form=form, heads=heads, where=where)
    model = empty_transformer(config, where=where)
    wanted = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    patches = state["patch_embedding.weight"]
    if layout != "humo" and patches.shape[1] == config["latent_channels"]:
        missing = wanted["patch_embedding.weight"][1] - patches.shape[1]
        state["patch_embedding.weight"] = torch.nn.functional.pad(patches, (0, 0) * 3 + (0, missing))
    may_be_new = ("mask_predictor",) if layout == "humo" else ("mask_predictor", "audio")
    left_aside = check_fit(
        wanted,
        {key: tuple(value.shape) for key, value in state.items()},
        where=where,
        optional=lambda key: parameter_group(key) in may_be_new,
        extras=(*KNOWN_EXTRAS, *extras),
    )
    dtype = state["blocks.0.self_attn.q.weight"].dtype
    generator = torch.Generator().manual_seed(seed)

    def value(key: str) -> Tensor:
        return state[key] if key in state else new_parameter(key, wanted[key], generator).to(dtype)

    with _whole_directory(out) as partial:
        model.save_config(partial / "transformer")
        types = {key: state[key].dtype if key in state else dtype for key in wanted}
        _write_shards(partial / "transformer", "diffusion_pytorch_model", wanted, types, value, shard_bytes)
        _write_rest(partial, config["form"], encoders)
    return Converted(
        parameters=sum(math.prod(shape) for shape in wanted.values()),
        form=config["form"],
        layout=layout,
        left_aside=tuple(left_aside),
        new=tuple(key for key in wanted if key not in state),
    )


def export_weights(directory: Path, out: Path, *, target: Target, shard_bytes: int = SHARD_BYTES) -> Converted:
    """Write a model directory's transformer in another layout, as safetensors with an index.

    `humo`: all but the mask predictor, under official names, as `humo.safetensors.index.json` and its shards.
    `wan-diffusers`: the base alone as a folder that `WanTransformer3DModel.from_pretrained` opens.

    Args:
        directory: as `import_weights` and `humo.checkpoints.save_model_dir` write it.
        out: the folder to write, whole or not at all; must not be there yet.
        target: the layout.
        shard_bytes: largest file.

    Raises:
        UserError: for a directory that is no model's and for weights that do not fit it.
    """
    config, state = read_transformer_config(directory / "transformer"), read_weights(directory / "transformer")
    where = str(directory / "transformer")
    wanted = {key: tuple(value.shape) for key, value in empty_transformer(config, where=where).state_dict().items()}
    check_fit(wanted, {key: tuple(value.shape) for key, value in state.items()}, where=where)
    names: dict[str, str] = {}
    for key in wanted:
        name = diffusers_name(key) if target == "wan-diffusers" else key
        if name is not None and parameter_group(key) != "mask_predictor":
            names[name] = key
    shapes = {name: wanted[key] for name, key in names.items()}
    types = {name: state[key].dtype for name, key in names.items()}
    prefix = "humo" if target == "humo" else "diffusion_pytorch_model"
    with _whole_directory(out) as partial:
        _write_shards(partial, prefix, shapes, types, lambda name: state[names[name]], shard_bytes)
        if target == "wan-diffusers":
            (partial / "config.json").write_text(json.dumps(_wan_config(config, wanted), indent=1) + "\n")
    return Converted(
        parameters=sum(math.prod(shape) for shape in shapes.values()),
        form=config["form"],
        layout="humo",
        left_aside=tuple(key for key in wanted if key not in names.values()),
        new=(),
    )


def new_parameter(key: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """The first value of an audio or mask-predictor parameter, drawn as `HuMoTransformer` draws it, in float32."""
    if key.endswith("bias") or key.endswith("audio_cross_attn.o.weight"):
        return torch.zeros(shape)
    if len(shape) == 1:
        return torch.ones(shape)
    return torch.nn.init.xavier_uniform_(torch.empty(shape), generator=generator)


def _official(state: Mapping[str, Tensor], layout: Layout) -> dict[str, Tensor]:
    """Under official names; what has none there keeps its own, so that it is reported as unknown."""
    if layout != "wan-diffusers":
        return dict(state)
    blocks = 1 + max((int(key.split(".")[1]) for key in state if _is_block(key)), default=-1)
    model = empty_transformer({"form": "overwrite", "width": 8, "ffn": 8, "heads": 1, "layers": blocks}, where="")
    names = {theirs: key for key in model.state_dict() if (theirs := diffusers_name(key)) is not None}
    return {names.get(key, key): value for key, value in state.items()}


def _is_block(key: str) -> bool:
    parts = key.split(".")
    return parts[0] == "blocks" and len(parts) > 2 and parts[1].isdecimal() and len(parts[1]) < 4


def _wan_config(config: Mapping[str, Any], wanted: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """The `config.json` of diffusers' `WanTransformer3DModel`."""
    return {
        "_class_name": "WanTransformer3DModel",
        "patch_size": [1, 2, 2],
        "num_attention_heads": config["heads"],
        "attention_head_dim": config["width"] // config["heads"],
        "in_channels": wanted["patch_embedding.weight"][1],
        "out_channels": config["latent_channels"],
        "text_dim": config["text_dim"],
        "freq_dim": config["freq_dim"],
        "ffn_dim": config["ffn"],
        "num_layers": config["layers"],
        "cross_attn_norm": True,
        "qk_norm": "rms_norm_across_heads",
        "eps": config["eps"],
        "rope_max_seq_len": 1024,
    }


def _write_shards(
    folder: Path,
    prefix: str,
    shapes: Mapping[str, tuple[int, ...]],
    types: Mapping[str, torch.dtype],
    value: Callable[[str], Tensor],
    shard_bytes: int,
) -> None:
    plan = split_torch_state_dict_into_shards(
        {key: torch.empty(shape, dtype=types[key], device="meta") for key, shape in shapes.items()},
        filename_pattern=prefix + "{suffix}.safetensors",
        max_shard_size=shard_bytes,
    )
    for name, keys in plan.filename_to_tensors.items():
        save_file({key: value(key).contiguous() for key in keys}, folder / name, metadata={"format": "pt"})
    if plan.is_sharded or prefix == "humo":
        index = {"metadata": plan.metadata, "weight_map": plan.tensor_to_filename}
        (folder / f"{prefix}.safetensors.index.json").write_text(json.dumps(index, indent=1, sort_keys=True) + "\n")


def _write_rest(directory: Path, form: Form, encoders: Path | None) -> None:
    """Scheduler, index, and the encoders if they are at hand."""
    sampler(steps=50, shift=SHIFT).save_config(directory / "scheduler")
    names = {"text_encoder": "UMT5TextEncoder", "audio_encoder": "WhisperAudioEncoder", "vae": "WanCodec"}
    if encoders is not None:
        index = read_index(encoders)
        names = {part: getattr(index, part) for part in PARTS}
        for part in PARTS:
            if not (encoders / part).is_dir():
                raise UserError(f"{encoders / part} does not exist")
            shutil.copytree(encoders / part, directory / part)
    defaults = GenerationDefaults(
        height=480, width=832, frames=97, steps=50, negative_text=NEGATIVE_TEXT, guidance=DEFAULTS[form]
    )
    written = ModelIndex.model_validate({**names, "defaults": defaults}).model_dump(by_alias=True, mode="json")
    (directory / INDEX).write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


@contextmanager
def _whole_directory(out: Path) -> Iterator[Path]:
    """A folder to write into that becomes `out` when all went well."""
    if out.exists():
        raise UserError(f"{out} is there already; give another --out")
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
