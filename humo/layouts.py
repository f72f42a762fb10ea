"""The key layouts of released weights, and what their shapes say about the model they belong to.

Our own parameter names are the official HuMo's, which are Wan's original ones with the audio modules added. diffusers
names Wan's parameters its own way.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from humo.conditions.audio import GROUPS, WINDOW
from humo.transformer import MASK_CHANNELS, PATCH, Form
from schemas.errors import UserError

Layout = Literal["humo", "wan", "wan-diffusers"]
"""`humo`: with audio modules. `wan`: the text-to-video base under its original names. `wan-diffusers`: the same under
diffusers' names."""

Shapes = Mapping[str, tuple[int, ...]]

HEAD_WIDTH = 128
"""Of every released model."""
TEXT_LENGTH = 512
EPS = 1e-6

_DIFFUSERS_OUTER = {
    "text_embedding.0": "condition_embedder.text_embedder.linear_1",
    "text_embedding.2": "condition_embedder.text_embedder.linear_2",
    "time_embedding.0": "condition_embedder.time_embedder.linear_1",
    "time_embedding.2": "condition_embedder.time_embedder.linear_2",
    "time_projection.1": "condition_embedder.time_proj",
    "head.head": "proj_out",
    "patch_embedding": "patch_embedding",
}
_DIFFUSERS_BLOCK = {
    **{
        f"{ours}.{layer}": f"{theirs}.{name}"
        for ours, theirs in (("self_attn", "attn1"), ("cross_attn", "attn2"))
        for layer, name in (
            ("q", "to_q"),
            ("k", "to_k"),
            ("v", "to_v"),
            ("o", "to_out.0"),
            ("norm_q", "norm_q"),
            ("norm_k", "norm_k"),
        )
    },
    "norm3": "norm2",
    "ffn.0": "ffn.net.0.proj",
    "ffn.2": "ffn.net.2",
}


def diffusers_name(key: str) -> str | None:
    """diffusers' name of a parameter of the base; None for what Wan does not have."""
    if key == "head.modulation":
        return "scale_shift_table"
    module, _, kind = key.rpartition(".")
    if key.startswith("blocks."):
        _, index, inner = key.split(".", 2)
        if inner == "modulation":
            return f"blocks.{index}.scale_shift_table"
        theirs = _DIFFUSERS_BLOCK.get(inner.rpartition(".")[0])
        return None if theirs is None else f"blocks.{index}.{theirs}.{kind}"
    outer = _DIFFUSERS_OUTER.get(module)
    return None if outer is None else f"{outer}.{kind}"


def detect_layout(keys: Iterable[str], *, where: str) -> Layout:
    """Raises UserError for keys of no known layout."""
    known = set(keys)
    if any(key.startswith("condition_embedder.") for key in known):
        return "wan-diffusers"
    if "patch_embedding.weight" not in known or not any(key.startswith("blocks.") for key in known):
        some = ", ".join(sorted(known)[:3]) or "none"
        raise UserError(f"{where} holds neither HuMo nor Wan2.1 weights; its keys begin with {some}")
    return "humo" if any(key.startswith("audio_proj.") for key in known) else "wan"


def model_config(
    shapes: Shapes, described: Mapping[str, Any], *, form: Form | None, heads: int | None, where: str
) -> dict[str, Any]:
    """Arguments of `HuMoTransformer` for weights under official names.

    Args:
        shapes: of every weight.
        described: a `config.json` beside them, Wan's original one or diffusers'; empty if there is none. It says what
            shapes can't: heads, text length, epsilon.
        form: for the bare base; weights with audio modules have theirs.
        heads: goes before the description; without either a head is 128 wide, as in every released model.
        where: names the weights in errors.

    Raises:
        UserError: for shapes that make no model, naming the key, and for a form or heads that are not known.
    """

    def shape(key: str, dimensions: int) -> tuple[int, ...]:
        if key not in shapes:
            raise UserError(f"{where} does not fit: missing keys: {key}")
        if len(shapes[key]) != dimensions or min(shapes[key]) < 1:
            raise UserError(f"{where} does not fit: {key} has the shape {shapes[key]}")
        return shapes[key]

    width, inputs = shape("patch_embedding.weight", 5)[:2]
    latent_channels = shape("head.head.weight", 2)[0] // PATCH**2
    numbers = [key.split(".")[1] for key in shapes if key.startswith("blocks.")]
    if not all(number.isdecimal() and len(number) < 4 for number in numbers):
        raise UserError(f"{where} does not fit: its blocks are not numbered")
    config: dict[str, Any] = {
        "form": form,
        "width": width,
        "ffn": shape("blocks.0.ffn.0.weight", 2)[0],
        "layers": max(map(int, numbers)) + 1,
        "text_dim": shape("text_embedding.0.weight", 2)[1],
        "freq_dim": shape("time_embedding.0.weight", 2)[1],
        "latent_channels": latent_channels,
        "text_length": described.get("text_len", TEXT_LENGTH),
        "eps": described.get("eps", EPS),
    }
    if any(key.startswith("audio_proj.") for key in shapes):
        hidden, features = shape("audio_proj.audio_proj_glob_1.layer.weight", 2)
        audio_width = shape("audio_proj.audio_proj_glob_norm.layer.weight", 1)[0]
        config |= {
            "form": _form_of(inputs, latent_channels, where),
            "audio_dim": features // (WINDOW * len(GROUPS)),
            "audio_hidden": hidden,
            "audio_width": audio_width,
            "audio_tokens": shape("audio_proj.audio_proj_glob_3.layer.weight", 2)[0] // audio_width,
        }
    elif form is None:
        raise UserError(
            f"{where} are weights of the base, which do not say how references are to enter: "
            "give --form overwrite (as the 1.7B) or --form channels (as the 17B)"
        )
    if heads is None:
        heads = described.get("num_heads", described.get("num_attention_heads"))
    if heads is None and width % HEAD_WIDTH:
        raise UserError(f"{where} does not say into how many heads its width of {width} divides; give --heads")
    return {**config, "heads": width // HEAD_WIDTH if heads is None else heads}


def _form_of(inputs: int, latent_channels: int, where: str) -> Form:
    if inputs == latent_channels:
        return "overwrite"
    if inputs == 2 * latent_channels + MASK_CHANNELS:
        return "channels"
    raise UserError(f"{where} does not fit: patch_embedding.weight takes {inputs} channels; neither form does")
