"""The transformer, the guidance and the sampler against outputs of the official code (tests/golden/official_*).

Those were made in float32, from weights under their official names and inputs, all drawn by rule (conftest.py), and
went through `humo convert`. The error is max|a - b| / max|b|.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UniPCMultistepScheduler
from safetensors.torch import load_file

from humo.conditions.audio import audio_windows, group_hidden_states
from humo.conditions.reference import null_reference
from humo.generation import sample, sampler
from humo.guidance import Guidance, official_1_7b, official_17b
from humo.transformer import HuMoTransformer

GOLDEN = Path(__file__).parents[1] / "golden"


def official_guidance(official: Any) -> Guidance:
    scales = official.about["scales"]
    if official.about["variant"] == "17B":
        return official_17b(text=scales["t"], audio=scales["a"], switch=official.about["step_change"])
    return official_1_7b(text=scales["t"], image=scales["i"], audio=scales["a"])


def run_sample(official: Any, mode: str, model: HuMoTransformer | None = None) -> torch.Tensor:
    return sample(
        official.model() if model is None else model,
        **official.inputs,
        mode=mode,
        steps=official.about["steps"],
        shift=official.about["shift"],
        guidance=official_guidance(official),
    )


def one_pass(official: Any, model: HuMoTransformer, *, conditioned: bool, timestep: float) -> torch.Tensor:
    inputs = official.inputs
    null = null_reference(inputs["reference"], form=model.form, zero_condition_bcthw=inputs["zero_condition"])
    return model(
        inputs["noise"],
        torch.tensor([timestep]),
        text_bld=inputs["text" if conditioned else "text_negative"],
        audio_windows_btwgc=inputs["audio_windows"] * conditioned,
        reference_bcrhw=inputs["reference"] if conditioned else null,
        zero_condition_bcthw=inputs["zero_condition"],
    ).velocity_bcthw[0]


@torch.no_grad()
def test_single_passes(official: Any) -> None:
    model = official.model()
    timestep = official.about["forward_timestep"]
    conditioned = one_pass(official, model, conditioned=True, timestep=timestep)
    null = one_pass(official, model, conditioned=False, timestep=timestep)
    assert official.error(conditioned, "forward.tia") < 1e-5
    assert official.error(null, "forward.null") < 1e-5


@torch.no_grad()
def test_guided_first_step(official: Any) -> None:
    first = float(sampler(steps=official.about["steps"], shift=5.0).timesteps[0])
    model, inputs = official.model(), official.inputs
    null = null_reference(inputs["reference"], form=model.form, zero_condition_bcthw=inputs["zero_condition"])
    guided = torch.zeros_like(official.outputs["guided.first_step.TIA"])
    for name, weight in official_guidance(official).weights("TIA", first).items():
        guided += (
            weight
            * (
                model(
                    inputs["noise"],
                    torch.tensor([first]),
                    text_bld=inputs["text" if "T" in name else "text_negative"],
                    audio_windows_btwgc=inputs["audio_windows"] * ("A" in name),
                    reference_bcrhw=inputs["reference"] if "I" in name else null,
                    zero_condition_bcthw=inputs["zero_condition"],
                ).velocity_bcthw[0]
            )
        )
    assert official.error(guided, "guided.first_step.TIA") < 1e-4


@pytest.mark.parametrize("mode", ["TIA", "TA"])
def test_sampled_latents(official: Any, mode: str) -> None:
    assert official.error(run_sample(official, mode)[0], f"sampled.{mode}") < 1e-4


def test_timesteps(official: Any) -> None:
    timesteps = sampler(steps=official.about["steps"], shift=official.about["shift"]).timesteps
    assert timesteps.tolist() == official.outputs["timesteps"].tolist()


def test_default_grid_of_the_sampler_is_wrong(official_1_7b: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def default_grid(*, steps: int, shift: float, device: object) -> UniPCMultistepScheduler:
        scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift)
        scheduler.set_timesteps(steps, device=device)
        return scheduler

    monkeypatch.setattr("humo.generation.sampler", default_grid)
    error = official_1_7b.error(run_sample(official_1_7b, "TIA")[0], "sampled.TIA")
    assert 0.01 < error < 0.3


def test_export_has_the_official_layout(official: Any) -> None:
    exported = official.model().official_state_dict()
    assert {name: list(value.shape) for name, value in exported.items()} == official.about["state_dict_shapes"]


def test_bfloat16_keeps_its_own_tolerance(official: Any) -> None:
    model = official.model(torch.bfloat16)
    assert model.blocks[0].ffn[0].weight.dtype == torch.bfloat16
    assert model.head.head.weight.dtype == model.blocks[0].self_attn.norm_q.weight.dtype == torch.float32
    with torch.no_grad():
        ours = one_pass(official, model.eval(), conditioned=True, timestep=official.about["forward_timestep"])
    assert ours.dtype == torch.float32
    assert 1e-5 < official.error(ours, "forward.tia") < 0.02


def test_audio_features_and_windows(drawing: Callable[..., torch.Tensor]) -> None:
    about = json.loads((GOLDEN / "official_audio.json").read_text())
    golden = load_file(GOLDEN / "official_audio.safetensors")
    hidden_states = drawing(about["seed"], "in.hidden_states", *about["hidden_states_shape"])[0]
    features = group_hidden_states(hidden_states)
    torch.testing.assert_close(features, golden["features"], rtol=0, atol=1e-6)
    windows = audio_windows(features, (about["frames"] - 1) // 4 + 1)
    torch.testing.assert_close(windows, golden["windows.start0"], rtol=0, atol=1e-6)
    assert torch.equal(windows == 0, golden["windows.start0"] == 0)
