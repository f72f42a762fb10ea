"""Does a plan made from a sample say what ten times as much takes? `python -m tests.benchmarks.plan_tenfold`.

The sample is the demo's film of four files. Ten variants of each file are rendered: the same script, but other looks,
other words and other movements, another cut and another encoding. (Films that are only cropped, brightened, mirrored or
begun elsewhere are copies to the duplicates' stage, and rightly; these are none.) Both are curated with the demo's
options on this machine. Printed is, for processor seconds by stage, time, bytes and rows, what the plan said, what it
was, and the ratio; the totals are to lie within 25 %. On two quiet cores it takes about 12 minutes.
"""

import argparse
import os
import subprocess
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

from pipeline.capacity.config import read_plan
from pipeline.capacity.estimate import estimate
from pipeline.capacity.sample import item_stages, measure
from pipeline.commands import open_run
from pipeline.demo.film import render_film
from pipeline.demo.line import DEMO_CONFIG
from pipeline.demo.truth import TRUTH_FILE
from schemas.command_line import COMMAND

VARIANTS = 10
BOUND = 0.25


def rendered(root: Path, seed: int) -> Path:
    """The folder of a film. The seed of the demo's is 0."""
    folder = root / f"film{seed}"
    if not (folder / TRUTH_FILE).exists():
        render_film(folder, seed=seed)
    return folder


def curated(films: list[Path], run: Path) -> float:
    """`humo curate`, in a process of its own; the seconds that it took."""
    command = [*COMMAND, "curate", *map(str, films)]
    began = time.monotonic()
    done = subprocess.run([*command, "--out", str(run), "--config", str(DEMO_CONFIG)], check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(f"curate ended with {done.returncode}")
    return time.monotonic() - began


def main() -> None:
    """Print predictions beside what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where films are kept for another time; runs are made anew")
    given = parser.parse_args()
    root = given.folder or Path(tempfile.mkdtemp(prefix="humo-plan-"))
    cores = os.cpu_count() or 1
    with get_context("spawn").Pool(cores) as pool:
        films = pool.starmap(rendered, [(root, seed) for seed in range(VARIANTS + 1)])
    runs = Path(tempfile.mkdtemp(prefix="runs-", dir=root))
    curated(films[:1], runs / "once")
    passed = curated(films[1:], runs / "tenfold")
    once, was = (measure(*open_run(str(runs / name))) for name in ("once", "tenfold"))
    plan = read_plan(str(runs / "once"), {"machines": {"cores": cores}})
    said = estimate(once, plan, was.hours)
    stages = {f"seconds: {name}": (said.seconds.get(name, 0.0), was.seconds[name]) for name in was.seconds}
    # Of a quiet machine alone: what starts takes time, and what else runs.
    stages["hours by the clock"] = (said.hours_taken, passed / 3600)
    totals = {
        "seconds of item stages": tuple(
            sum(one.get(name, 0.0) for name in item_stages()) for one in (said.seconds, was.seconds)
        ),
        "seconds of all stages": (sum(said.seconds.values()), sum(was.seconds.values())),
        "GB of all files": (sum(said.storage_gb.values()), sum(was.stored.values()) / 1e9),
        "clips": (said.counts["clips"], was.rows["clips"]),
        "face tracks": (said.counts["face tracks (vectors)"], was.rows["tracks"]),
        "samples": (said.counts["samples"], was.kept),
        "hours kept": (said.kept_hours, was.kept_hours),
    }
    print(f"from {once.hours:.3f} hours of footage to {was.hours:.3f}, {was.hours / once.hours:.1f} times as much")
    for name, (told, measured) in {**stages, **totals}.items():
        if told or measured:
            ratio = f"{told / measured:5.2f}" if measured else "    -"
            print(f"{name:<26} said {told:10.3f}  was {measured:10.3f}  ratio {ratio}")
    off = {name: told / measured - 1 for name, (told, measured) in totals.items()}
    worst = max(off, key=lambda name: abs(off[name]))
    within = "all totals are within" if abs(off[worst]) <= BOUND else "NOT all totals are within"
    print(f"{within} {BOUND:.0%}; furthest off: {worst}, {off[worst]:+.0%}")


if __name__ == "__main__":
    main()
