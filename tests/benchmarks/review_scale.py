"""`humo review` on a synthetic run: `python tests/benchmarks/review_scale.py --clips 100000`.

Printed are how long the server takes until it answers, the seconds from asking for a page until its last byte (the
worst of three, after none at all: each page is first asked for cold), and the peak memory of the server's process. The
first screen and each filter have to stay under a second; the command fails where one does not.
"""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks.tables_scale import write_run_of
from tests.pipeline.review.served import served

LIMIT_S = 1.0
PAGES = {
    "first screen of the gallery": "/clips",
    "kept": "/clips?show=keep",
    "rejected by a rule": "/clips?show=reject&rule=subject%3A+quality.sharpness+%3E%3D+0.4",
    "a range of a measurement": "/clips?measure=quality.luma&low=0.3&high=0.31",
    "sorted by a measurement, largest first": "/clips?sort=quality.motion&order=down",
    "sorted and in a range": "/clips?sort=speech.snr_db&measure=faces.largest&low=0.2&high=0.8&show=reject",
    "words in captions": "/clips?words=number+99999",
    "without a verdict": "/clips?said=none&show=keep",
    "a source": "/clips?source={source}",
}


def main() -> None:
    """Print a line a page; exit 1 where one takes longer than it may."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="where the run is kept for another time; else it is removed")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="humo-review-scale-"))
    run = folder / str(options.clips)
    if not run.exists():
        write_run_of(run, options.clips)
    slow = 0
    begun = time.perf_counter()
    with served(run) as server:
        print(f"{options.clips:,} clips; the server answers after {time.perf_counter() - begun:.1f} s", flush=True)
        clip = server.ask("/clips").text.split('data-clip="')[1].split('"')[0]
        for name, path in PAGES.items():
            times: list[float] = []
            for _ in range(3):
                start = time.perf_counter()
                answer = server.ask(path.format(source=clip.split("_")[0]))
                times.append(time.perf_counter() - start)
                assert answer.status == 200, answer.text
            slow += max(times) >= LIMIT_S
            print(f"{name:<40} {times[0]:6.2f} s first, {max(times):6.2f} s at worst", flush=True)
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        print(f"peak memory of the server {peak / 1024:.0f} MiB", flush=True)
    if options.folder is None:
        shutil.rmtree(folder)
    print(f"{slow} pages took {LIMIT_S:.0f} s or longer")
    sys.exit(1 if slow else 0)


if __name__ == "__main__":
    main()
