"""Encoders are read, used and freed; streaming, 8 bits and tiling at work in the real encoders' classes."""

import gc
import weakref
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

import humo.residence
from humo.int8 import Int8Linear
from humo.pipeline import HuMoPipeline
from humo.residence import AllResident, OneAtATime
from schemas.errors import UserError

CPU = torch.device("cpu")
GIVEN: dict[str, Any] = {
    "images": [numpy.full((20, 30, 3), 90, numpy.uint8)],
    "speech_s": 0.1 * numpy.sin(numpy.arange(3200, dtype=numpy.float32) / 9),
    "num_frames": 5,
    "height": 32,
    "width": 32,
    "num_inference_steps": 2,
}


def open_pipeline(directory: Path, **options: Any) -> HuMoPipeline:
    return HuMoPipeline.from_directory(directory, device=CPU, dtype=torch.float32, **options)


@pytest.mark.parametrize("offload", ["model", "blocks"])
def test_no_encoder_is_in_memory_while_the_transformer_works(
    offload: Any, tiny_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: dict[str, list[weakref.ref[torch.nn.Module]]] = {}
    load = humo.residence.load_part

    def watched(directory: Path, part: str, *given: Any, **options: Any) -> Any:
        assert not alive(), f"{part} is loaded while {alive()} are in memory"
        encoder = load(directory, part, *given, **options)
        loaded.setdefault(part, []).append(weakref.ref(encoder.model))
        return encoder

    def alive() -> list[str]:
        return [part for part, models in loaded.items() if any(model() is not None for model in models)]

    monkeypatch.setattr("humo.residence.load_part", watched)
    pipeline = open_pipeline(tiny_directory, offload=offload)
    assert not loaded
    during: list[list[str]] = []
    pipeline.parts.transformer.register_forward_pre_hook(lambda *_: during.append(alive()))
    # Whatever waits for the collector of cycles counts as in memory.
    gc.disable()
    try:
        pipeline("a woman speaks", **GIVEN)
    finally:
        gc.enable()
    assert len(during) > 1
    assert not any(during)
    assert {part: len(models) for part, models in loaded.items()} == {"vae": 2, "audio_encoder": 1, "text_encoder": 1}


@pytest.mark.parametrize("offload", ["model", "blocks"])
def test_the_video_is_the_same(offload: Any, tiny_directory: Path) -> None:
    plain, offloaded = (open_pipeline(tiny_directory, offload=way)("a woman", **GIVEN) for way in ("none", offload))
    assert numpy.array_equal(plain, offloaded)


def test_streamed_text_layers_give_the_same_features(tiny_directory: Path) -> None:
    parts = OneAtATime(tiny_directory, device=CPU, dtype=torch.float32, stream_layers=True)
    with all_resident(tiny_directory).text_encoder() as encoder:
        expected = encoder.encode(["a woman speaks"])
    there: list[list[bool]] = []
    with parts.text_encoder() as streamed_encoder:
        layers = streamed_encoder.model.encoder.block  # type: ignore[attr-defined]
        weights = [layer.layer[0].SelfAttention.q.weight for layer in layers]
        homes = [weight.data_ptr() for weight in weights]
        for layer in layers:
            layer.layer[1].register_forward_pre_hook(
                lambda *_: there.append([w.data_ptr() != home for w, home in zip(weights, homes, strict=True)])
            )
        assert torch.equal(streamed_encoder.encode(["a woman speaks"]), expected)
    assert there == [[True, False], [False, True]]


def test_tiles_give_nearly_the_same_pixels(tiny_directory: Path) -> None:
    codec = all_resident(tiny_directory)
    video = torch.rand(1, 3, 5, 64, 96) * 2 - 1
    with codec.codec() as whole, OneAtATime(tiny_directory, device=CPU, dtype=torch.float32).codec() as tiled:
        vae: Any = tiled.model  # type: ignore[attr-defined]
        assert vae.use_tiling
        vae.enable_tiling(48, 48, 32, 32)
        latents = whole.encode(video)
        assert tiled.encode(video).shape == latents.shape
        expected, got = whole.decode(latents), tiled.decode(latents)
    assert got.shape == expected.shape
    assert not torch.equal(got, expected)
    assert (got - expected).abs().mean() < 0.1 * expected.abs().mean()


def test_only_what_is_asked_for_is_held_in_8_bits(tiny_directory: Path) -> None:
    for weights, text, transformer in (("full", 0, 0), ("int8-text", 14, 0), ("int8", 14, 63)):
        for parts in (open_pipeline(tiny_directory, offload=way, weights=weights).parts for way in ("none", "model")):
            with parts.text_encoder() as encoder:
                assert count_int8(encoder.model) == text  # type: ignore[attr-defined]
            assert count_int8(parts.transformer) == transformer


@pytest.mark.parametrize("offload", ["none", "model", "blocks"])
def test_8_bits_make_nearly_the_same_video(offload: Any, tiny_directory: Path) -> None:
    plain = open_pipeline(tiny_directory)("a woman", **GIVEN).astype(float)
    coarse = open_pipeline(tiny_directory, offload=offload, weights="int8")("a woman", **GIVEN).astype(float)
    assert 0 < numpy.abs(plain - coarse).mean() < 0.05 * plain.std()


def test_a_missing_encoder_is_told_before_any_work(tiny_directory: Path, tmp_path: Path) -> None:
    for name in ("transformer", "scheduler", "vae", "text_encoder", "model_index.json"):
        (tmp_path / name).symlink_to(tiny_directory / name)
    for offload in ("none", "model"):
        with pytest.raises(UserError, match="audio_encoder does not exist"):
            open_pipeline(tmp_path, offload=offload)


def all_resident(directory: Path) -> AllResident:
    parts = open_pipeline(directory).parts
    assert isinstance(parts, AllResident)
    return parts


def count_int8(module: torch.nn.Module) -> int:
    return sum(isinstance(child, Int8Linear) for child in module.modules())
