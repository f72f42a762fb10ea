"""Sampling beyond the official configurations: batches, sizes, modes, and passes that are not made."""

from pathlib import Path
from typing import Any

import pytest
import torch

from humo.checkpoints import Model, load_model_dir
from humo.generation import sample
from humo.guidance import official_1_7b, paper
from humo.transformer import HuMoTransformer

CPU = torch.device("cpu")


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


def test_only_the_passes_that_the_guidance_needs_are_made(model: Model) -> None:
    calls: list[int] = []
    handle = model.transformer.register_forward_hook(lambda *_: calls.append(1))
    steps: list[tuple[int, int]] = []
    try:
        for guidance, mode in ((official_1_7b(), "TIA"), (paper(text=1.0, image=1.0, audio=1.0), "TIA")):
            calls.clear()
            sample(
                model.transformer,
                **{**inputs(), "guidance": guidance, "steps": 3},
                mode=mode,
                on_step=lambda *done: steps.append(done),
            )
            expected = len(guidance.weights(mode, 500.0)) * 3
            assert len(calls) == expected
    finally:
        handle.remove()
    assert steps == [(1, 3), (2, 3), (3, 3)] * 2


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
