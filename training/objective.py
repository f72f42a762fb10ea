"""The loss: flow matching with a velocity target, and focus-by-predicting for faces.

x_s = (1 - s) x0 + s e, target e - x0, timestep 1000 s (rectified flow, as Wan2.1 was trained). The paper covers nothing
beyond that: what the loss spans and how the mask's term is weighed and bounded are choices of this project.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from humo.transformer import HuMoOutput, HuMoTransformer
from training.config import Objective
from training.encoding import Conditions, EncodedBatch

TIMESTEPS = 1000.0


@dataclass(frozen=True)
class Counts:
    """What a step's loss is a mean over: of all its samples, in whatever parts they pass the model."""

    samples: float
    """Of weight 1."""
    faces: float
    """Latent frames of these that show a face."""


@dataclass(frozen=True)
class Losses:
    """What some of a step's samples add to its loss, scalars. Samples of weight 0 count for nothing in any of them."""

    total: Tensor
    """What is minimised."""
    velocity: Tensor
    """Mean squared error of the velocity, detached."""
    mask: Tensor
    """Face-mask loss before its weight, detached; 0 without a mask in the step."""
    velocity_b: Tensor
    """Per sample, detached."""


def noisy_latents(clean_bcthw: Tensor, noise_bcthw: Tensor, time_b: Tensor) -> Tensor:
    """(1 - s) x0 + s e."""
    time = time_b.view(-1, 1, 1, 1, 1)
    return (1 - time) * clean_bcthw + time * noise_bcthw


def predict(
    model: HuMoTransformer,
    *,
    clean_bcthw: Tensor,
    noise_bcthw: Tensor,
    time_b: Tensor,
    conditions: Conditions,
    mask_logits: bool = False,
) -> HuMoOutput:
    """One pass on noised latents: T video frames, then R slots holding the reference noised alike.

    The form `overwrite` replaces those slots by the clean reference itself; the form `channels` sees them noised.
    """
    clean = torch.cat((clean_bcthw, conditions.reference_bcrhw), dim=2)
    output: HuMoOutput = model(
        noisy_latents(clean, noise_bcthw, time_b),
        time_b * TIMESTEPS,
        text_bld=conditions.text_bld,
        audio_windows_btwgc=conditions.audio_btwgc,
        reference_bcrhw=conditions.reference_bcrhw,
        zero_condition_bcthw=conditions.zero_bcthw,
        return_mask_logits=mask_logits,
    )
    return output


def squared_error(output: HuMoOutput, clean_bcthw: Tensor, noise_bcthw: Tensor) -> Tensor:
    """(v - (e - x0))^2 over the first frames, as many as `clean_bcthw` has."""
    frames = clean_bcthw.shape[2]
    target = noise_bcthw[:, :, :frames] - clean_bcthw
    return (output.velocity_bcthw[:, :, :frames].float() - target).square()


def count(face_mask_bthw: Tensor, weight_b: Tensor) -> Counts:
    """What these samples add to the step's counts."""
    faces_b = face_mask_bthw.flatten(2).any(dim=2).sum(dim=1)
    return Counts(samples=float(weight_b.sum()), faces=float((faces_b * weight_b).sum()))


def losses(model: HuMoTransformer, batch: EncodedBatch, objective: Objective, counts: Counts | None = None) -> Losses:
    """The loss of a batch, or its share of the loss of a step with these counts.

    The form `overwrite` counts the T video frames; `channels` also the R reference slots, which it denoises as well.
    """
    counts = count(batch.face_mask_bthw, batch.weight_b) if counts is None else counts
    # Not by this batch's own faces: processes that differ in what they compute would wait for each other.
    wants_mask = objective.mask_weight > 0 and counts.faces > 0
    output = predict(
        model,
        clean_bcthw=batch.clean_bcthw,
        noise_bcthw=batch.noise_bcthw,
        time_b=batch.time_b,
        conditions=batch.conditions,
        mask_logits=wants_mask,
    )
    counted = batch.clean_bcthw
    if model.form == "channels":
        counted = torch.cat((counted, batch.conditions.reference_bcrhw), dim=2)
    velocity_b = squared_error(output, counted, batch.noise_bcthw).mean(dim=(1, 2, 3, 4))
    velocity = (velocity_b * batch.weight_b).sum() / max(counts.samples, 1)
    mask = velocity.new_zeros(())
    if output.mask_logits_bthw is not None:
        mask = mask_loss(
            output.mask_logits_bthw,
            batch.face_mask_bthw,
            batch.weight_b,
            limit=objective.mask_factor_limit,
            frames=counts.faces,
        )
    total = velocity + objective.mask_weight * mask
    return Losses(total, velocity.detach(), mask.detach(), velocity_b.detach())


def mask_loss(
    logits_bthw: Tensor, mask_bthw: Tensor, weight_b: Tensor, *, limit: float, frames: float | None = None
) -> Tensor:
    """Focus-by-predicting: (hw / sum(M)) BCE(M_pred, M), a mean over the latent frames that show a face.

    `frames`: how many these are in the whole step; None counts those given.

    The factor makes small faces weigh more; `limit` bounds it, so that a face of one token does not drown the rest.
    Frames without a face and samples of weight 0 are left out.
    """
    area_bt = mask_bthw.sum(dim=(2, 3))
    factor_bt = (mask_bthw.shape[2] * mask_bthw.shape[3] / area_bt.clamp(min=1)).clamp(max=limit)
    entropy_bt = functional.binary_cross_entropy_with_logits(logits_bthw, mask_bthw, reduction="none").mean(dim=(2, 3))
    counts_bt = (area_bt > 0) * weight_b[:, None]
    divisor = counts_bt.sum().clamp(min=1) if frames is None else max(frames, 1)
    return (factor_bt * entropy_bt * counts_bt).sum() / divisor
