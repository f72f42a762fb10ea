from itertools import pairwise

import pytest
import torch
from torch import nn

from humo.mini.model import mini_model
from humo.parameters import parameter_group
from schemas.errors import UserError
from training.config import Optimizer, Stage
from training.stages import describe, learning_rate, make_optimizer, select


def stage(**changes: object) -> Stage:
    return Stage.model_validate({"steps": 10, "trains": ["audio"], "learning_rate": 1e-3, **changes})


def test_only_the_named_groups_train() -> None:
    model = mini_model(0).transformer
    chosen = select(model, "sync", stage(trains=["audio", "self_attention"]))
    for name, parameter in model.named_parameters():
        wanted = parameter_group(name) in ("audio", "self_attention")
        assert parameter.requires_grad == wanted == (name in chosen)
    chosen = select(model, "start", stage(trains=["other"]))
    assert {parameter_group(name) for name in chosen} == {"other"}
    assert not model.blocks[0].self_attn.q.weight.requires_grad


def test_a_group_that_the_model_lacks_is_refused() -> None:
    model = mini_model(0).transformer
    del model.mask_predictor
    with pytest.raises(UserError, match="stage sync trains mask_predictor, which this model does not have"):
        select(model, "sync", stage(trains=["audio", "mask_predictor"]))


def test_the_line_counts_every_parameter() -> None:
    model = mini_model(0).transformer
    line = describe(model, "sync", stage(trains=["audio"]))
    assert "stage sync, 10 steps" in line
    assert f"audio {sum(p.numel() for n, p in model.named_parameters() if parameter_group(n) == 'audio'):,}" in line
    assert line.count("(rests)") == 4


def test_weight_decay_is_for_matrices() -> None:
    layer = nn.Linear(3, 3)
    with torch.no_grad():
        layer.weight.fill_(1.0)
        layer.bias.fill_(1.0)
    parameters = dict(layer.named_parameters())
    optimizer = make_optimizer(parameters, Optimizer(weight_decay=0.5), stage(learning_rate=0.1))
    layer.weight.grad, layer.bias.grad = torch.zeros(3, 3), torch.zeros(3)
    optimizer.step()
    assert torch.allclose(layer.weight, torch.full((3, 3), 0.95))
    assert torch.equal(layer.bias, torch.ones(3))


def test_learning_rate_rises_then_falls() -> None:
    given = stage(steps=14, warmup=4, final_share=0.2, learning_rate=1.0)
    rates = [learning_rate(given, step) for step in range(14)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4] == 1.0
    assert rates[9] == pytest.approx(0.6)
    assert all(before > after for before, after in pairwise(rates[4:]))
    assert rates[-1] > 0.2
    constant = stage(steps=5)
    assert {learning_rate(constant, step) for step in range(5)} == {1e-3}
