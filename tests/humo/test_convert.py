"""Checkpoints in and out: every key accounted for, values untouched, the base's output kept."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import WanTransformer3DModel
from safetensors.torch import load_file, save_file

from humo.checkpoints import load_model_dir, load_transformer
from humo.convert import export_weights, import_weights, new_parameter
from humo.layouts import diffusers_name
from humo.parameters import parameter_group
from humo.presets import HUMO_17B
from humo.transformer import HuMoTransformer
from humo.weights import read_weights
from schemas.command_line import run
from schemas.errors import UserError

CPU = torch.device("cpu")
LAST = "blocks.1.audio_cross_attn_wrapper.audio_cross_attn.o.weight"


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return set(first) == set(second) and all(
        first[key].dtype == second[key].dtype and torch.equal(first[key], second[key]) for key in first
    )


def randomise(model: torch.nn.Module, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)


@pytest.fixture
def wan() -> WanTransformer3DModel:
    model = WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        text_dim=32,
        freq_dim=32,
        ffn_dim=48,
        num_layers=2,
        rope_max_seq_len=64,
    ).eval()
    randomise(model)
    return model


@pytest.fixture
def wan_folder(wan: WanTransformer3DModel, tmp_path: Path) -> Path:
    wan.save_pretrained(tmp_path / "wan", max_shard_size="30KB")
    return tmp_path / "wan"


def humo(form: str = "overwrite") -> HuMoTransformer:
    """Tiny, its heads of the released width so that nothing but the weights is needed."""
    sizes: dict[str, Any] = {"width": 128, "heads": 1, "ffn": 16, "layers": 2, "text_dim": 8, "freq_dim": 8}
    audio = {"audio_dim": 2, "audio_tokens": 3, "audio_width": 10, "audio_hidden": 6}
    model = HuMoTransformer(form=form, **sizes, **audio)
    randomise(model)
    return model


@pytest.mark.parametrize("form", ["overwrite", "channels"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_official_there_and_back_is_the_identity(form: str, dtype: torch.dtype, tmp_path: Path) -> None:
    weights = {key: value.to(dtype).contiguous() for key, value in humo(form).official_state_dict().items()}
    torch.save(weights, tmp_path / "ema.pth")
    done = import_weights(tmp_path / "ema.pth", tmp_path / "model", shard_bytes=50_000)
    assert (done.form, done.layout, done.left_aside) == (form, "humo", ())
    assert {parameter_group(key) for key in done.new} == {"mask_predictor"}
    assert len(list((tmp_path / "model" / "transformer").glob("*.safetensors"))) > 2
    export_weights(tmp_path / "model", tmp_path / "back", target="humo", shard_bytes=50_000)
    assert (tmp_path / "back" / "humo.safetensors.index.json").is_file()
    assert equal(read_weights(tmp_path / "back"), weights)
    # And from there once more.
    import_weights(tmp_path / "back", tmp_path / "again")
    assert equal(read_weights(tmp_path / "again" / "transformer"), read_weights(tmp_path / "model" / "transformer"))


def test_diffusers_there_and_back_is_the_identity(wan: WanTransformer3DModel, wan_folder: Path, tmp_path: Path) -> None:
    import_weights(wan_folder, tmp_path / "model", form="overwrite")
    done = export_weights(tmp_path / "model", tmp_path / "back", target="wan-diffusers")
    assert {parameter_group(key) for key in done.left_aside} == {"audio", "mask_predictor"}
    assert equal(read_weights(tmp_path / "back"), wan.state_dict())
    opened = WanTransformer3DModel.from_pretrained(tmp_path / "back")
    latents, text = torch.randn(1, 16, 2, 4, 6), torch.randn(1, 5, 32)
    with torch.no_grad():
        ours, theirs = (m(latents, torch.tensor([300.0]), text, return_dict=False)[0] for m in (opened, wan))
    assert torch.equal(ours, theirs)


def test_the_channels_form_goes_to_diffusers_and_back(
    wan: WanTransformer3DModel, wan_folder: Path, tmp_path: Path
) -> None:
    import_weights(wan_folder, tmp_path / "model", form="channels")
    export_weights(tmp_path / "model", tmp_path / "back", target="wan-diffusers")
    opened = WanTransformer3DModel.from_pretrained(tmp_path / "back")
    assert opened.config.in_channels == 36
    latents, text, more = torch.randn(1, 16, 2, 4, 6), torch.randn(1, 5, 32), torch.randn(1, 20, 2, 4, 6)
    with torch.no_grad():
        theirs = wan(latents, torch.tensor([300.0]), text, return_dict=False)[0]
        ours = opened(torch.cat((latents, more), 1), torch.tensor([300.0]), text, return_dict=False)[0]
    # The mask and condition channels start at zero.
    assert (ours - theirs).abs().max() < 1e-5 * theirs.abs().max()
    import_weights(tmp_path / "back", tmp_path / "again", form="channels")
    first, second = (read_weights(tmp_path / name / "transformer") for name in ("model", "again"))
    assert equal(first, second)
    with pytest.raises(UserError, match=r"patch_embedding\.weight \(24, 36, 1, 2, 2\) instead of \(24, 16, 1, 2, 2\)"):
        import_weights(tmp_path / "back", tmp_path / "other", form="overwrite")


@pytest.mark.parametrize("form", ["overwrite", "channels"])
def test_the_first_output_is_the_bases(form: str, wan: WanTransformer3DModel, wan_folder: Path, tmp_path: Path) -> None:
    done = import_weights(wan_folder, tmp_path / "model", form=form)
    assert done.layout == "wan-diffusers"
    assert {parameter_group(key) for key in done.new} == {"audio", "mask_predictor"}
    model = load_transformer(tmp_path / "model" / "transformer", dtype=torch.float32)
    latents, text = torch.randn(2, 16, 5, 6, 4), torch.randn(2, 512, 32)
    with torch.no_grad():
        theirs = wan(latents, torch.tensor([700.0, 20.0]), text, return_dict=False)[0]
        ours = model(
            latents,
            torch.tensor([700.0, 20.0]),
            text_bld=text,
            # Heard, and a condition that is there: both change nothing yet.
            audio_windows_btwgc=torch.randn(2, 4, 8, 5, 1280),
            reference_bcrhw=latents[:, :, -1:],
            zero_condition_bcthw=torch.randn(2, 16, 4, 6, 4),
        ).velocity_bcthw
    assert (ours - theirs).abs().max() / theirs.abs().max() < 1e-5


def test_original_names_start_the_same_model(wan: WanTransformer3DModel, wan_folder: Path, tmp_path: Path) -> None:
    names = {theirs: key for key in humo().state_dict() if (theirs := diffusers_name(key)) is not None}
    assert set(names) == set(wan.state_dict())
    (tmp_path / "original").mkdir()
    weights = {names[key]: value for key, value in wan.state_dict().items()}
    save_file(weights, tmp_path / "original" / "diffusion_pytorch_model.safetensors")
    (tmp_path / "original" / "config.json").write_text(json.dumps({"num_heads": 2, "text_len": 512}))
    assert import_weights(tmp_path / "original", tmp_path / "a", form="channels").layout == "wan"
    import_weights(wan_folder, tmp_path / "b", form="channels")
    assert equal(read_weights(tmp_path / "a" / "transformer"), read_weights(tmp_path / "b" / "transformer"))


def test_new_parameters_are_drawn_as_the_model_draws_them() -> None:
    torch.manual_seed(0)
    model = HuMoTransformer(form="overwrite", width=64, heads=2, ffn=64, layers=1, audio_dim=8, audio_width=64)
    for key, parameter in model.named_parameters():
        if parameter_group(key) in ("audio", "mask_predictor"):
            drawn = new_parameter(key, tuple(parameter.shape), torch.Generator().manual_seed(1))
            first = parameter.data
            assert float(drawn.std(correction=0)) == pytest.approx(float(first.std(correction=0)), rel=0.2), key
            assert float(drawn.mean()) == pytest.approx(float(first.mean()), abs=0.05), key


def test_the_command_prints_what_it_left_and_what_is_new(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_file({**humo().official_state_dict(), "freqs": torch.zeros(2)}, tmp_path / "w.safetensors")
    assert run(["convert", str(tmp_path / "w.safetensors"), "--out", str(tmp_path / "m")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "left aside: freqs"
    assert lines[1] == "made new: 6 parameters, such as mask_predictor.norm.weight"
    assert lines[2].startswith(f"{tmp_path / 'm'}: ")
    assert "text_encoder" in lines[3]
    assert run(["convert", str(tmp_path / "m"), "--out", str(tmp_path / "o"), "--to", "humo"]) == 0
    assert "left aside: mask_predictor.norm.weight" in capsys.readouterr().out


def test_encoders_make_it_a_whole_model(mini_directory: Path, tmp_path: Path) -> None:
    export_weights(mini_directory, tmp_path / "official", target="humo")
    arguments = ["--heads", "2", "--encoders", str(mini_directory)]
    assert run(["convert", str(tmp_path / "official"), "--out", str(tmp_path / "m"), *arguments]) == 0
    model = load_model_dir(tmp_path / "m", device=CPU, dtype=torch.float32)
    assert model.defaults.guidance.form == "official_1_7b"
    before = load_transformer(mini_directory / "transformer", dtype=torch.float32).official_state_dict()
    assert equal(model.transformer.official_state_dict(), before)


def test_a_full_size_base_needs_no_more_than_its_shapes() -> None:
    with torch.device("meta"):
        names = [diffusers_name(key) for key in HuMoTransformer(**HUMO_17B).state_dict()]
    assert len([name for name in names if name]) == 40 * 27 + 15
    assert len(set(names) - {None}) == 40 * 27 + 15


@pytest.mark.parametrize(
    ("change", "options", "complaint"),
    [
        (lambda w: w.pop(LAST), {}, f"missing keys: {LAST}"),
        (lambda w: w.pop("patch_embedding.weight"), {}, "neither HuMo nor Wan2.1"),
        (lambda w: w.pop("head.head.weight"), {}, r"missing keys: head\.head\.weight"),
        (
            lambda w: w.update({LAST: torch.zeros(128, 127)}),
            {},
            r"wrong shapes: .*\(128, 127\) instead of \(128, 128\)",
        ),
        (lambda w: w.update({"head.head.weight": torch.zeros(64)}), {}, r"head\.head\.weight has the shape \(64,\)"),
        (lambda w: w.update({"patch_embedding.weight": torch.zeros(128, 20, 1, 2, 2)}), {}, "takes 20 channels"),
        (lambda w: w.update({"blocks.x.bias": torch.zeros(1)}), {}, "not numbered"),
        (lambda w: w.update({"blocks.7.modulation": torch.zeros(1, 6, 128)}), {}, "missing keys: blocks.2"),
        (lambda w: w.update(trojan=torch.zeros(1)), {}, "unexpected keys: trojan"),
        (lambda w: w.update(trojan=torch.zeros(1)), {"extras": ("x*",)}, "unexpected keys: trojan"),
        (lambda w: None, {"heads": 3}, "does not make 3 heads"),
        (lambda w: [w.pop(k) for k in list(w) if parameter_group(k) == "audio"], {}, "--form overwrite"),
        (
            lambda w: [w.pop(k) for k in list(w) if parameter_group(k) == "audio" and "blocks" in k],
            {},
            "missing keys: blocks.0.audio",
        ),
    ],
)
def test_unfit_checkpoints_are_refused_by_name(
    change: Any, options: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    weights = {key: value.contiguous() for key, value in humo().official_state_dict().items()}
    change(weights)
    save_file(weights, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=complaint) as caught:
        import_weights(tmp_path / "w.safetensors", tmp_path / "m", **options)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w.safetensors"]


def test_a_truncated_shard_is_refused(wan_folder: Path, tmp_path: Path) -> None:
    shard = sorted(wan_folder.glob("*.safetensors"))[0]
    shard.write_bytes(shard.read_bytes()[:-7])
    with pytest.raises(UserError, match=shard.name):
        import_weights(wan_folder, tmp_path / "m", form="overwrite")


def test_diffusers_keys_of_another_model_are_refused(wan_folder: Path, tmp_path: Path) -> None:
    shard = sorted(wan_folder.glob("*.safetensors"))[0]
    image = torch.zeros(3)
    index_path = wan_folder / "diffusion_pytorch_model.safetensors.index.json"
    index = json.loads(index_path.read_text())
    index["weight_map"]["condition_embedder.image_embedder.norm1.weight"] = shard.name
    index_path.write_text(json.dumps(index))
    save_file({**load_file(shard), "condition_embedder.image_embedder.norm1.weight": image}, shard)
    with pytest.raises(UserError, match="unexpected keys: condition_embedder.image_embedder"):
        import_weights(wan_folder, tmp_path / "m", form="overwrite")


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_file(humo().official_state_dict(), tmp_path / "w.safetensors")
    (tmp_path / "m").mkdir()
    assert run(["convert", str(tmp_path / "w.safetensors"), "--out", str(tmp_path / "m")]) == 2
    assert "is there already" in capsys.readouterr().err
    assert run(["convert", str(tmp_path / "w.safetensors"), "--to", "humo", "--heads", "2", "--out", "x"]) == 2
    assert "not for --to humo" in capsys.readouterr().err
