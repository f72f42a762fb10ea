"""What is nobody's fault among the clips ends the run: a stage that always fails, and a store that fails."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem

from pipeline.config import CurateConfig
from pipeline.engine import curate as engine
from pipeline.engine.failure_limit import FailureLimit, TooManyFailures
from pipeline.stages.captions import MeasurementsStage
from pipeline.stages.clips import ClipsConfig
from pipeline.store.files import Files
from pipeline.store.outage import StorageFailed
from pipeline.store.relations import Relations
from pipeline.store.snapshots import latest
from tests.pipeline.direct_run import curate_directly
from tests.pipeline.made_videos import clicks, numbered, steady, texture, write_video

CONFIG = CurateConfig.model_validate(
    {"clips": ClipsConfig(frames=21, min_frames=17), "engine": {"failure_limit_from": 4}}
)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three videos of two clips each."""
    folder = tmp_path_factory.mktemp("videos")
    paths = []
    for number in range(3):
        pictures = [numbered(texture(10 * number + scene), scene) for scene in range(2) for _ in range(21)]
        sound = clicks(len(pictures) / 25, [0.5])
        paths.append(write_video(folder / f"{number}.mp4", pictures, times_ms=steady(len(pictures)), sound=sound))
    return paths


@pytest.fixture(autouse=True)
def no_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "run_sets", lambda _files, snapshot, _config, **_: snapshot)


def states(files: Files, table: str) -> list[str]:
    return [str(status) for status in Relations(files, latest(files)).arrow(table)["status"].to_pylist()]


def test_a_stage_that_always_fails_stops_the_run(
    videos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = Files(str(tmp_path / "run"))
    measured: list[str] = []

    def failing(_self: Any, clip: Any, _inputs: Any) -> Any:
        measured.append(clip.id)
        raise RuntimeError("no such model")

    with monkeypatch.context() as patch:
        patch.setattr(MeasurementsStage, "measure", failing)
        with pytest.raises(TooManyFailures, match=r"4 of 4 clips failed, .* in the stage captions.*--stage captions"):
            curate_directly(files.root, videos, CONFIG)
    assert len(measured) == 4, "the third video is not begun"
    assert states(files, "captions") == ["failed"] * 2
    curate_directly(files.root, [], CONFIG)
    assert sorted(states(files, "captions")) == ["failed"] * 2 + ["ok"] * 4, "what was not committed is done again"


def test_the_limit_is_applied_to_each_stage_and_needs_enough_clips() -> None:
    limit = FailureLimit(share=0.5, seen_first=10)
    limit.count_clips({"done.speech": 9, "failures.speech.RuntimeError": 9, "done.quality": 9})
    with pytest.raises(
        TooManyFailures, match="10 of 18 clips failed, 9 of them with: RuntimeError, in the stage speech"
    ):
        limit.count_clips({"done.speech": 9, "failures.speech.MemoryError": 1, "done.quality": 9})
    tolerant = FailureLimit(share=0.5, seen_first=10)
    for _ in range(5):
        tolerant.count_clips({"done.speech": 32, "failures.speech.RuntimeError": 16})


def test_a_store_that_fails_is_no_clip_s_fault(
    videos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = Files(str(tmp_path / "run"))
    cat: Callable[..., bytes] = LocalFileSystem.cat_file

    def failing(self: Any, path: str, *arguments: Any, **options: Any) -> bytes:
        if "/media/audio/" in path:
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return cat(self, path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(LocalFileSystem, "cat_file", failing)
        with pytest.raises(StorageFailed, match="Input/output error.*What is committed is kept"):
            curate_directly(files.root, videos[:1], CONFIG)
    curate_directly(files.root, videos[:1], CONFIG)
    for table in ("speech", "sync", "clips"):
        assert "failed" not in states(files, table)
