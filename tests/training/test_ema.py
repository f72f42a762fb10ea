import pytest
import torch
from torch import nn

from training.ema import Ema


def test_follows_the_recurrence_with_its_early_decay() -> None:
    weight = nn.Parameter(torch.zeros(2))
    ema = Ema({"w": weight}, decay=0.5)
    expected = 0.0
    for updates, value in enumerate([1.0, -2.0, 3.0, 5.0, 8.0, 13.0, 21.0, 34.0, 55.0, 89.0]):
        with torch.no_grad():
            weight.fill_(value)
        ema.update(updates)
        decay = min(0.5, (1 + updates) / (10 + updates))
        expected = decay * expected + (1 - decay) * value
    assert ema.averages["w"].tolist() == pytest.approx([expected] * 2)
    assert weight.tolist() == [89.0, 89.0]
    ema.copy_to_weights()
    assert torch.equal(weight, ema.averages["w"])


def test_averages_stand_in_the_weights_place_for_a_while() -> None:
    weight = nn.Parameter(torch.ones(2))
    ema = Ema({"w": weight}, decay=0.9)
    ema.averages["w"].copy_(torch.tensor([3.0, 4.0]))
    with ema.in_place():
        assert weight.tolist() == [3, 4]
    assert weight.tolist() == [1, 1]
    assert ema.averages["w"].tolist() == [3, 4]
