"""8-bit weights: the stated bounds, on layers and on the official configurations."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from humo.int8 import LARGEST, Int8Linear, store_in_8_bits
from humo.layers import Float32Linear, Linear
from humo.memory import weight_bytes
from humo.transformer import HuMoTransformer
from tests.humo.test_official_parity import one_pass, run_sample


@given(outputs=st.integers(1, 6), inputs=st.integers(1, 9), scale=st.sampled_from([1e-6, 1.0, 1e4]), bias=st.booleans())
def test_each_weight_is_off_by_half_a_step_at_most(outputs: int, inputs: int, scale: float, bias: bool) -> None:
    linear = Linear(inputs, outputs, bias=bias)
    torch.nn.init.normal_(linear.weight, std=scale)
    quantised = Int8Linear(linear)
    held = quantised.weight.float() * quantised.scales[:, None]
    bound = linear.weight.abs().amax(1, keepdim=True) / (2 * LARGEST)
    assert ((held - linear.weight).abs() <= 1.001 * bound).all()
    assert quantised.weight.abs().max() == LARGEST
    x = torch.randn(3, inputs)
    expected = functional.linear(x, held, linear.bias)
    assert torch.allclose(quantised(x), expected, rtol=1e-5, atol=1e-5 * scale)


def test_a_row_of_zeros_and_weights_of_few_values_are_exact() -> None:
    linear = Linear(3, 2)
    linear.weight.data = torch.tensor([[0.0, 0, 0], [-2, 0, 2]])
    x = torch.randn(4, 3)
    assert torch.allclose(Int8Linear(linear)(x), linear(x), atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_layer_computes_in_the_type_it_had(dtype: torch.dtype) -> None:
    linear = Linear(64, 8).to(dtype)
    quantised = Int8Linear(linear)
    result, expected = quantised(torch.randn(5, 64)), linear(torch.zeros(5, 64))
    assert result.dtype == expected.dtype == dtype
    assert not any(parameter.requires_grad for parameter in quantised.parameters())


def test_the_delicate_layers_stay() -> None:
    with torch.device("meta"):
        model = HuMoTransformer(form="overwrite", width=1536, ffn=8960, heads=12, layers=2)
    kept = [name for name, module in model.named_modules() if isinstance(module, Float32Linear)]
    before = weight_bytes(model.blocks)
    store_in_8_bits(model)
    assert [name for name, module in model.named_modules() if isinstance(module, Float32Linear)] == kept
    assert not any(isinstance(module, Linear) for module in model.modules())
    assert weight_bytes(model.blocks) < 0.26 * before


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_stated_error_of_a_pass(official: Any, dtype: torch.dtype) -> None:
    model = official.model(dtype)
    store_in_8_bits(model)
    with torch.no_grad():
        ours = one_pass(official, model, conditioned=True, timestep=official.about["forward_timestep"])
    assert 1e-3 < official.error(ours, "forward.tia") < 0.02


@pytest.mark.parametrize("mode", ["TIA", "TA"])
def test_the_stated_error_of_sampling(official: Any, mode: str) -> None:
    model = official.model()
    store_in_8_bits(model)
    assert 1e-3 < official.error(run_sample(official, mode, model)[0], f"sampled.{mode}") < 0.04
