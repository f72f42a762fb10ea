"""Sampling beyond the official configurations: batches, sizes, modes, and passes that are not made."""

from pathlib import Path
from typing import Any

import pytest
import torch

import humo.transformer
from humo.checkpoints import Model, load_model_dir
from humo.generation import sample, sampler
from humo.guidance import Contrast, Formula, Guidance, official_1_7b, official_17b, paper
from humo.transformer import HuMoTransformer

CPU = torch.device("cpu")
SWITCHING = Guidance(
    {
        mode: (Formula(contrasts=(), base=mode, above=900.0), Formula(contrasts=(Contrast(3.0, mode, "0"),)))
        for mode in ("TIA", "TA", "TI", "T")
    }
)
"""One pass first, then two: the second's keys and values are not made in the first step."""


@pytest.fixture(scope="module")
def model(mini_directory: Path) -> Model:
    return load_model_dir(mini_directory, device=CPU, dtype=torch.float32)


def inputs(batch: int = 1, frames: int = 3, references: int = 1, rows: int = 4, columns: int = 6) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(batch, *shape, generator=generator)

    return {
        "noise": draw(16, frames + references, rows, columns),
        "text": draw(6, 64),
        "text_negative": draw(3, 64),
        "audio_windows": draw(frames, 8, 5, 24),
        "reference": draw(16, references, rows, columns),
        "zero_condition": None,
        "steps": 2,
        "shift": 3.0,
        "guidance": official_1_7b(),
    }


@pytest.mark.parametrize("size", [(4, 6), (6, 4), (2, 2), (8, 8)])
@pytest.mark.parametrize("references", [1, 4])
def test_sizes_and_references(model: Model, size: tuple[int, int], references: int) -> None:
    latents = sample(model.transformer, **inputs(references=references, rows=size[0], columns=size[1]), mode="TIA")
    assert latents.shape == (1, 16, 3, *size)
    assert latents.isfinite().all()


def test_a_batch_is_its_samples(model: Model) -> None:
    whole = inputs(batch=2)
    together = sample(model.transformer, **whole, mode="TIA")
    for index in range(2):
        one = {k: v[index : index + 1] if isinstance(v, torch.Tensor) else v for k, v in whole.items()}
        assert torch.allclose(together[index : index + 1], sample(model.transformer, **one, mode="TIA"), atol=1e-4)


@pytest.mark.parametrize(
    ("mode", "used", "unused"),
    [("TA", "audio_windows", "reference"), ("TI", "reference", "audio_windows"), ("T", "text", "reference")],
)
def test_a_mode_uses_its_conditions_and_no_others(model: Model, mode: str, used: str, unused: str) -> None:
    given = inputs()
    first = sample(model.transformer, **given, mode=mode)
    assert torch.equal(first, sample(model.transformer, **{**given, unused: 5 * given[unused]}, mode=mode))
    assert not torch.allclose(first, sample(model.transformer, **{**given, used: -given[used]}, mode=mode), atol=1e-3)


@pytest.mark.parametrize("at_once", [1, 2, 4])
def test_only_the_passes_that_the_guidance_needs_are_made(model: Model, at_once: int) -> None:
    rows: list[int] = []
    handle = model.transformer.register_forward_pre_hook(lambda _, arguments: rows.append(len(arguments[0])))
    steps: list[tuple[int, int]] = []
    try:
        for guidance in (official_1_7b(), official_1_7b(text=2.0), paper(text=1.0, image=1.0, audio=1.0)):
            rows.clear()
            sample(
                model.transformer,
                **{**inputs(), "guidance": guidance, "steps": 3},
                mode="TIA",
                at_once=at_once,
                on_step=lambda *done: steps.append(done),
            )
            passes = len(guidance.weights("TIA", 500.0))
            assert sum(rows) == passes * 3
            assert max(rows) == min(at_once, passes)
    finally:
        handle.remove()
    assert steps == [(1, 3), (2, 3), (3, 3)] * 3


@pytest.mark.parametrize("mode", ["TIA", "TA", "TI", "T"])
@pytest.mark.parametrize("guidance", [official_1_7b(text=2.0), official_17b(), SWITCHING])
def test_passes_give_the_same_alone_and_together(model: Model, mode: str, guidance: Guidance) -> None:
    # Steps 0 and 1 lie above 980: the form's formula switches within the run.
    given = {**inputs(batch=2), "steps": 6, "shift": 20.0, "guidance": guidance}
    alone, pairs, together = (sample(model.transformer, **given, mode=mode, at_once=n) for n in (1, 2, 4))
    plain = one_by_one(model.transformer, **given, mode=mode)
    for ours in (alone, pairs, together):
        assert (ours - plain).abs().max() / plain.abs().max() < 1e-5


def one_by_one(
    model: HuMoTransformer,
    *,
    noise: torch.Tensor,
    mode: str,
    steps: int,
    shift: float,
    guidance: Guidance,
    **given: Any,
) -> torch.Tensor:
    """Sampling with nothing remembered and nothing stacked."""
    scheduler, latents = sampler(steps=steps, shift=shift), noise
    for timestep in scheduler.timesteps:
        guided = torch.zeros_like(latents)
        for name, weight in guidance.weights(mode, float(timestep)).items():
            with torch.no_grad():
                guided += (
                    weight
                    * model(
                        latents,
                        timestep.expand(len(noise)),
                        text_bld=given["text" if "T" in name else "text_negative"],
                        audio_windows_btwgc=given["audio_windows"] * ("A" in name),
                        reference_bcrhw=given["reference"] * ("I" in name),
                    ).velocity_bcthw
                )
        latents = scheduler.step(guided, timestep, latents, return_dict=False)[0]
    return latents[:, :, : -given["reference"].shape[2]]


@pytest.mark.parametrize("at_once", [1, 2, 4])
def test_keys_and_values_of_text_and_audio_are_made_once_a_video(model: Model, at_once: int) -> None:
    made: dict[str, int] = {}

    def count(name: str) -> Any:
        def hook(module: torch.nn.Module, arguments: tuple[torch.Tensor], output: torch.Tensor) -> None:
            made[name] = made.get(name, 0) + output.shape[0]

        return hook

    parts = {
        name: module
        for name, module in model.transformer.named_modules()
        if name.endswith(("cross_attn.k", "cross_attn.v", "text_embedding", "audio_proj"))
    }
    handles = [module.register_forward_hook(count(name)) for name, module in parts.items()]
    try:
        sample(model.transformer, **{**inputs(), "guidance": official_17b(), "steps": 8}, mode="TIA", at_once=at_once)
    finally:
        for handle in handles:
            handle.remove()
    assert len(parts) == 4 * 4 + 2
    # Two texts and two audios for three passes of eight steps; a batch may bring one twice.
    assert all(2 <= rows <= 3 for rows in made.values())
    if at_once == 1:
        assert set(made.values()) == {2}


def test_positions_are_made_once_a_video(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    original = humo.transformer.rotary_angles
    monkeypatch.setattr(humo.transformer, "rotary_angles", lambda *a: calls.append(a) or original(*a))
    sample(model.transformer, **{**inputs(), "guidance": official_17b(), "steps": 5}, mode="TIA", at_once=4)
    assert len(calls) == 1


def test_a_window_that_holds_all_changes_nothing(model: Model) -> None:
    whole = sample(model.transformer, **inputs(), mode="TIA")
    assert torch.equal(whole, sample(model.transformer, **inputs(), mode="TIA", window=3))
    assert torch.equal(whole, sample(model.transformer, **inputs(), mode="TIA", window=9))


def test_windows_leave_no_seam(model: Model) -> None:
    # A still scene: every frame has the same noise and hears the same, so every frame should come out alike.
    given = inputs(frames=20)
    for name, axis in (("noise", 2), ("audio_windows", 1)):
        still = given[name].narrow(axis, 0, 1).expand(given[name].shape).clone()
        given[name] = still
    latents = sample(model.transformer, **{**given, "guidance": official_1_7b()}, mode="TIA", window=6)
    assert latents.shape == (1, 16, 20, 4, 6)
    jumps = latents.diff(dim=2).square().mean((0, 1, 3, 4)).sqrt()
    within = sample(
        model.transformer,
        **{**given, **{"noise": given["noise"][:, :, :7]}, "audio_windows": given["audio_windows"][:, :6]},
        mode="TIA",
    )
    usual = within.diff(dim=2).square().mean((0, 1, 3, 4)).sqrt()
    assert jumps.max() <= 1.2 * usual.max()


def test_zero_condition_is_lengthened_to_the_references() -> None:
    torch.manual_seed(0)
    transformer = HuMoTransformer(
        form="channels", width=24, ffn=24, heads=2, layers=1, text_dim=64, text_length=6, audio_dim=24, audio_tokens=2
    ).eval()
    torch.nn.init.normal_(transformer.head.head.weight)
    given = inputs(references=2)
    zero = torch.randn(1, 16, 3, 4, 6)
    whole = torch.cat((zero, zero[:, :, -1:], zero[:, :, -1:]), dim=2)
    short = sample(transformer, **{**given, "zero_condition": zero}, mode="TIA")
    assert torch.equal(short, sample(transformer, **{**given, "zero_condition": whole}, mode="TIA"))


def test_sampled_latents_can_enter_training(model: Model) -> None:
    latents = sample(model.transformer, **inputs(), mode="T")
    weight = torch.ones(1, requires_grad=True)
    (latents * weight).sum().backward()
    assert weight.grad is not None
