"""From noise to latents: the only sampling path. Every condition comes as a tensor, so no encoder is needed here."""

from collections.abc import Callable
from typing import Any

import numpy
import torch
from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler
from torch import Tensor

from humo.conditions.audio import null_audio
from humo.conditions.reference import extend_zero_condition, null_reference
from humo.guidance import Guidance, Mode
from humo.memory import passes_that_fit
from humo.passes import Choice, Passes
from humo.residual_cache import Reuse
from humo.transformer import HuMoTransformer
from humo.windows import blend_weights, window_starts

HIGHEST_SIGMA = 0.999

OnStep = Callable[[int, int], None]
"""Told after each step: steps done, steps in all."""


def sampler(*, steps: int, shift: float, device: torch.device | str = "cpu") -> UniPCMultistepScheduler:
    """diffusers' UniPC (order 2, bh2) on the official sampler's grid; its own default grid is 6-10 % off."""
    scheduler: UniPCMultistepScheduler = UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift
    )
    sigmas: Any = numpy.linspace(HIGHEST_SIGMA, 0, steps + 1)[:-1]
    scheduler.set_timesteps(sigmas=sigmas, device=device)
    return scheduler


@torch.no_grad()
def sample(
    model: HuMoTransformer,
    *,
    noise: Tensor,
    text: Tensor,
    text_negative: Tensor,
    audio_windows: Tensor,
    reference: Tensor,
    zero_condition: Tensor | None,
    mode: Mode,
    steps: int,
    shift: float,
    guidance: Guidance,
    on_step: OnStep | None = None,
    at_once: int | None = None,
    window: int | None = None,
    reuse: Reuse | None = None,
) -> Tensor:
    """Sample video latents.

    Args:
        model: in evaluation mode, on the device of the tensors.
        noise: standard normal, (batch, channels, T+R, height, width) in latent pixels.
        text: text features, (batch, tokens, `text_dim`).
        text_negative: of the negative text, (batch, tokens, `text_dim`).
        audio_windows: (batch, T or T+R, window, groups, channels); in a mode without A their shape alone counts.
        reference: reference latents, (batch, channels, R, height, width), R >= 1; in a mode without I their shape
            alone counts.
        zero_condition: latents of a grey video, (batch or 1, channels, any length, height, width), cut or lengthened
            to T+R; None for the form `overwrite`.
        mode: the conditions to use.
        steps: sampling steps.
        shift: of the noise schedule; 5 in the official code.
        guidance: how the passes are mixed.
        on_step: told after each step.
        at_once: passes of a step that run as one batch; as many as the device's memory has room for when None. The
            results are equal but for rounding.
        window: video frames (latent) the model sees at once, at most; see `humo.windows`. All when None.
        reuse: lets steps reuse what the blocks made before, and accounts for it; see `humo.residual_cache`.

    Returns:
        Latents (batch, channels, T, height, width) in float32, the reference frames dropped.
    """
    references = reference.shape[2]
    frames = noise.shape[2] - references
    length = frames if window is None else min(window, frames)
    starts = window_starts(frames, length)
    if zero_condition is not None:
        zero_condition = extend_zero_condition(zero_condition, length + references).expand(len(noise), -1, -1, -1, -1)
    no_reference = null_reference(reference, form=model.form, zero_condition_bcthw=zero_condition)
    if at_once is None:
        shape = (*noise.shape[:2], length + references, *noise.shape[3:])
        at_once = passes_that_fit(model, latents_shape=shape, device=noise.device)
    windows: list[Passes] = []
    for start in starts:
        heard = audio_windows[:, start : start + length]
        windows.append(
            Passes(
                model,
                texts=Choice(text, text_negative),
                audios=Choice(heard, null_audio(heard)),
                references=Choice(reference, no_reference),
                zero_condition=zero_condition,
                at_once=at_once,
                same_text=windows[0] if windows else None,
                reuse=reuse,
            )
        )
    shares = [share.to(noise.device)[:, None, None] for share in blend_weights(starts, length, frames)]

    def guided(latents: Tensor, timestep: Tensor, *, fresh: bool) -> Tensor:
        weights = guidance.weights(mode, float(timestep))
        total = torch.zeros_like(latents)
        for start, share, passes in zip(starts, shares, windows, strict=True):
            seen = torch.cat((latents[:, :, start : start + length], latents[:, :, frames:]), dim=2)
            velocities = passes.velocities(seen, timestep, tuple(weights), fresh=fresh)
            velocity = torch.zeros_like(seen)
            for name, one in velocities:
                velocity += weights[name] * one
            total[:, :, start : start + length] += share * velocity[:, :, :length]
            total[:, :, frames:] += velocity[:, :, length:] / len(starts)
        return total

    scheduler = sampler(steps=steps, shift=shift, device=noise.device)
    latents = noise.float()
    for index, timestep in enumerate(scheduler.timesteps):
        velocity = guided(latents, timestep, fresh=index + 1 == len(scheduler.timesteps))
        latents = scheduler.step(velocity, timestep, latents, return_dict=False)[0]
        if on_step is not None:
            on_step(index + 1, len(scheduler.timesteps))
    return latents[:, :, :frames]
