"""What Ray costs, and what a second worker brings: `python -m tests.benchmarks.engine_overhead --clips 100`.

The same made footage is curated (item passes alone: cut and measure) three times: by the stages called one after
another in this process, on one core; through Ray with one worker, on that one core with all of Ray's own processes; and
through Ray with two workers on two cores. Overhead is the time of the second over that of the first, from the start of
Ray to the last clip (bound: 15 % on 100 clips), and, beside it, once actors are up; efficiency is the pace of the third
over twice that of the second. Times of a busy machine say little. On two quiet cores it takes about 12 minutes.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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


def footage(folder: Path, clips: int) -> None:
    """Videos of five shots each, a clip a shot, with sound."""
    folder.mkdir()
    for number in range(-(-clips // SHOTS)):
        scenes = [texture(100 * number + scene, width=640, height=384) for scene in range(SHOTS)]
        pictures = (numbered(scene, at) for scene in scenes for at in range(FRAMES))
        seconds = SHOTS * FRAMES / 25
        sound = clicks(seconds, [0.5 * at for at in range(1, int(2 * seconds))])
        write_video(folder / f"made{number}.mp4", pictures, times_ms=steady(SHOTS * FRAMES), sound=sound)


def prepared(run: Path, inputs: Path, config: CurateConfig) -> list[Job]:
    """A crawled run, and what there is to do in it."""
    shutil.rmtree(run, ignore_errors=True)
    files = Files(str(run))
    snapshot = crawl_into(files, latest(files), [str(inputs)], config.crawl, limit=None)
    return list(jobs(Relations(files, snapshot), fingerprints(config)))


@dataclass(frozen=True)
class Times:
    """Of one way of doing it, in seconds."""

    whole: float
    """From the start of Ray, where there is one."""
    settled: float
    """From the first unit on: actors have started by then, and have loaded their models."""
    clips: int
    """Done after the first unit."""

    @property
    def pace(self) -> float:
        """Clips a second."""
        return self.clips / self.settled


def timed(name: str, units: Iterator[Unit], began: float) -> Times:
    """Do it all. `began`: when the clock was started."""
    first = next(units)
    start = time.perf_counter()
    clips = sum(_clips(unit) for unit in units)
    end = time.perf_counter()
    found = Times(whole=end - began, settled=end - start, clips=clips)
    done = clips + _clips(first)
    print(f"{name:<27} {found.whole:6.1f} s for {done} clips; once it runs {found.pace:.2f} clips/s", flush=True)
    return found


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


def _clips(unit: Unit) -> int:
    return min(CLIPS_PER_UNIT, unit.clips - unit.start)


def main() -> None:
    """Print times, overhead and efficiency."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=100)
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="humo-overhead-"))
    footage(root / "footage", options.clips)
    run = root / "run"

    def by_ray(workers: int) -> Times:
        config = CurateConfig.model_validate({"engine": {"workers": workers}})
        work = prepared(run, root / "footage", config)
        began = time.perf_counter()
        with on_cores(workers), ray_run.running_ray(config, None):
            units = ray_run.run_passes(str(run), config, work)
            return timed(f"Ray, workers and cores: {workers}", units, began)

    config = CurateConfig()
    work = prepared(run, root / "footage", config)
    with on_cores(1):
        direct = timed("called directly, 1 core", direct_passes(str(run), config, work), time.perf_counter())
    one, two = by_ray(1), by_ray(2)
    over, settled = one.whole / direct.whole - 1, direct.pace / one.pace - 1
    print(f"overhead of Ray over direct calls: {over:+.1%} with its start, {settled:+.1%} once it runs (bound: 15 %)")
    print(f"efficiency from one worker to two: {two.pace / one.pace / 2:.0%}")
    shutil.rmtree(root)


if __name__ == "__main__":
    main()
