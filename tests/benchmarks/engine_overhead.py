"""What Ray costs, and what a second worker brings: `python -m tests.benchmarks.engine_overhead --clips 100`.

The same made footage is curated (item passes alone: cut and measure) three times: by the stages called one after
another in this process, on one core; through Ray with one worker, on that one core with all of Ray's own processes; and
through Ray with two workers on two cores. Overhead is the second's time over the first's (bound: 15 % on 100 clips),
from the start of Ray to the last clip, and without the start: what Ray takes for a single tiny clip. Efficiency is the
second's time over twice the third's, both without the start. Times of a busy machine say little. On two quiet cores it
takes about 12 minutes.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.config import CurateConfig
from pipeline.engine import ray_run
from pipeline.engine.fingerprint import fingerprints
from pipeline.engine.jobs import Job, jobs
from pipeline.engine.locations import crawl_into
from pipeline.engine.unit import CLIPS_PER_UNIT, Unit
from pipeline.store.files import Files
from pipeline.store.relations import Relations
from pipeline.store.snapshots import latest
from tests.pipeline.direct_run import direct_passes
from tests.pipeline.made_videos import clicks, numbered, steady, texture, write_video

SHOTS, FRAMES = 5, 97


def footage(folder: Path, *, clips: int, width: int, height: int) -> Path:
    """Videos of up to five shots each, a clip a shot, with sound."""
    folder.mkdir()
    for first in range(0, clips, SHOTS):
        shots = min(SHOTS, clips - first)
        scenes = [texture(20 * first + scene, width=width, height=height) for scene in range(shots)]
        pictures = (numbered(scene, at) for scene in scenes for at in range(FRAMES))
        seconds = shots * FRAMES / 25
        sound = clicks(seconds, [0.5 * at for at in range(1, int(2 * seconds))])
        write_video(folder / f"made{first}.mp4", pictures, times_ms=steady(shots * FRAMES), sound=sound)
    return folder


def prepared(run: Path, inputs: Path, config: CurateConfig) -> list[Job]:
    """A crawled run, and what there is to do in it."""
    shutil.rmtree(run, ignore_errors=True)
    files = Files(str(run))
    snapshot = crawl_into(files, latest(files), [str(inputs)], config.crawl, limit=None)
    return list(jobs(Relations(files, snapshot), fingerprints(config)))


@contextmanager
def on_cores(count: int) -> Iterator[None]:
    """This process, and those that it starts, have so many cores inside."""
    before = os.sched_getaffinity(0)
    if len(before) < count:
        raise SystemExit(f"this machine gives {len(before)} cores, and {count} are needed")
    os.sched_setaffinity(0, sorted(before)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def directly(run: Path, inputs: Path) -> float:
    """Seconds that the stages take when they are called one after another, on one core."""
    config = CurateConfig()
    work = prepared(run, inputs, config)
    began = time.perf_counter()
    with on_cores(1):
        clips = _clips(direct_passes(str(run), config, work))
    return _told("called directly, 1 core", time.perf_counter() - began, clips)


def by_ray(run: Path, inputs: Path, workers: int) -> float:
    """Seconds from the start of Ray to the last clip, by so many workers on as many cores."""
    config = CurateConfig.model_validate({"engine": {"workers": workers}})
    work = prepared(run, inputs, config)
    began = time.perf_counter()
    with on_cores(workers), ray_run.running_ray(config, None):
        clips = _clips(ray_run.run_passes(str(run), config, work))
        took = time.perf_counter() - began
    return _told(f"Ray, workers and cores: {workers}", took, clips)


def _clips(units: Iterator[Unit]) -> int:
    return sum(min(CLIPS_PER_UNIT, unit.clips - unit.start) for unit in units)


def _told(name: str, seconds: float, clips: int) -> float:
    print(f"{name:<27} {seconds:6.1f} s for {clips} clips", flush=True)
    return seconds


def main() -> None:
    """Print times, overhead and efficiency."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=100)
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="humo-overhead-"))
    many = footage(root / "many", clips=options.clips, width=640, height=384)
    tiny = footage(root / "tiny", clips=1, width=320, height=192)
    run = root / "run"
    # What is loaded once in this process is not to count.
    directly(run, tiny)
    direct = directly(run, many)
    started = {workers: by_ray(run, tiny, workers) for workers in (1, 2)}
    took = {workers: by_ray(run, many, workers) for workers in (1, 2)}
    alone = {workers: took[workers] - started[workers] for workers in took}
    print(
        f"overhead of Ray over direct calls: {took[1] / direct - 1:+.1%} with its start, {alone[1] / direct - 1:+.1%} "
        "without (bound: 15 %)"
    )
    print(f"efficiency from one worker to two: {alone[1] / alone[2] / 2:.0%}")
    shutil.rmtree(root)


if __name__ == "__main__":
    main()
