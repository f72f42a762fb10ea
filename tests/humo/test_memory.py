"""Memory: the stated sums against traced allocations, offloading without another result, and compiled blocks."""

import weakref
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from torch import distributed as dist
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import UMT5Config, UMT5EncoderModel

import humo.memory
from humo.int8 import store_in_8_bits
from humo.memory import activation_bytes, held_bytes, memory_bytes, sampling_bytes, weight_bytes
from humo.offload import resident, streamed
from humo.pipeline import HuMoPipeline
from humo.presets import HUMO_1_7B, HUMO_17B
from humo.sequence_parallel import sequence_split
from humo.transformer import KEPT_IN_FLOAT32, HuMoTransformer, Memory
from schemas.errors import UserError

CPU = torch.device("cpu")
FULL = (1, 16, 26, 60, 104)
"""480x832, 97 frames, one reference."""


def full_size(preset: dict[str, Any], device: str = "meta") -> HuMoTransformer:
    """In bfloat16, with what is delicate in float32."""
    with torch.device(device):
        model = HuMoTransformer(**preset)
    for name, parameter in model.named_parameters():
        if not any(part in KEPT_IN_FLOAT32 for part in name.split(".")):
            parameter.data = parameter.data.to(torch.bfloat16)
    return model


class LiveBytes(TorchDispatchMode):
    """Follows what is allocated and freed, the given tensors aside."""

    def __init__(self, given: Any) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._sizes = {tensor.untyped_storage()._cdata: 0 for tensor in given}

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = operation(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage()._cdata not in self._sizes:
                storage = tensor.untyped_storage()
                self._sizes[storage._cdata] = storage.nbytes()
                self.now += storage.nbytes()
                weakref.finalize(storage, self._free, storage._cdata)
        self.peak = max(self.peak, self.now)
        return result

    def _free(self, key: int) -> None:
        self.now -= self._sizes.pop(key)


def traced_pass(preset: dict[str, Any], *, passes: int, int8: bool, group: dist.ProcessGroup | None) -> int:
    """Peak of a pass at full size but for the number of layers; nothing is computed."""
    frames, rows, columns = FULL[2:]
    with FakeTensorMode(), torch.no_grad():
        model, memory = full_size({**preset, "layers": 2}, "cpu"), Memory()
        if int8:
            store_in_8_bits(model)
        latents = torch.randn(passes, *FULL[1:])
        given: dict[str, Any] = {
            "text_bld": torch.randn(passes, 512, 4096),
            "audio_windows_btwgc": torch.randn(passes, frames - 1, 8, 5, 1280),
            "reference_bcrhw": torch.randn(passes, 16, 1, rows, columns),
            "zero_condition_bcthw": torch.randn(passes, 16, frames, rows, columns),
        }
        with nullcontext() if group is None else sequence_split(model, group):
            model(latents, torch.tensor([500.0]), **given, memory=memory)
            with LiveBytes([*model.parameters(), latents, *given.values()]) as live:
                model(latents, torch.tensor([500.0]), **given, memory=memory)
    return live.peak


def stated(preset: dict[str, Any], **options: Any) -> int:
    frames, rows, columns = FULL[2:]
    return activation_bytes(full_size(preset), tokens=frames * rows * columns // 4, **options)


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize(("preset", "passes"), [(HUMO_1_7B, 1), (HUMO_1_7B, 3), (HUMO_17B, 1)])
def test_activations_are_as_large_as_stated(preset: dict[str, Any], passes: int, int8: bool) -> None:
    peak = traced_pass(preset, passes=passes, int8=int8, group=None)
    assert peak == pytest.approx(passes * stated(preset), rel=0.05)


@pytest.mark.parametrize("preset", [HUMO_1_7B, HUMO_17B])
@pytest.mark.parametrize("processes", [2, 4, 8])
def test_several_processes_hold_no_more_than_stated(preset: dict[str, Any], processes: int) -> None:
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=processes)
    try:
        peak = traced_pass(preset, passes=1, int8=False, group=dist.group.WORLD)
    finally:
        dist.destroy_process_group()
    bound = stated(preset, processes=processes)
    assert 0.75 * bound < peak <= bound < stated(preset)


def test_the_stated_sums_fit_their_cards() -> None:
    small, large = full_size(HUMO_1_7B), full_size(HUMO_17B)
    assert weight_bytes([small]) / 1e9 == pytest.approx(3.52, abs=0.01)
    whole = sampling_bytes(small, latents_shape=FULL, passes=1, streamed=False)
    blocks = sampling_bytes(large, latents_shape=FULL, passes=1, streamed=True)
    assert whole / 1e9 == pytest.approx(6.3, abs=0.1)
    assert blocks / 1e9 == pytest.approx(10.0, abs=0.1)
    assert sampling_bytes(large, latents_shape=FULL, passes=1, streamed=False) > 24e9
    store_in_8_bits(large)
    assert sampling_bytes(large, latents_shape=FULL, passes=1, streamed=False) / 1e9 == pytest.approx(25.8, abs=0.1)


def test_the_text_encoder_fits_streamed_or_in_8_bits() -> None:
    sizes = {"vocab_size": 256384, "d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64}
    with torch.device("meta"):
        encoder = UMT5EncoderModel(UMT5Config(**sizes)).to(torch.bfloat16)
    layers = encoder.encoder.block
    assert held_bytes(encoder, layers, streamed=False) / 1e9 == pytest.approx(11.4, abs=0.05)
    assert held_bytes(encoder, layers, streamed=True) / 1e9 == pytest.approx(2.5, abs=0.05)
    store_in_8_bits(encoder, torch.nn.Linear)
    assert held_bytes(encoder, layers, streamed=False) / 1e9 == pytest.approx(6.7, abs=0.05)


def test_what_cannot_fit_is_refused_before_any_work(mini_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = HuMoPipeline.from_directory(mini_directory, device=CPU, dtype=torch.float32)
    given: dict[str, Any] = {"num_frames": 5, "num_inference_steps": 1}
    shape = (1, 16, 3, 8, 8)
    needed = sampling_bytes(pipeline.parts.transformer, latents_shape=shape, passes=1, streamed=False)
    monkeypatch.setattr(humo.memory, "device_bytes", lambda device: needed - 1)
    with pytest.raises(UserError, match=r"takes 0\.0 GB and the device has 0\.0 GB; --offload blocks takes 0\.0 GB"):
        pipeline("A man", **given)
    streaming = HuMoPipeline.from_directory(mini_directory, device=CPU, dtype=torch.float32, offload="blocks")
    assert streaming("A man", **given).shape == (5, 64, 64, 3)
    monkeypatch.setattr(humo.memory, "device_bytes", lambda device: 1000)
    for refused in (pipeline, streaming):
        with pytest.raises(UserError, match="a smaller size or fewer frames"):
            refused("A man", **given)


def test_keys_and_values_are_as_large_as_calculated(mini_directory: Path) -> None:
    pipeline = HuMoPipeline.from_directory(mini_directory, device=CPU, dtype=torch.float32)
    model, memory = pipeline.parts.transformer, Memory()
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


def test_blocks_compile_as_one_graph_each(mini_directory: Path) -> None:
    pipeline = HuMoPipeline.from_directory(mini_directory, device=CPU, dtype=torch.float32)
    plain = pipeline("A man", num_frames=5, num_inference_steps=3)
    pipeline.parts.transformer.compile_repeated_blocks(backend="eager", fullgraph=True)
    assert numpy.array_equal(plain, pipeline("A man", num_frames=5, num_inference_steps=3))
