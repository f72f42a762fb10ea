"""Fixtures of the training tests: a small set of shards, and a configuration that trains on it in seconds."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from humo.checkpoints import save_model_dir
from humo.mini.model import mini_model
from humo.presets import MINI
from humo.transformer import HuMoTransformer
from tests.training.sample_shards import Sample, write_shards
from training.config import TrainingConfig, load_config

SMALL = [
    "threads=1",
    "data.sizes=[[32, 32]]",
    "data.lengths=[5]",
    "data.batch=4",
    "data.workers=0",
    "data.hold_out=0.3",
    "stages.start={steps: 3, trains: [self_attention, reference_input, other], learning_rate: 0.002}",
    "stages.subject={steps: 2, trains: [self_attention, reference_input], learning_rate: 0.002}",
    "stages.sync.steps=4",
    "stages.sync.warmup=1",
    "stages.sync.sync_share={start: 0.5, end: 0.75}",
    "checkpoints.every=2",
    "validation={windows: 2, timesteps: 2, bootstrap: 100}",
]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    # Torch's checkpoints log several lines a tensor, which would bury a failure.
    logging.getLogger("c10d-NullHandler-dcp_logger").setLevel(logging.WARNING)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def small_config() -> Callable[..., TrainingConfig]:
    """The mini configuration at the smallest size; further settings as `a.b=c`."""
    return lambda *settings: load_config("mini", [*SMALL, *settings])


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory with a transformer of two narrow blocks."""
    sizes = {**MINI, "width": 32, "ffn": 48, "layers": 2, "audio_width": 32, "audio_hidden": 16, "audio_tokens": 2}
    torch.manual_seed(5)
    directory = tmp_path_factory.mktemp("tiny") / "model"
    save_model_dir(directory, replace(mini_model(0), transformer=HuMoTransformer(**sizes)))
    return directory


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifest of eight sync and four subject samples of two people, and one of the validation split."""
    sync = [Sample(key=f"sync_{n}", person=("ann", "bob")[n % 2], frames=(21, 29)[n % 2]) for n in range(8)]
    subject = [Sample(key=f"subject_{n}", person=("ann", "bob")[n % 2], tier="subject") for n in range(4)]
    return write_shards(
        tmp_path_factory.mktemp("shards"), [*sync, *subject, Sample(key="val_0", split="val")], per_shard=3
    )
