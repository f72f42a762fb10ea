"""Clips of whom no reference image was found: their reference is the model's "no image"."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from humo.mini.model import mini_model
from tests.training.sample_shards import Sample, write_shards
from training.batch import Batch
from training.config import TrainingConfig
from training.dataset import open_shard_set
from training.encode import encode
from training.encoding import BatchEncoder
from training.features import read_nulls
from training.held_out import HeldOut
from training.loader import Batches
from training.plan import Plan
from training.trainer import train

Config = Callable[..., TrainingConfig]


@pytest.fixture
def half_bare(tmp_path: Path) -> Path:
    people = ("ann", "bob", "eve")
    samples = [Sample(key=f"k{n}", person=people[n % 3], frames=5, size=(32, 32), references=n % 2) for n in range(6)]
    return write_shards(
        tmp_path / "data", [*samples, Sample(key="v", split="val", frames=5, size=(32, 32), references=0)]
    )


def test_they_have_no_image_and_stand_beside_those_that_have(
    half_bare: Path, tmp_path: Path, small_config: Config
) -> None:
    config = small_config("objective.dropout={text: 0, image: 0, audio: 0}", "data.batch=6", "data.hold_out=0")
    model = mini_model(0)
    encoded = encode(config, data=str(half_bare), out=tmp_path / "encoded")
    assert (encoded.samples, encoded.damaged) == (7, 0)
    for data in (half_bare, encoded.manifest):
        opened = open_shard_set(str(data))
        plan = Plan(opened.rows, data=config.data, stages=config.stages, seed=0)
        batches = Batches(opened, plan, config)
        nulls = read_nulls(opened) if opened.manifest.features else None
        encoder = BatchEncoder(model, torch.device("cpu"), nulls)
        held = HeldOut(opened, plan, config)
        [slots] = held.slots(opened.rows, windows=1, beyond=0).values()
        for batch in (batches[8], held.load(slots)):
            assert isinstance(batch, Batch)
            bare = [key == "v" or int(key[1:]) % 2 == 0 for key in batch.keys]
            assert set(bare) == {True, False}
            assert batch.has_image_b.tolist() == [not one for one in bare]
            assert batch.damaged == ()
            shown = encoder.encode(batch).conditions.reference_bcrhw
            assert shown.flatten(1).any(dim=1).tolist() == [not one for one in bare]


def test_a_run_on_them_ends(half_bare: Path, tmp_path: Path, small_config: Config) -> None:
    few = [f"stages.{name}.steps=1" for name in ("start", "subject", "sync")]
    shown = [f"validation.{name}" for name in ("every=3", "videos=1", "video_steps=1", "samples=4", "donors=1")]
    train(small_config(*few, *shown, "data.hold_out=0.4"), data=str(half_bare), out=tmp_path / "out", resume=False)
    assert (tmp_path / "out" / "validation" / "step-00000003" / "v.mp4").is_file()
    swaps = json.loads((tmp_path / "out" / "swap_test.json").read_text())
    # Two are held out, two windows each, and one of them has no reference to swap.
    assert (swaps["audio"]["pairs"], swaps["reference"]["pairs"]) == (4, 2)
