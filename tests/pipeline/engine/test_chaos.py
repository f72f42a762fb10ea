"""Kills in every phase, of the driver, of a worker, of the raylet: the run ends as one that nobody disturbed.

A run survives the death of a worker, and goes on to its end. So that every kill meets work, each command is given one
source more than the one before. The short form disturbs a few made videos; the long form, `HUMO_CHAOS=20`, the demo
film and so many files of the footage.
"""

import os
import random
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from schemas.command_line import COMMAND
from tests.pipeline.conftest import humo
from tests.pipeline.direct_run import humo_directly
from tests.pipeline.engine.test_film import rows_of, shards_of
from tests.pipeline.made_videos import numbered, steady, texture, write_video

KILLS = int(os.environ.get("HUMO_CHAOS", "3"))
VICTIMS = ("driver", "worker", "raylet")
PHASES = {
    "driver": ("deciding", "starting", "measuring"),
    "worker": ("measuring", "starting"),
    "raylet": ("starting", "measuring"),
}
"""When each is killed, in turn: Ray's processes are there no more when sets, decisions and shards are made."""
LONG = KILLS > 3
SETTINGS = [] if LONG else ["--set", "clips.frames=21", "--set", "clips.min_frames=17"]


def workers(count: int) -> list[str]:
    """How many there are must not show."""
    return ["--set", f"engine.workers={count}"]


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


def reached(phase: str, run: Path, before: set[Path], commits: set[Path], parts: int) -> bool:
    """Whether a command is where it is to be disturbed."""
    new = work_of(run) - before
    if phase == "measuring":
        return len(new) >= parts
    # Items are committed, and no part of them waits any more; sets, decisions and shards follow.
    return phase == "starting" or (not work_of(run) and len(commits_of(run) - commits) >= 2)


def disturbed(command: list[str], run: Path, victim: str, phase: str) -> bool:
    """Run the command, and kill the victim at a random moment of a phase, or as soon as there is one.

    Whether the command was still at work then.
    """
    before, commits, parts, hit = work_of(run), commits_of(run), random.randint(1, 10), False
    driver = subprocess.Popen([*COMMAND, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while driver.poll() is None and not reached(phase, run, before, commits, parts):
            time.sleep(0.02)
        with suppress(subprocess.TimeoutExpired):
            driver.wait(random.uniform(0, 8 if phase == "starting" else 0.5))
        while driver.poll() is None and not (found := processes(driver, victim)):
            time.sleep(0.02)
        with suppress(psutil.NoSuchProcess):
            if driver.poll() is None:
                found[0].send_signal(signal.SIGKILL)
                hit = True
        driver.wait(timeout=900)
    finally:
        leavings = psutil.Process(driver.pid).children(recursive=True) if driver.poll() is None else []
        for process in leavings:
            process.kill()
        driver.kill()
        driver.wait()
    return hit


def commits_of(run: Path) -> set[Path]:
    return set((run / "snapshots").glob("*.json"))


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
@pytest.mark.timeout(7200 if LONG else 1200)
def test_a_run_that_is_killed_again_and_again_ends_as_one_that_is_not(disturbed_footage: Path, tmp_path: Path) -> None:
    calm, run = tmp_path / "calm", tmp_path / "run"
    humo_directly("curate", disturbed_footage, "--out", calm, *SETTINGS)
    random.seed(0)
    sources = sorted(map(str, disturbed_footage.iterdir()))
    hits: list[tuple[str, str]] = []
    for number in range(KILLS):
        command = ["curate", *sources[: number + 1], "--out", str(run), *SETTINGS, *workers(1 + number % 2)]
        victim = VICTIMS[number % 3]
        phase = PHASES[victim][number // 3 % len(PHASES[victim])]
        if disturbed(command, run, victim, phase):
            hits.append((victim, phase))
    last = humo("curate", disturbed_footage, "--out", run, *SETTINGS, *workers(2))
    assert last.code in (0, 1), last.text
    assert len(hits) >= 2 * KILLS / 3, f"the kills met something: {hits}"
    assert rows_of(run) == rows_of(calm)
    assert shards_of(run) == shards_of(calm)
    assert media_of(run) == media_of(calm)
    assert not (run / "attempts").exists()
