"""Fixtures: the demo film's people talking, as clips to be measured, and small sets of cases with videos."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.signal import resample_poly

from humo.video import write_video
from pipeline.demo.film import render_shot
from pipeline.demo.portraits import load_portraits
from pipeline.demo.script import write_script
from pipeline.demo.speech import SAMPLE_RATE
from tests.pipeline.review.browser import browser as browser
from tests.training.sample_shards import Sample, write_shards
from training.evaluation.clip import Faces, GeneratedClip
from training.evaluation.config import EvaluationConfig
from training.evaluation.metrics.registry import build

Talk = Callable[[str, int], tuple[np.ndarray, np.ndarray]]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def talk() -> Talk:
    """(person, number) -> 77 frames of 256 x 256 and what is said, at 16 kHz."""
    people = load_portraits()
    shots = [shot for reel in write_script(1) for shot in reel if shot.kind == "good" and not shot.flash]

    @cache
    def rendered(person: str, number: int) -> tuple[np.ndarray, np.ndarray]:
        shot = [shot for shot in shots if shot.person == person][number]
        made = render_shot(replace(shot, frames=77), people)
        waveform = resample_poly(made.waveform_s, 16_000, SAMPLE_RATE).astype(np.float32)
        return np.stack(made.frames), waveform

    return rendered


@pytest.fixture(scope="session")
def faces() -> Faces:
    return build(EvaluationConfig())[1]


@pytest.fixture(scope="session")
def filmed(talk: Talk, faces: Faces) -> Callable[[str, int], GeneratedClip]:
    """(person, number) -> the clip; its faces are followed once."""
    return cache(lambda person, number: GeneratedClip(talk(person, number)[0], 25.0, faces))


def moving_video(path: Path, *, seed: int, frames: int = 9) -> None:
    """A small video in which a patch moves."""
    random = np.random.default_rng(seed)
    ground = random.integers(40, 200, (32, 32, 3), np.uint8).repeat(2, 0).repeat(2, 1)
    pictures = np.stack([np.roll(ground, 2 * index, axis=1) for index in range(frames)])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, pictures, None)


@pytest.fixture
def videos(tmp_path: Path) -> Callable[[str, int], Path]:
    """(folder, seed) -> a folder with videos of the cases a to f."""

    def made(folder: str, seed: int) -> Path:
        for number, case in enumerate("abcdef"):
            moving_video(tmp_path / folder / f"{case}.mp4", seed=100 * seed + number)
        return tmp_path / folder

    return made


@pytest.fixture
def case_file(tmp_path: Path) -> Path:
    """Six cases in the official form, each with a reference of its own."""
    cases = {}
    for number, case in enumerate("abcdef"):
        picture = np.random.default_rng(number).integers(0, 255, (48, 40, 3), np.uint8)
        Image.fromarray(picture).save(tmp_path / f"{case}.png")
        cases[case] = {"prompt": f"a person speaks, take {number}", "img_paths": [f"{case}.png"], "frames": 5}
    path = tmp_path / "test_case.json"
    path.write_text(json.dumps(cases))
    return path


def sample(key: str, person: str, split: str, source: str) -> Sample:
    """A packed sample that says where it and its reference are from."""

    def traced(members: dict[str, bytes]) -> dict[str, bytes]:
        record = json.loads(members["json"])
        record |= {
            "source": {"source_id": source},
            "references": [{"clip": f"{source}_0_1"}],
            "licence": "public-domain",
        }
        return {**members, "json": json.dumps(record).encode()}

    return Sample(key=key, person=person, split=split, edit=traced)


TRAIN = [("t0", "ann", "train", "film1"), ("t1", "bob", "train", "film1"), ("t2", "ann", "train", "film1")]


@pytest.fixture(scope="session")
def clean_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest whose validation split shows somebody else in another film."""
    samples = [sample(*one) for one in (*TRAIN, ("v0", "eve", "val", "film2"), ("v1", "eve", "val", "film2"))]
    return write_shards(tmp_path_factory.mktemp("clean"), samples)


@pytest.fixture(scope="session")
def leaking_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest that was split by the samples' keys: the same person and film on both sides."""
    samples = [sample(*one) for one in (*TRAIN, ("v0", "ann", "val", "film1"))]
    return write_shards(tmp_path_factory.mktemp("leaking"), samples)
