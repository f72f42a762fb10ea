"""Ray builds the environment of a stage from PyPI, and the stage runs in it.

A long form: it downloads packages, and Ray copies the running Python's first.
`HUMO_LONG=1 pytest tests/pipeline/test_built_environment.py`.
"""

import logging
import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import ray

from pipeline.config import CurateConfig
from pipeline.engine import ray_run
from pipeline.engine.curate import curate
from pipeline.engine.ray_run import THREADS
from pipeline.environments import runtime_env
from pipeline.store.files import Files
from pipeline.store.relations import Relations
from pipeline.store.snapshots import latest
from tests.pipeline import tiny_models
from tests.pipeline.direct_run import no_ray
from tests.pipeline.made_videos import steady, texture, write_video

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("HUMO_LONG" not in os.environ, reason="builds an environment from PyPI: set HUMO_LONG=1"),
    pytest.mark.skipif(find_spec("insightface") is not None, reason="this environment has insightface itself"),
]


@pytest.fixture
def own_ray() -> Iterator[None]:
    started = ray.init(address="local", include_dashboard=False, num_cpus=6, logging_level=logging.ERROR)
    yield
    ray.shutdown()
    shutil.rmtree(Path(started.address_info["session_dir"]) / "runtime_resources")


@pytest.mark.usefixtures("own_ray")
def test_faces_are_found_in_an_environment_that_ray_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The graphs are written there as well: this environment has no onnx.
    make = ray.remote(tiny_models.insightface_pack).options(runtime_env={**runtime_env("faces"), **THREADS})
    pack = ray.get(make.remote(tmp_path / "faces"), timeout=900)
    write_video(tmp_path / "one.mp4", [texture(3)] * 45, times_ms=steady(45))
    config = CurateConfig.model_validate(
        {
            "clips": {"frames": 21, "min_frames": 17},
            "faces": {"detector": "insightface", "descriptor": "arcface"},
            "weights": {"own": {"insightface-buffalo-l": pack}},
            "engine": {"build_environments": True, "workers": 1},
        }
    )
    monkeypatch.setattr(ray_run, "running_ray", no_ray)
    files = Files(str(tmp_path / "run"))
    curate(files, [str(tmp_path / "one.mp4")], config, address=None, limit=None, progress=lambda *_: None)
    rows = Relations(files, latest(files)).arrow("faces").to_pylist()
    assert rows
    assert {row["status"] for row in rows} == {"ok"}
    assert all(row["backend"].startswith("scrfd") and "arcface" in row["backend"] for row in rows)
    assert all(row["subjects"] == 1 for row in rows)
