"""What trains in a stage: named groups of parameters, switched on as the configuration says, printed and checked."""

import math
from collections import Counter

import torch
from torch import nn

from humo.parameters import parameter_group
from schemas.errors import UserError
from training.config import Group, Optimizer, Stage


def select(model: nn.Module, name: str, stage: Stage) -> dict[str, nn.Parameter]:
    """Switch gradients on for the stage's groups and off for all others; the parameters that train, by name.

    Raises UserError if the model has no parameters of a group.
    """
    chosen: dict[str, nn.Parameter] = {}
    found: set[Group] = set()
    for parameter_name, parameter in model.named_parameters():
        group = parameter_group(parameter_name)
        trains = group in stage.trains
        parameter.requires_grad_(trains)
        parameter.grad = None
        if trains:
            chosen[parameter_name] = parameter
            found.add(group)
    if missing := set(stage.trains) - found:
        raise UserError(f"the stage {name} trains {', '.join(sorted(missing))}, which this model does not have")
    return chosen


def describe(model: nn.Module, name: str, stage: Stage) -> str:
    """One line: parameters of every group, and which of them train."""
    sizes: Counter[Group] = Counter()
    for parameter_name, parameter in model.named_parameters():
        sizes[parameter_group(parameter_name)] += parameter.numel()
    parts = [f"{group} {sizes[group]:,}{'' if group in stage.trains else ' (rests)'}" for group in sorted(sizes)]
    return f"stage {name}, {stage.steps} steps, parameters: {', '.join(parts)}"


def make_optimizer(parameters: dict[str, nn.Parameter], settings: Optimizer, stage: Stage) -> torch.optim.AdamW:
    """AdamW over the parameters in the order of their names, decay on matrices only."""
    ordered = [parameters[name] for name in sorted(parameters)]
    return torch.optim.AdamW(
        [
            {"params": [one for one in ordered if one.ndim > 1], "weight_decay": settings.weight_decay},
            {"params": [one for one in ordered if one.ndim <= 1], "weight_decay": 0.0},
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
