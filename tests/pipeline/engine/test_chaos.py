"""Kills at random moments, of the driver, of a worker, of the raylet: the run ends as one that nobody disturbed.

A run survives the death of a worker, and goes on to its end. So that every kill meets work, each command is given one
source more than the one before. The short form disturbs a few made videos; the long form, `HUMO_CHAOS=20`, the demo
film and so many files of the footage.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.pipeline.conftest import humo
from tests.pipeline.engine.test_film import rows_of, shards_of
from tests.pipeline.made_videos import numbered, steady, texture, write_video

KILLS = int(os.environ.get("HUMO_CHAOS", "3"))
VICTIMS = ("driver", "worker", "raylet")
LONG = KILLS > 3
SETTINGS = [] if LONG else ["--set", "clips.frames=21", "--set", "clips.min_frames=17"]


def processes(driver: subprocess.Popen[bytes], victim: str) -> list[psutil.Process]:
    """The driver itself, or those of its descendants that are what is asked for."""
    try:
        parent = psutil.Process(driver.pid)
        if victim == "driver":
            return [parent]
        name = {"worker": "ray::MapWorker", "raylet": "raylet"}[victim]
        return [child for child in parent.children(recursive=True) if child.name().startswith(name)]
    except psutil.NoSuchProcess:
        return []


def work_of(run: Path) -> set[Path]:
    """What stages have written and no commit has taken yet."""
    return set((run / "pending").rglob("*.parquet"))


def disturbed(command: list[str], run: Path, victim: str, after_s: float) -> bool:
    """Run the command, and kill the victim so long after it first finished a piece of work. Whether there was one."""
    code = "from schemas.command_line import main; main()"
    before = work_of(run)
    driver = subprocess.Popen(
        [sys.executable, "-c", code, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while driver.poll() is None and work_of(run) <= before:
            time.sleep(0.02)
        with suppress(subprocess.TimeoutExpired):
            driver.wait(after_s)
        found = processes(driver, victim) if driver.poll() is None else []
        for process in found[:1]:
            process.send_signal(signal.SIGKILL)
        driver.wait(timeout=900)
    finally:
        leavings = psutil.Process(driver.pid).children(recursive=True) if driver.poll() is None else []
        for process in leavings:
            process.kill()
        driver.kill()
        driver.wait()
    return bool(found)


def media_of(run: Path) -> set[str]:
    return {str(path.relative_to(run)) for path in (run / "media").rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def disturbed_footage(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    folder = tmp_path_factory.mktemp("chaos")
    if LONG:
        film, footage = request.getfixturevalue("film"), request.getfixturevalue("footage")
        smallest = sorted((footage / "video").glob("*.mp4"), key=lambda path: path.stat().st_size)[:KILLS]
        for path in [*film.glob("*.mp4"), *smallest]:
            shutil.copy(path, folder)
        return folder
    for number in range(KILLS + 1):
        scenes = [numbered(texture(10 * number + scene), scene) for scene in range(3) for _ in range(21)]
        write_video(folder / f"made{number}.mp4", scenes, times_ms=steady(len(scenes)))
    return folder


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_as_one_that_is_not(disturbed_footage: Path, tmp_path: Path) -> None:
    calm, run = tmp_path / "calm", tmp_path / "run"
    humo("curate", disturbed_footage, "--out", calm, *SETTINGS)
    random.seed(0)
    sources, hits = sorted(map(str, disturbed_footage.iterdir())), 0
    for number in range(KILLS):
        command = ["curate", *sources[: number + 1], "--out", str(run), *SETTINGS]
        hits += disturbed(command, run, VICTIMS[number % 3], random.uniform(0, 1))
    last = humo("curate", disturbed_footage, "--out", run, *SETTINGS)
    assert last.code in (0, 1), last.text
    assert hits >= 2 * KILLS / 3, "the kills met something"
    assert rows_of(run) == rows_of(calm)
    assert shards_of(run) == shards_of(calm)
    assert media_of(run) == media_of(calm)
    assert not (run / "attempts").exists()
