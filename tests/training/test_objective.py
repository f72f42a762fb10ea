from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from humo.presets import MINI
from humo.transformer import HuMoOutput, HuMoTransformer
from training.config import Objective
from training.encoding import Conditions, EncodedBatch
from training.objective import losses, mask_loss, noisy_latents, predict

T, R, SIDE = 2, 1, 4


class Stub(nn.Module):
    """Answers with what it is told and remembers what it was asked."""

    def __init__(self, velocity: Tensor, mask_logits: Tensor | None = None, form: str = "overwrite") -> None:
        super().__init__()
        self.form, self.velocity, self.logits = form, velocity, mask_logits
        self.asked: dict[str, Any] = {}

    def forward(self, latents_bcthw: Tensor, timestep_b: Tensor, **given: Any) -> HuMoOutput:
        self.asked = {"latents": latents_bcthw, "timestep": timestep_b, **given}
        return HuMoOutput(self.velocity, self.logits if given["return_mask_logits"] else None)


def batch(samples: int = 3, seed: int = 0) -> EncodedBatch:
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw)

    return EncodedBatch(
        clean_bcthw=normal(samples, 16, T, SIDE, SIDE),
        conditions=Conditions(
            text_bld=normal(samples, 3, MINI["text_dim"]),
            audio_btwgc=normal(samples, T, 8, 5, MINI["audio_dim"]),
            reference_bcrhw=normal(samples, 16, R, SIDE, SIDE),
            zero_bcthw=None,
        ),
        noise_bcthw=normal(samples, 16, T + R, SIDE, SIDE),
        time_b=torch.rand(samples, generator=draw),
        face_mask_bthw=torch.zeros(samples, T, SIDE // 2, SIDE // 2),
        weight_b=torch.ones(samples),
    )


def true_velocity(given: EncodedBatch) -> Tensor:
    clean = torch.cat((given.clean_bcthw, given.conditions.reference_bcrhw), dim=2)
    return given.noise_bcthw - clean


def test_the_path_ends_in_video_and_noise_and_its_slope_is_the_target() -> None:
    given = batch()
    clean, noise = given.clean_bcthw, given.noise_bcthw[:, :, :T]
    zeros, ones = torch.zeros(3), torch.ones(3)
    assert torch.equal(noisy_latents(clean, noise, zeros), clean)
    assert torch.allclose(noisy_latents(clean, noise, ones), noise)
    slope = (noisy_latents(clean, noise, zeros + 0.6) - noisy_latents(clean, noise, zeros + 0.4)) / 0.2
    assert torch.allclose(slope, noise - clean, atol=1e-5)


def test_the_model_is_asked_at_a_thousandth_of_its_timestep() -> None:
    given = batch()
    model = Stub(true_velocity(given))
    losses(model, given, Objective())  # type: ignore[arg-type]
    assert torch.allclose(model.asked["timestep"], given.time_b * 1000)
    expected = noisy_latents(given.clean_bcthw, given.noise_bcthw[:, :, :T], given.time_b)
    assert torch.equal(model.asked["latents"][:, :, :T], expected)
    assert model.asked["latents"].shape[2] == T + R


def test_the_true_velocity_has_no_loss_and_an_error_counts_by_its_square() -> None:
    given = batch()
    velocity = true_velocity(given)
    assert float(losses(Stub(velocity), given, Objective()).total) == 0  # type: ignore[arg-type]
    velocity[1, :, 0] += 2
    found = losses(Stub(velocity), given, Objective())  # type: ignore[arg-type]
    assert found.velocity_b.tolist() == pytest.approx([0, 2, 0])
    assert float(found.total) == pytest.approx(2 / 3)


@pytest.mark.parametrize(("form", "loss"), [("overwrite", 0.0), ("channels", 9 / 3)])
def test_reference_slots_count_only_where_they_are_denoised(form: str, loss: float) -> None:
    given = batch()
    velocity = true_velocity(given)
    velocity[:, :, T:] += 3
    assert float(losses(Stub(velocity, form=form), given, Objective()).total) == pytest.approx(loss)  # type: ignore[arg-type]


def test_damaged_samples_count_for_nothing() -> None:
    given = batch()
    velocity = true_velocity(given) + torch.tensor([1.0, 5.0, 3.0]).view(3, 1, 1, 1, 1)
    weighted = replace(given, weight_b=torch.tensor([1.0, 0.0, 1.0]))
    assert float(losses(Stub(velocity), weighted, Objective()).velocity) == pytest.approx((1 + 9) / 2)  # type: ignore[arg-type]


def test_the_gradient_of_a_damaged_sample_is_zero() -> None:
    given = batch()
    velocity = torch.zeros_like(true_velocity(given)).requires_grad_()
    losses(Stub(velocity), replace(given, weight_b=torch.tensor([1.0, 0.0, 1.0])), Objective()).total.backward()  # type: ignore[arg-type]
    assert velocity.grad is not None
    assert velocity.grad.flatten(1).any(dim=1).tolist() == [True, False, True]


def test_mask_loss_weighs_a_small_face_as_much_as_a_large_one() -> None:
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., 0, 0] = 1
    wrong_there = torch.full((1, 1, 4, 4), -20.0)
    small = mask_loss(wrong_there, mask, torch.ones(1), limit=100)
    mask[..., 1, :] = 1
    large = mask_loss(wrong_there, mask, torch.ones(1), limit=100)
    # hw / sum(M) times the mean of 20 over sum(M) tokens is 20, whatever the size.
    assert float(small) == pytest.approx(20)
    assert float(large) == pytest.approx(20)
    assert float(mask_loss(wrong_there, mask, torch.ones(1), limit=2)) == pytest.approx(2 * 20 * 5 / 16)


def test_mask_loss_leaves_out_empty_frames_and_damaged_samples() -> None:
    mask = torch.zeros(2, 2, 4, 4)
    mask[0, 0, 0, 0] = mask[1] = 1
    logits = torch.randn(2, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    alone = mask_loss(logits[:1, :1], mask[:1, :1], torch.ones(1), limit=30)
    assert float(mask_loss(logits, mask, torch.tensor([1.0, 0.0]), limit=30)) == pytest.approx(float(alone))
    assert float(mask_loss(logits, torch.zeros_like(mask), torch.ones(2), limit=30)) == 0


def test_the_mask_is_asked_for_only_where_there_is_one_and_enters_with_its_weight() -> None:
    given = batch()
    logits = torch.zeros(3, T, SIDE // 2, SIDE // 2)
    model = Stub(true_velocity(given), logits)
    losses(model, given, Objective())  # type: ignore[arg-type]
    assert model.asked["return_mask_logits"] is False
    given.face_mask_bthw[0, 0, 0, 0] = 1
    found = losses(model, given, Objective(mask_weight=0.5))  # type: ignore[arg-type]
    assert float(found.mask) == pytest.approx(4 * 0.6931, rel=1e-3)
    assert float(found.total) == pytest.approx(0.5 * float(found.mask))
    losses(model, given, Objective(mask_weight=0))  # type: ignore[arg-type]
    assert model.asked["return_mask_logits"] is False


@pytest.mark.parametrize("form", ["overwrite", "channels"])
def test_both_forms_run_through_the_real_model(form: str) -> None:
    torch.manual_seed(0)
    model = HuMoTransformer(**{**MINI, "form": form, "layers": 1})
    given = batch()
    if form == "channels":
        grey = torch.randn(3, 16, T + R, SIDE, SIDE)
        given = replace(given, conditions=replace(given.conditions, zero_bcthw=grey))
    found = losses(model, given, Objective())
    found.total.backward()
    # Wan's head begins at zero: the loss is that of predicting nothing.
    counted = true_velocity(given)[:, :, : T if form == "overwrite" else T + R]
    assert float(found.velocity) == pytest.approx(float(counted.square().mean()), rel=1e-5)
    output = predict(
        model,
        clean_bcthw=given.clean_bcthw,
        noise_bcthw=given.noise_bcthw,
        time_b=given.time_b,
        conditions=replace(given.conditions, audio_btwgc=None),
    )
    assert output.velocity_bcthw.shape == (3, 16, T + R, SIDE, SIDE)
