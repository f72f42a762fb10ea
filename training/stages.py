"""What trains in a stage: named groups of parameters, switched on as the configuration says, printed and checked."""

import math
from collections import Counter
from collections.abc import Mapping

import torch
from torch import nn

from humo.parameters import parameter_group
from humo.transformer import HuMoTransformer
from schemas.errors import UserError
from training.config import Group, Optimizer, Stage
from training.parallel import local

PATCHES = "patch_embedding.weight"


def select(model: HuMoTransformer, name: str, stage: Stage) -> dict[str, nn.Parameter]:
    """Switch gradients on for the stage's groups and off for all others; the parameters that train, by name.

    Raises UserError if the model has no parameters of a group.
    """
    chosen: dict[str, nn.Parameter] = {}
    found: set[Group] = set()
    for parameter_name, parameter in model.named_parameters():
        groups = _groups(parameter_name, model)
        trains = bool(groups & set(stage.trains))
        parameter.requires_grad_(trains)
        parameter.grad = None
        if trains:
            chosen[parameter_name] = parameter
        found |= groups
    if missing := set(stage.trains) - found:
        raise UserError(f"the stage {name} trains {', '.join(sorted(missing))}, which this model does not have")
    return chosen


def rests_in_part(stage: Stage) -> bool:
    """Whether the patch embedding trains for its new channels alone."""
    return "new_inputs" in stage.trains and "reference_input" not in stage.trains


@torch.no_grad()
def keep_old_inputs(parameters: Mapping[str, nn.Parameter], stage: Stage, channels: int) -> None:
    """Where only the new inputs train: no gradient for the first `channels` channels of the patch embedding."""
    if rests_in_part(stage) and (gradient := parameters[PATCHES].grad) is not None:
        local(gradient)[:, :channels] = 0


def describe(model: HuMoTransformer, name: str, stage: Stage) -> str:
    """One line: parameters of every group, and which of them train."""
    sizes: Counter[Group] = Counter()
    for parameter_name, parameter in model.named_parameters():
        count, group = parameter.numel(), parameter_group(parameter_name)
        if parameter_name == PATCHES and rests_in_part(stage):
            new = count - count // parameter.shape[1] * model.latent_channels
            sizes["new_inputs"], count = new, count - new
        sizes[group] += count
    parts = [f"{group} {sizes[group]:,}{'' if group in stage.trains else ' (rests)'}" for group in sorted(sizes)]
    return f"stage {name}, {stage.steps} steps, parameters: {', '.join(parts)}"


def _groups(name: str, model: HuMoTransformer) -> set[Group]:
    new = name == PATCHES and model.form == "channels"
    return {parameter_group(name), *(("new_inputs",) if new else ())}


def make_optimizer(parameters: dict[str, nn.Parameter], settings: Optimizer, stage: Stage) -> torch.optim.AdamW:
    """AdamW over the parameters in the order of their names, decay on matrices only, and only on those that train
    as a whole: it would move what has no gradient.
    """
    ordered = sorted(parameters)
    whole = {name for name in ordered if not (name == PATCHES and rests_in_part(stage))}
    decays = [name for name in ordered if parameters[name].ndim > 1 and name in whole]
    return torch.optim.AdamW(
        [
            {"params": [parameters[name] for name in decays], "weight_decay": settings.weight_decay},
            {"params": [parameters[name] for name in ordered if name not in decays], "weight_decay": 0.0},
        ],
        lr=stage.learning_rate,
        betas=settings.betas,
        eps=settings.eps,
        fused=True,
    )


def learning_rate(stage: Stage, step: int) -> float:
    """At a step of the stage, from 0: a linear warm-up, then a cosine down to the stage's final share."""
    if step < stage.warmup:
        return stage.learning_rate * (step + 1) / stage.warmup
    progress = (step - stage.warmup) / max(stage.steps - stage.warmup, 1)
    fallen = (1 - stage.final_share) * (1 - math.cos(math.pi * progress)) / 2
    return stage.learning_rate * (1 - fallen)
