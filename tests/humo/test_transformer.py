"""Facts of the architecture: sizes, who sees what, and that without audio and references it is Wan."""

import pytest
import torch
from diffusers import WanTransformer3DModel

from humo.parameters import parameter_group
from humo.presets import HUMO_1_7B, HUMO_17B, MINI
from humo.rope import axis_pairs, rotary_angles, rotate
from humo.transformer import HuMoOutput, HuMoTransformer, timestep_features

TINY = {
    "width": 24,
    "ffn": 48,
    "heads": 2,
    "layers": 2,
    "text_dim": 32,
    "text_length": 7,
    "audio_dim": 6,
    "audio_tokens": 3,
    "audio_width": 16,
    "audio_hidden": 8,
    "freq_dim": 32,
}


def tiny(form: str, seed: int = 0, **changes: int) -> HuMoTransformer:
    """A tiny model none of whose parameters is zero."""
    torch.manual_seed(seed)
    model = HuMoTransformer(**{**TINY, "form": form, **changes}).eval()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def conditions(frames: int = 3, references: int = 2, batch: int = 1) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(batch, *shape, generator=generator)

    return {
        "latents_bcthw": draw(16, frames + references, 4, 6),
        "timestep_b": torch.full((batch,), 700.0),
        "text_bld": draw(5, 32),
        "audio_windows_btwgc": draw(frames, 8, 5, 6),
        "reference_bcrhw": draw(16, references, 4, 6),
        "zero_condition_bcthw": draw(16, frames, 4, 6),
    }


def count(model: HuMoTransformer, *prefixes: str) -> int:
    return sum(p.numel() for name, p in model.named_parameters() if name.startswith(prefixes))


def on_meta(preset: dict[str, object]) -> HuMoTransformer:
    with torch.device("meta"):
        return HuMoTransformer(**preset)


def test_parameter_counts_of_the_17b() -> None:
    model = on_meta(HUMO_17B)
    groups: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        groups[parameter_group(name)] = groups.get(parameter_group(name), 0) + parameter.numel()
    projection = count(model, "audio_proj.")
    released = sum(groups.values()) - groups["mask_predictor"]
    assert round(released / 1e9, 2) == 17.06
    assert round((released - groups["audio"]) / 1e9, 2) == 14.29
    assert round((groups["audio"] - projection) / 1e9, 2) == 2.73
    assert round(projection / 1e9, 3) == 0.039
    assert round((groups["self_attention"] + groups["audio"]) / 1e9, 2) == 6.96


def test_parameter_counts_of_the_1_7b_and_the_mini_model() -> None:
    model = on_meta(HUMO_1_7B)
    released = sum(p.numel() for p in model.parameters()) - count(model, "mask_predictor.")
    assert round(released / 1e9, 3) == 1.742
    stage_two = [p for name, p in model.named_parameters() if parameter_group(name) in ("self_attention", "audio")]
    assert round(sum(p.numel() for p in stage_two) / 1e9, 2) == 0.61
    mini = sum(p.numel() for p in on_meta(MINI).parameters())
    assert 1.6e6 < mini < 1.8e6


def wan_weights(wan: WanTransformer3DModel) -> dict[str, torch.Tensor]:
    """A diffusers Wan's parameters under Wan's original names."""
    outer = {
        "condition_embedder.text_embedder.linear_1": "text_embedding.0",
        "condition_embedder.text_embedder.linear_2": "text_embedding.2",
        "condition_embedder.time_embedder.linear_1": "time_embedding.0",
        "condition_embedder.time_embedder.linear_2": "time_embedding.2",
        "condition_embedder.time_proj": "time_projection.1",
        "proj_out": "head.head",
    }
    inner = {
        "attn1.": "self_attn.",
        "attn2.": "cross_attn.",
        "to_q": "q",
        "to_k": "k",
        "to_v": "v",
        "to_out.0": "o",
        "norm2.": "norm3.",
        "ffn.net.0.proj": "ffn.0",
        "ffn.net.2": "ffn.2",
        "scale_shift_table": "modulation",
    }
    renamed = {}
    for name, value in wan.state_dict().items():
        if name == "scale_shift_table":
            name = "head.modulation"
        for theirs, ours in (inner if name.startswith("blocks.") else outer).items():
            name = name.replace(theirs, ours)
        renamed[name] = value
    return renamed


@pytest.mark.parametrize("timestep", [0.0, 250.0, 999.0])
def test_without_audio_and_references_it_is_wan(timestep: float) -> None:
    torch.manual_seed(0)
    wan = WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=12,
        text_dim=32,
        freq_dim=32,
        ffn_dim=48,
        num_layers=2,
        rope_max_seq_len=64,
    ).eval()
    for parameter in wan.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    ours = tiny("overwrite")
    weights = wan_weights(wan)
    ours.load_state_dict(weights, strict=False)
    ours_only = [name for name in ours.state_dict() if name not in weights]
    assert all(parameter_group(name) in ("audio", "mask_predictor") for name in ours_only)
    latents, text = torch.randn(2, 16, 5, 6, 4), torch.randn(2, 7, 32)
    with torch.no_grad():
        theirs = wan(latents, torch.full((2,), timestep), text, return_dict=False)[0]
        mine = ours(
            latents,
            torch.full((2,), timestep),
            text_bld=text,
            audio_windows_btwgc=None,
            # The last frame stands where a reference would, and is what it was.
            reference_bcrhw=latents[:, :, -1:],
        ).velocity_bcthw
    assert (mine - theirs).abs().max() / theirs.abs().max() < 1e-5


def test_the_initial_audio_layers_change_nothing() -> None:
    torch.manual_seed(0)
    model = HuMoTransformer(**{**TINY, "form": "overwrite"}).eval()
    torch.nn.init.normal_(model.head.head.weight)
    inputs = conditions()
    with torch.no_grad():
        heard = model(**inputs).velocity_bcthw
        deaf = model(**{**inputs, "audio_windows_btwgc": None}).velocity_bcthw
    assert heard.abs().max() > 0
    assert torch.equal(heard, deaf)


def test_audio_of_one_latent_frame_reaches_only_its_own_tokens_in_one_layer() -> None:
    model = tiny("overwrite")
    layer = model.blocks[0].audio_cross_attn_wrapper
    frames, tokens = 5, 6
    x = torch.randn(1, frames * tokens, 24)
    audio = torch.randn(1, frames, 3, 16)
    changed = audio.clone()
    changed[0, 2] += 1
    keys_values = layer.audio_cross_attn.keys_values
    with torch.no_grad():
        moved = (layer(x, keys_values(audio)) != layer(x, keys_values(changed))).any(-1).view(frames, tokens)
    assert moved[2].all()
    assert moved.sum() == tokens


def test_missing_reference_windows_are_zeros_that_pass_the_biases() -> None:
    model = tiny("overwrite")
    inputs = conditions(frames=3, references=2)
    spelled_out = torch.nn.functional.pad(inputs["audio_windows_btwgc"], (0, 0, 0, 0, 0, 0, 0, 2))
    with torch.no_grad():
        short = model(**inputs).velocity_bcthw
        full = model(**{**inputs, "audio_windows_btwgc": spelled_out}).velocity_bcthw
        silent = model(**{**inputs, "audio_windows_btwgc": torch.zeros(1, 3, 8, 5, 6)}).velocity_bcthw
        deaf = model(**{**inputs, "audio_windows_btwgc": None}).velocity_bcthw
    assert torch.equal(short, full)
    assert not torch.allclose(silent, deaf)


def test_references_take_the_temporal_positions_after_the_video(monkeypatch: pytest.MonkeyPatch) -> None:
    grids = []

    def spy(grid: tuple[int, int, int], width: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        grids.append(grid)
        return rotary_angles(grid, width, device)

    monkeypatch.setattr("humo.transformer.rotary_angles", spy)
    tiny("channels")(**conditions(frames=3, references=2))
    assert grids == [(5, 2, 3)]
    cosines, sines = rotary_angles((5, 2, 3), 12, torch.device("cpu"))
    angles = torch.atan2(sines, cosines).view(5, 2, 3, 6)
    # The first temporal pair turns by one radian a frame: its angle is the position.
    assert torch.allclose(angles[:4, 0, 0, 0] % (2 * torch.pi), torch.arange(4.0), atol=1e-5)
    assert torch.allclose(angles[4, ..., 0] % (2 * torch.pi), torch.tensor(4.0), atol=1e-5)


def test_rotation_depends_on_relative_positions_only() -> None:
    q, k = torch.randn(1, 1, 1, 64), torch.randn(1, 1, 1, 64)
    cosines, sines = rotary_angles((9, 1, 1), 64, torch.device("cpu"))

    def product(at_q: int, at_k: int) -> float:
        turned_q = rotate(q, cosines[at_q : at_q + 1], sines[at_q : at_q + 1])
        turned_k = rotate(k, cosines[at_k : at_k + 1], sines[at_k : at_k + 1])
        return float((turned_q * turned_k).sum())

    assert product(7, 4) == pytest.approx(product(3, 0), abs=1e-4)
    assert product(7, 4) != pytest.approx(product(4, 7), abs=1e-2)
    assert axis_pairs(128) == (22, 21, 21)


def test_overwritten_frames_do_not_matter_and_references_do() -> None:
    model = tiny("overwrite")
    inputs = conditions(frames=3, references=2)
    other = inputs["latents_bcthw"].clone()
    other[:, :, 3:] = 100
    with torch.no_grad():
        first = model(**inputs).velocity_bcthw
        assert torch.equal(first, model(**{**inputs, "latents_bcthw": other}).velocity_bcthw)
        swapped = model(**{**inputs, "reference_bcrhw": -inputs["reference_bcrhw"]}).velocity_bcthw
    assert not torch.allclose(first[:, :, :3], swapped[:, :, :3], atol=1e-4)


def test_channels_hold_noise_then_mask_then_condition() -> None:
    model = tiny("channels")
    inputs = conditions(frames=3, references=2)
    seen: list[torch.Tensor] = []
    model.patch_embedding.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    with torch.no_grad():
        model(**inputs)
    (stacked,) = seen
    assert stacked.shape == (1, 36, 5, 4, 6)
    assert torch.equal(stacked[:, :16], inputs["latents_bcthw"])
    assert stacked[:, 16:20, :3].eq(0).all()
    assert stacked[:, 16:20, 3:].eq(1).all()
    assert torch.equal(stacked[:, 20:, :3], inputs["zero_condition_bcthw"])
    assert torch.equal(stacked[:, 20:, 3:], inputs["reference_bcrhw"])


def test_wrong_conditions_are_refused() -> None:
    inputs = conditions()
    with pytest.raises(ValueError, match="zero condition"):
        tiny("channels")(**{**inputs, "zero_condition_bcthw": None})
    with pytest.raises(ValueError, match="8 text tokens"):
        tiny("overwrite")(**{**inputs, "text_bld": torch.zeros(1, 8, 32)})
    with pytest.raises(ValueError, match="6 audio windows for 5 latent frames"):
        tiny("overwrite")(**{**inputs, "audio_windows_btwgc": torch.zeros(1, 6, 8, 5, 6)})


@pytest.mark.parametrize("wrong", [{"form": "both"}, {"heads": 5}, {"width": 22, "heads": 2}])
def test_wrong_sizes_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"form|heads"):
        HuMoTransformer(**{**TINY, "form": "overwrite", **wrong})


def test_padding_tokens_are_attended() -> None:
    inputs = conditions()
    with torch.no_grad():
        short = tiny("overwrite")(**inputs).velocity_bcthw
        longer = tiny("overwrite", text_length=60)(**inputs).velocity_bcthw
    assert not torch.allclose(short, longer, atol=1e-4)


def test_mask_logits_are_those_of_the_last_blocks_over_video_frames() -> None:
    model = tiny("overwrite", layers=6, mask_blocks=2)
    inputs = conditions(frames=3, references=2, batch=2)
    heard: list[torch.Tensor] = []
    for block in model.blocks:
        block.register_forward_hook(lambda _, __, output: heard.append(output[1]))
    with torch.no_grad():
        output: HuMoOutput = model(**inputs, return_mask_logits=True)
        expected = (model.mask_predictor(heard[4]) + model.mask_predictor(heard[5])) / 2
    assert output.mask_logits_bthw is not None
    assert output.mask_logits_bthw.shape == (2, 3, 2, 3)
    assert torch.allclose(output.mask_logits_bthw, expected.view(2, 5, 2, 3)[:, :3], atol=1e-6)


def test_mask_loss_trains_audio_attention() -> None:
    model = tiny("overwrite")
    logits = model(**conditions(), return_mask_logits=True).mask_logits_bthw
    assert logits is not None
    logits.sum().backward()
    assert model.blocks[0].audio_cross_attn_wrapper.audio_cross_attn.o.weight.grad.abs().max() > 0


def test_gradient_checkpointing_gives_the_same_gradients() -> None:
    gradients = []
    for checkpointed in (False, True):
        model = tiny("channels")
        if checkpointed:
            model.enable_gradient_checkpointing()
        output = model(**conditions(), return_mask_logits=True)
        (output.velocity_bcthw.square().mean() + output.mask_logits_bthw.mean()).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert torch.allclose(gradients[0], gradients[1], rtol=1e-4, atol=1e-7)


def test_autocast_stays_near_float32() -> None:
    model = tiny("overwrite")
    inputs = conditions()
    with torch.no_grad():
        exact = model(**inputs).velocity_bcthw
        with torch.autocast("cpu", torch.bfloat16):
            half = model(**inputs).velocity_bcthw
    assert half.dtype == torch.float32
    assert 0 < (half - exact).abs().max() / exact.abs().max() < 0.03


def test_a_batch_is_its_samples() -> None:
    model = tiny("channels")
    inputs = conditions(batch=3)
    inputs["timestep_b"] = torch.tensor([1.0, 500.0, 999.5])
    with torch.no_grad():
        together = model(**inputs).velocity_bcthw
        alone = [model(**{name: value[i : i + 1] for name, value in inputs.items()}).velocity_bcthw for i in range(3)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)


def test_timestep_features_are_cosines_then_sines() -> None:
    features = timestep_features(torch.tensor([0, 3]), 8)
    assert torch.equal(features[0], torch.tensor([1.0, 1, 1, 1, 0, 0, 0, 0]))
    angles = 3 * torch.tensor([1, 0.1, 0.01, 0.001])
    assert torch.allclose(features[1], torch.cat((angles.cos(), angles.sin())), atol=1e-7)
