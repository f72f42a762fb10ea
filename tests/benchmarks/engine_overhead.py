"""What Ray costs, and what a second worker brings: `python tests/benchmarks/engine_overhead.py --clips 100`.

The same made footage is curated (item passes alone: cut and measure) by the stages called one after another in this
process, and through Ray with one worker and with two (a worker is an actor of each pass, so that one worker's two
actors may work side by side: on one core, `taskset -c 0`, the ratio to the direct calls is Ray's overhead). Printed are
clips a second. Times of a busy machine say little: compare within one run.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Iterator
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


def paced(name: str, units: Iterator[Unit]) -> float:
    """Clips a second from the first unit on: actors have started by then, and have loaded their models."""
    began = time.perf_counter()
    first = next(units)
    start = time.perf_counter()
    clips = sum(_clips(unit) for unit in units)
    end = time.perf_counter()
    pace = clips / (end - start)
    print(
        f"{name:<15} {end - began:6.1f} s for {clips + _clips(first)} clips; after the first: {pace:.2f} clips/s",
        flush=True,
    )
    return pace


def _clips(unit: Unit) -> int:
    return min(CLIPS_PER_UNIT, unit.clips - unit.start)


def main() -> None:
    """Print times, overhead and efficiency."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=100)
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="humo-overhead-"))
    footage(root / "footage", options.clips)
    config = CurateConfig()
    run = root / "run"
    direct = paced("direct", direct_passes(str(run), config, prepared(run, root / "footage", config)))
    found: dict[int, float] = {}
    for workers in (1, 2):
        config = CurateConfig.model_validate({"engine": {"workers": workers}})
        work = prepared(run, root / "footage", config)
        with ray_run.running_ray(config, None):
            found[workers] = paced(f"Ray, {workers} workers", ray_run.run_passes(str(run), config, work))
    print(f"two actors of one worker side by side reach {found[1] / direct:.2f} of the direct pace")
    print(f"two workers reach {found[2] / found[1] / 2:.0%} of twice one worker's pace")
    shutil.rmtree(root)


if __name__ == "__main__":
    main()
