"""The attention seam: another kernel is called with the documented layout and changes nothing."""

from typing import Any

import pytest
import torch
from torch import Tensor

from humo.attention import softmax_attention, use_kernel
from humo.transformer import HuMoTransformer

BLOCK = 7


def blockwise(q_blhd: Tensor, k_bmhd: Tensor, v_bmhd: Tensor) -> Tensor:
    """Attention over blocks of keys with a running maximum and sum: FlashAttention's way, in plain operations."""
    q, k, v = (x.float() for x in (q_blhd, k_bmhd, v_bmhd))
    highest = torch.full(q.shape[:3], float("-inf")).transpose(1, 2)
    total, mixed = torch.zeros_like(highest), torch.zeros_like(q.transpose(1, 2))
    for keys, values in zip(k.split(BLOCK, dim=1), v.split(BLOCK, dim=1), strict=True):
        scores = torch.einsum("blhd,bmhd->bhlm", q, keys) / q.shape[-1] ** 0.5
        new_highest = torch.maximum(highest, scores.amax(-1))
        shares, faded = (scores - new_highest[..., None]).exp(), (highest - new_highest).exp()
        total = total * faded + shares.sum(-1)
        mixed = mixed * faded[..., None] + torch.einsum("bhlm,bmhd->bhld", shares, values)
        highest = new_highest
    return (mixed / total[..., None]).transpose(1, 2).to(v_bmhd.dtype)


def test_the_kernels_of_this_test_agree() -> None:
    q, k, v = torch.randn(2, 5, 3, 8), torch.randn(2, 30, 3, 8), torch.randn(2, 30, 3, 8)
    assert torch.allclose(blockwise(q, k, v), softmax_attention(q, k, v), atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_another_kernel_steps_in_everywhere(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = HuMoTransformer(
        form="overwrite", width=24, ffn=40, heads=3, layers=2, text_dim=8, text_length=9, audio_dim=4, audio_tokens=2
    ).eval()
    for name, parameter in model.named_parameters():
        parameter.data += 0.05 * torch.randn(parameter.shape)
        if name.startswith("blocks.") and name.endswith("weight") and "norm" not in name:
            parameter.data = parameter.data.to(dtype)
        if name.startswith("blocks.") and name.endswith("bias") and "norm" not in name:
            parameter.data = parameter.data.to(dtype)
    calls: list[tuple[tuple[int, ...], ...]] = []

    def kernel(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        assert v.dtype == dtype
        calls.append((tuple(q.shape), tuple(k.shape), tuple(v.shape)))
        mixed = blockwise(q, k, v)
        assert mixed.dtype == dtype
        return mixed

    given: dict[str, Any] = {
        "timestep_b": torch.tensor([500.0]),
        "text_bld": torch.randn(2, 4, 8),
        "audio_windows_btwgc": torch.randn(2, 3, 8, 5, 4),
        "reference_bcrhw": torch.randn(2, 16, 1, 4, 6),
    }
    latents = torch.randn(2, 16, 4, 4, 6)
    expected = model(latents, **given).velocity_bcthw
    use_kernel(model, kernel)
    got = model(latents, **given).velocity_bcthw
    # (batch, tokens, heads, head width): 4 frames of 6 tokens see all 24, then the text's 9, then their frame's 2.
    everything, text = (2, 24, 3, 8), (2, 9, 3, 8)
    by_frame, heard = (8, 6, 3, 8), (8, 2, 3, 8)
    block = [(everything,) * 3, (everything, text, text), (by_frame, heard, heard)]
    assert calls == 2 * block
    tolerance = 1e-5 if dtype == torch.float32 else 0.02
    assert (got - expected).abs().max() < tolerance * expected.abs().max()
