"""Memory: the stated sums, offloading without another result, and compiled blocks."""

from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from humo.memory import memory_bytes, sampling_bytes, weight_bytes
from humo.offload import resident, streamed
from humo.pipeline import HuMoPipeline
from humo.presets import HUMO_1_7B, HUMO_17B
from humo.transformer import KEPT_IN_FLOAT32, HuMoTransformer, Memory

CPU = torch.device("cpu")
FULL = (1, 16, 26, 60, 104)
"""480x832, 97 frames, one reference."""


def full_size(preset: dict[str, Any]) -> HuMoTransformer:
    """In bfloat16 on the meta device, with what is delicate in float32."""
    with torch.device("meta"):
        model = HuMoTransformer(**preset)
    for name, parameter in model.named_parameters():
        if not any(part in KEPT_IN_FLOAT32 for part in name.split(".")):
            parameter.data = parameter.data.to(torch.bfloat16)
    return model


def test_the_stated_sums_fit_their_cards() -> None:
    small, large = full_size(HUMO_1_7B), full_size(HUMO_17B)
    assert weight_bytes([small]) / 1e9 == pytest.approx(3.52, abs=0.01)
    whole = sampling_bytes(small, latents_shape=FULL, passes=1, streamed=False)
    blocks = sampling_bytes(large, latents_shape=FULL, passes=1, streamed=True)
    assert whole / 1e9 == pytest.approx(6.5, abs=0.1)
    assert blocks / 1e9 == pytest.approx(12.4, abs=0.1)
    assert sampling_bytes(large, latents_shape=FULL, passes=1, streamed=False) > 24e9


def test_keys_and_values_are_as_large_as_calculated(mini_directory: Path) -> None:
    pipeline = HuMoPipeline.from_directory(mini_directory, device=CPU, dtype=torch.float32)
    model, memory = pipeline.model.transformer, Memory()
    with torch.no_grad():
        model(
            torch.randn(2, 16, 4, 4, 6),
            torch.tensor([500.0]),
            text_bld=torch.randn(2, 3, 64),
            audio_windows_btwgc=torch.randn(2, 3, 8, 5, 24),
            reference_bcrhw=torch.randn(2, 16, 1, 4, 6),
            memory=memory,
        )
    assert memory.text is not None
    assert memory.audio is not None
    held = sum(x.numel() * x.element_size() for block in (*memory.text, *memory.audio) for x in block)
    assert held == memory_bytes(model, frames=4, passes=2)


@pytest.mark.parametrize("offload", ["model", "blocks"])
def test_offloading_changes_nothing(offload: Any, mini_directory: Path) -> None:
    given: dict[str, Any] = {"images": [numpy.zeros((20, 30, 3), numpy.uint8)], "speech_s": numpy.ones(9000) * 0.1}
    given["speech_s"] = given["speech_s"].astype(numpy.float32)
    plain, offloaded = (
        HuMoPipeline.from_directory(mini_directory, device=CPU, dtype=torch.float32, offload=way)(
            "A man", num_frames=5, num_inference_steps=2, **given
        )
        for way in ("none", offload)
    )
    assert numpy.array_equal(plain, offloaded)


def test_only_the_layer_at_work_is_on_the_device() -> None:
    model = torch.nn.Sequential(*(torch.nn.Linear(2, 2) for _ in range(3)))
    homes = [layer.weight.data_ptr() for layer in model]
    there: list[list[bool]] = []

    def copied() -> list[bool]:
        return [layer.weight.data_ptr() != home for layer, home in zip(model, homes, strict=True)]

    for layer in model:
        layer.register_forward_hook(lambda *_: there.append(copied()))
    with streamed(model, model[:2], CPU):
        assert copied() == [False, False, True]
        model(torch.randn(1, 2))
    assert there == [[True, False, True], [False, True, True], [False, False, True]]
    assert copied() == [False, False, False]


def test_a_part_goes_home_after_a_failure() -> None:
    layer = torch.nn.Linear(2, 2)
    with pytest.raises(RuntimeError, match="stop"), resident(layer, CPU):
        raise RuntimeError("stop")
    assert layer.weight.device == CPU
    with resident(object(), CPU):
        pass


def test_blocks_compile_as_one_graph_each(mini_directory: Path) -> None:
    pipeline = HuMoPipeline.from_directory(mini_directory, device=CPU, dtype=torch.float32)
    plain = pipeline("A man", num_frames=5, num_inference_steps=3)
    pipeline.model.transformer.compile_repeated_blocks(backend="eager", fullgraph=True)
    assert numpy.array_equal(plain, pipeline("A man", num_frames=5, num_inference_steps=3))
