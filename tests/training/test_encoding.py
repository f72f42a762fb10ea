from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from humo.checkpoints import Model
from humo.conditions.audio import audio_windows
from humo.conditions.reference import encode_references, zero_condition
from humo.mini.model import mini_model
from training.batch import PixelBatch
from training.config import TrainingConfig
from training.dataset import open_shard_set
from training.encoding import BatchEncoder
from training.loader import Batches
from training.plan import Plan

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model() -> Model:
    return mini_model(0)


@pytest.fixture
def batch(shards: Path, small_config: Callable[..., TrainingConfig]) -> PixelBatch:
    config = small_config("objective.dropout={text: 0, image: 0, audio: 0}")
    opened = open_shard_set(str(shards))
    rows = [row for row in opened.rows if row.split == "train"]
    batch = Batches(opened, Plan(rows, data=config.data, stages=config.stages, seed=0), config)[8]
    assert isinstance(batch, PixelBatch)
    assert sorted(batch.tasks) == ["subject", "sync", "sync", "sync"]
    return batch


def channels_form(model: Model) -> Model:
    return replace(model, transformer=SimpleNamespace(form="channels", config=model.transformer.config))  # type: ignore[arg-type]


def test_conditions_are_those_that_generation_makes(model: Model, batch: PixelBatch) -> None:
    encoded = BatchEncoder(model, CPU).encode(batch)
    for place in range(4):
        pixels = batch.video_bfhwc[place].permute(3, 0, 1, 2)[None].float() / 127.5 - 1
        assert torch.allclose(encoded.clean_bcthw[place], model.codec.encode(pixels)[0], atol=1e-5)
        pictures = [picture.numpy() for picture in batch.references_brhwc[place]]
        expected = encode_references(model.codec, pictures)
        assert torch.allclose(encoded.conditions.reference_bcrhw[place], expected, atol=1e-5)
        words = model.text_encoder.encode([batch.captions[place]])[0]
        assert torch.equal(encoded.conditions.text_bld[place, : len(words)], words)
        assert not encoded.conditions.text_bld[place, len(words) :].any()
        heard = encoded.conditions.audio_btwgc[place]  # type: ignore[index]
        if batch.tasks[place] == "sync":
            features = model.audio_encoder.encode(batch.waveform_bs[place].numpy(), 5)
            assert torch.equal(heard, audio_windows(features, 2))
            assert heard.any()
        else:
            assert not heard.any()


def test_dropped_conditions_become_the_official_nulls(model: Model, batch: PixelBatch) -> None:
    nothing = torch.zeros(4, dtype=torch.bool)
    dropped = replace(batch, has_text_b=nothing, has_image_b=nothing, has_audio_b=nothing)
    conditions = BatchEncoder(model, CPU).encode(dropped).conditions
    assert not conditions.reference_bcrhw.any()
    assert not conditions.audio_btwgc.any()  # type: ignore[union-attr]
    assert torch.equal(conditions.text_bld, model.text_encoder.encode([""]).expand(4, -1, -1))


def test_dropping_one_sample_leaves_the_others(model: Model, batch: PixelBatch) -> None:
    encoder = BatchEncoder(model, CPU)
    whole = encoder.encode(batch).conditions
    one = torch.tensor([True, False, True, True])
    partly = encoder.encode(replace(batch, has_image_b=one)).conditions
    assert torch.equal(partly.reference_bcrhw[one], whole.reference_bcrhw[one])
    assert not partly.reference_bcrhw[1].any()


def test_in_the_form_channels_no_image_is_the_grey_videos_tail(model: Model, batch: PixelBatch) -> None:
    encoder = BatchEncoder(channels_form(model), CPU)
    one = torch.tensor([True, False, True, True])
    conditions = encoder.encode(replace(batch, has_image_b=one)).conditions
    grey = zero_condition(model.codec, frames=9, height=32, width=32)
    assert conditions.zero_bcthw is not None
    assert torch.equal(conditions.zero_bcthw, grey.expand(4, -1, -1, -1, -1))
    assert torch.equal(conditions.reference_bcrhw[1, :, 0], grey[:, -1])
    assert not torch.equal(conditions.reference_bcrhw[0, :, 0], grey[:, -1])


def test_audio_can_be_switched_off(model: Model, batch: PixelBatch) -> None:
    encoded = BatchEncoder(model, CPU).encode(batch, with_audio=False)
    assert encoded.conditions.audio_btwgc is None


def test_texts_are_kept_on_the_cpu_within_their_limit(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    size = BatchEncoder(model, CPU).text("a").nbytes
    monkeypatch.setattr("training.encoding._KEPT_TEXTS", 2 * size)
    asked: list[str] = []

    def encode(texts: list[str]) -> torch.Tensor:
        asked.extend(texts)
        return model.text_encoder.encode(texts)

    encoder = BatchEncoder(replace(model, text_encoder=SimpleNamespace(encode=encode)), torch.device("meta"))  # type: ignore[arg-type]
    for caption in ("a", "b", "a", "c", "a", "b"):
        found = encoder.text(caption)
        assert found.equal(model.text_encoder.encode([caption])[0])
        assert found.device == CPU
    assert asked == ["a", "b", "c", "b"]
