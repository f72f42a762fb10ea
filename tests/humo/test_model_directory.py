"""A model directory comes back as it was saved, and anything odd in it is named in one line."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from humo.checkpoints import Model, load_model_dir, save_model_dir
from humo.mini.model import mini_model
from humo.transformer import HuMoTransformer
from schemas.errors import UserError

CPU = torch.device("cpu")
WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"


def load(directory: Path, dtype: torch.dtype = torch.float32) -> Model:
    return load_model_dir(directory, device=CPU, dtype=dtype)


@pytest.fixture
def directory(mini_directory: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(mini_directory, tmp_path / "mini"))


def edit_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_round_trip(tmp_path: Path) -> None:
    model = mini_model(seed=1, form="channels")
    save_model_dir(tmp_path / "m", model)
    again = load(tmp_path / "m")
    first, second = model.transformer.state_dict(), again.transformer.state_dict()
    assert list(first) == list(second)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert again.transformer.form == "channels"
    assert not again.transformer.training
    assert again.defaults == model.defaults
    assert again.shift == model.shift
    assert torch.equal(again.text_encoder.encode(["hello"]), model.text_encoder.encode(["hello"]))


def test_the_same_seed_makes_the_same_model_and_leaves_the_random_state() -> None:
    torch.manual_seed(9)
    expected = torch.rand(1)
    torch.manual_seed(9)
    first, second, other = (mini_model(seed).transformer.state_dict() for seed in (4, 4, 5))
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["blocks.0.self_attn.q.weight"], other["blocks.0.self_attn.q.weight"])


def test_saving_again_replaces_the_old_model(directory: Path) -> None:
    save_model_dir(directory, replace(mini_model(seed=8), shift=4.5))
    again = load(directory)
    assert again.shift == 4.5
    assert torch.equal(again.transformer.patch_embedding.weight, mini_model(seed=8).transformer.patch_embedding.weight)
    assert sorted(path.name for path in directory.parent.iterdir()) == ["mini"]


def test_diffusers_opens_the_transformer(directory: Path) -> None:
    theirs = HuMoTransformer.from_pretrained(directory / "transformer")
    ours = load(directory).transformer
    assert all(torch.equal(a, b) for a, b in zip(theirs.parameters(), ours.parameters(), strict=True))


def test_half_precision_spares_what_is_delicate(directory: Path) -> None:
    transformer = load(directory, torch.bfloat16).transformer
    assert transformer.blocks[1].ffn[2].weight.dtype == torch.bfloat16
    for spared in (
        transformer.time_embedding[0].weight,
        transformer.blocks[1].modulation,
        transformer.blocks[1].cross_attn.norm_k.weight,
        transformer.audio_proj.audio_proj_glob_norm.layer.bias,
    ):
        assert spared.dtype == torch.float32


def remove(name: str) -> Callable[[Path], object]:
    def damage(directory: Path) -> None:
        path = directory / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return damage


def edit(name: str, change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    return lambda directory: edit_json(directory / name, change)


def reweigh(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], object]:
    def damage(directory: Path) -> None:
        weights = load_file(directory / WEIGHTS)
        change(weights)
        save_file(weights, directory / WEIGHTS)

    return damage


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (remove("model_index.json"), "no model directory"),
        (remove("transformer/config.json"), r"config\.json does not exist"),
        (remove(WEIGHTS), "no weight file"),
        (remove("text_encoder"), "text_encoder does not exist"),
        (remove("scheduler"), r"scheduler_config\.json does not exist"),
        (lambda d: (d / "model_index.json").write_text("{"), "is no JSON"),
        (lambda d: (d / WEIGHTS).write_bytes(b"\x80\x04garbage"), "no readable safetensors"),
        (edit("model_index.json", lambda c: c.update(surprise=1)), "surprise"),
        (edit("model_index.json", lambda c: c.update(schema="humo.model/2")), "schema"),
        (edit("model_index.json", lambda c: c.update(vae="os.system")), r"names 'os\.system' as its vae"),
        (edit("model_index.json", lambda c: c["defaults"].update(frames=18)), "18 is not 4n"),
        (edit("model_index.json", lambda c: c["defaults"].update(height=40)), "multiple of 16"),
        (edit("scheduler/scheduler_config.json", lambda c: c.update(flow_shift=0)), "flow_shift"),
        (edit("transformer/config.json", lambda c: c.update(depth=3)), "unknown entries: depth"),
        (edit("transformer/config.json", lambda c: c.pop("width")), "makes no model"),
        (edit("transformer/config.json", lambda c: c.update(heads=0)), "makes no model"),
        (edit("transformer/config.json", lambda c: c.update(width=64)), "wrong shapes: patch_embedding"),
        (edit("transformer/config.json", lambda c: c.update(layers=3)), r"unexpected keys: blocks\.3\."),
        (reweigh(lambda w: w.pop("head.head.bias")), r"missing keys: head\.head\.bias"),
        (reweigh(lambda w: w.pop("mask_predictor.logit.bias")), r"missing keys: mask_predictor\.logit\.bias"),
        (reweigh(lambda w: w.update(trojan=torch.zeros(1))), "unexpected keys: trojan"),
    ],
)
def test_damage_is_named(damage: Callable[[Path], object], complaint: str, directory: Path) -> None:
    damage(directory)
    with pytest.raises(UserError, match=complaint) as caught:
        load(directory)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        load(tmp_path / "none")
