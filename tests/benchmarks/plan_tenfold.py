"""Does a plan made from a sample say what ten times as much takes? `python tests/benchmarks/plan_tenfold.py FOOTAGE`.

FOOTAGE: a folder of video files, such as that of the demo film. Each becomes ten: mirrored or not, of another
brightness and crop, recut by leaving out another beginning, and encoded again. The sample is the footage itself,
encoded again likewise. Both are curated with the same options; printed is, for processor seconds by stage, bytes and
rows, what the plan said, what it was, and the ratio.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import av
import numpy as np

from pipeline.capacity.config import read_plan
from pipeline.capacity.estimate import estimate
from pipeline.capacity.sample import item_stages, measure
from pipeline.commands import open_run

VARIANTS = 10
SUFFIXES = (".mp4", ".mkv", ".mov", ".webm")


def variant(source: Path, target: Path, number: int) -> None:
    """Encode a file again: another beginning, brightness, crop and side."""
    with av.open(str(source)) as read, av.open(str(target), "w") as written:
        video, sound = read.streams.video[0], next(iter(read.streams.audio), None)
        skip_s = 0.37 * number
        cut = 2 * number
        out = written.add_stream("libx264", rate=video.average_rate, options={"crf": "20", "preset": "veryfast"})
        out.width, out.height = (video.width - 2 * cut) // 2 * 2, (video.height - 2 * cut) // 2 * 2
        out.pix_fmt = "yuv420p"
        heard = written.add_stream("aac", rate=sound.rate, layout=sound.layout.name) if sound is not None else None
        began = float((video.start_time or 0) * video.time_base)
        for frame in read.decode(*(stream for stream in (video, sound) if stream is not None)):
            at = frame.time - began - skip_s
            if at < 0:
                continue
            if isinstance(frame, av.VideoFrame):
                picture = frame.to_ndarray(format="rgb24")[cut : cut + out.height, cut : cut + out.width]
                picture = picture[:, ::-1] if number % 2 else picture
                picture = np.clip(picture * (1 + 0.03 * (number - 5)), 0, 255).astype(np.uint8)
                shown = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
                shown.pts, shown.time_base = round(at / video.time_base), video.time_base
                written.mux(out.encode(shown))
            elif heard is not None:
                frame.pts = round(at / frame.time_base)
                written.mux(heard.encode(frame))
        written.mux(out.encode())
        if heard is not None:
            written.mux(heard.encode())


def curated(footage: Path, run: Path, more: list[str]) -> None:
    """`humo curate`, in a process of its own."""
    line = [sys.executable, "-c", "from schemas.command_line import main; main()"]
    done = subprocess.run([*line, "curate", str(footage), "--out", str(run), *more], check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"curate ended with {done.returncode}")


def main() -> None:
    """Print predictions beside what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("footage", type=Path)
    parser.add_argument("--folder", type=Path, help="where files and runs are kept for another time")
    parser.add_argument("--config", type=Path, help="options of the curation")
    options = parser.parse_args()
    root = options.folder or Path(tempfile.mkdtemp(prefix="humo-plan-"))
    files = sorted(path for path in options.footage.iterdir() if path.suffix.lower() in SUFFIXES)
    for name, numbers in (("once", [0]), ("tenfold", range(VARIANTS))):
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        for path in files:
            for number in numbers:
                target = folder / f"{path.stem}_{number}.mp4"
                if not target.exists():
                    variant(path, target, number)
        curated(folder, root / f"run_{name}", ["--config", str(options.config)] if options.config else [])
    samples = {name: measure(*open_run(str(root / f"run_{name}"))) for name in ("once", "tenfold")}
    found = estimate(samples["once"], read_plan(str(root / "run_once"), {}), samples["tenfold"].hours)
    was = samples["tenfold"]
    rows = {f"seconds: {name}": (found.seconds.get(name, 0.0), was.seconds[name]) for name in was.seconds}
    rows["seconds of item stages"] = (
        sum(found.seconds.get(name, 0.0) for name in item_stages()),
        sum(was.seconds[name] for name in item_stages()),
    )
    rows["seconds of all stages"] = (sum(found.seconds.values()), sum(was.seconds.values()))
    rows["GB of all files"] = (sum(found.storage_gb.values()), sum(was.stored.values()) / 1e9)
    rows["clips"] = (found.counts["clips"], was.rows["clips"])
    rows["face tracks"] = (found.counts["face tracks (vectors)"], was.rows["tracks"])
    rows["hours kept"] = (found.kept_hours, was.kept_hours)
    for name, (said, measured) in rows.items():
        print(f"{name:<26} said {said:10.3f}  was {measured:10.3f}  ratio {said / measured if measured else 0:5.2f}")
    print(json.dumps({"hours": [samples["once"].hours, was.hours]}))


if __name__ == "__main__":
    main()
