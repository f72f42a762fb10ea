"""A full disk: foreseen where it can be, and survived where it comes all the same."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.store.files import Files
from pipeline.store.relations import Relations
from pipeline.store.snapshots import latest
from tests.pipeline.conftest import humo
from tests.pipeline.direct_run import humo_directly
from tests.pipeline.engine.test_film import rows_of
from tests.pipeline.made_videos import numbered, steady, texture, write_video

SETTINGS = ["--set", "clips.frames=21", "--set", "clips.min_frames=17"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB, which grows on demand."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], check=False)
    if mounted.returncode or os.geteuid() != 0:
        pytest.skip("a small disk needs the right to mount one (root)")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for number in range(3):
        scenes = [numbered(texture(10 * number + scene), scene) for scene in range(3) for _ in range(21)]
        write_video(folder / f"made{number}.mp4", scenes, times_ms=steady(len(scenes)))
    return folder


def test_too_little_room_is_said_before_the_run(videos: Path, small_disk: Path) -> None:
    done = humo_directly("curate", videos, "--out", small_disk / "run", *SETTINGS, "--set", "engine.disk_share=1000")
    assert done.code == 2
    assert "make room" in done.text
    assert "Traceback" not in done.text


@pytest.mark.slow
def test_a_disk_that_fills_up_fails_no_item_and_the_run_goes_on_later(
    videos: Path, small_disk: Path, tmp_path: Path
) -> None:
    (small_disk / "ballast").write_bytes(bytes(2_700_000))
    settings = [*SETTINGS, "--set", "engine.disk_share=0", "--set", "engine.workers=1"]
    command = ["curate", videos, "--out", small_disk / "run", *settings]
    full = humo(*command)
    assert full.code == 1, full.text
    assert "room" in full.text, full.text
    assert "Traceback" not in full.text
    files = Files(str(small_disk / "run"))
    if latest(files).number:
        relations = Relations(files, latest(files))
        for table in ("sources", "clips", "quality", "faces"):
            assert "failed" not in relations.arrow(table)["status"].to_pylist()
    subprocess.run(["mount", "-o", "remount,size=100m", str(small_disk)], check=True)
    done = humo_directly(*command)
    assert done.code == 0, done.text
    humo_directly("curate", videos, "--out", tmp_path / "calm", *SETTINGS)
    assert rows_of(small_disk / "run") == rows_of(tmp_path / "calm")
