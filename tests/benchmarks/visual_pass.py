"""The whole visual pass beside one FFmpeg transcode: `python tests/benchmarks/visual_pass.py`.

The footage is found by HUMO_FOOTAGE. Both begin with the same files and end with the same clips, one file after the
other, on a core and one thread each, with the same x264 preset and quality. Ours also finds the shots and black
bars, cuts the sound, and measures quality, signatures, faces and mouths; FFmpeg (the binary of imageio-ffmpeg) decodes
each file once, crops, scales, resamples to 25 fps and encodes. Printed are processor seconds, which other work on the
machine does not change much, the ratio, and where our time goes. The first pass over a file is not counted: it tells
FFmpeg the clips, and loads libraries and models, 2 to 3 s, that a worker loads once.

Measured on all of the footage: 1.94, of it clips 1.02, about what FFmpeg does; shots 0.44, three quarters of it the
second decode of the source; faces 0.18, half of it Haar's searches of whole pictures; quality 0.16; decoding the clips
0.15. The two files of 192 x 108, where each picture costs what Python costs, take 4. A host that is busy with
other things makes it 1.8 to 2.0. Tried and left: without its loop filter H.264 decodes a fifth faster, but drifts by up
to 21 levels; OpenCV turns YUV into RGB slower than FFmpeg's scaler; rejecting windows without a line by what is lit in
either picture alone costs what it saves; numpy sums the parts of lines slower than OpenCV integrates.
"""

import argparse
import os
import resource
import subprocess
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean
from threading import Event

import cv2
import imageio_ffmpeg

from pipeline.config import CurateConfig
from pipeline.engine.clip_stages import frame_stages
from pipeline.engine.watch import watch_clip
from pipeline.engine.work import Work
from pipeline.stage import Clip, Row, Source, Unmeasurable
from pipeline.stages.clips import cut_clips
from pipeline.stages.shots import detect_shots

CONFIG = CurateConfig()
STAGES = frame_stages(CONFIG)
"""Loaded once, as a worker does."""


def our_pass(path: Path, spent: Counter[str]) -> list[Row]:
    """The rows of `clips` of a file; what each part took is added to `spent`, in processor seconds."""
    source = Source(id=path.stem, path=path)
    start = time.process_time()
    shots = detect_shots(source, CONFIG.shots).rows["shots"]
    spent["shots"] += time.process_time() - start
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "watched.mp4"
        start = time.process_time()
        for made in cut_clips(source, shots, CONFIG.clips, Path(scratch)):
            spent["clips"] += time.process_time() - start
            (row,) = made.rows["clips"]
            rows.append(row)
            file.write_bytes(made.media[0].data)
            work = Work()
            watch_clip(Clip(**{name: row[name] for name in Clip.__dataclass_fields__}), file, STAGES, work)
            for name, seconds in work.counts.items():
                if name.startswith("seconds."):
                    spent[name.removeprefix("seconds.")] += seconds
            start = time.process_time()
        spent["clips"] += time.process_time() - start
    return rows


def transcode(path: Path, rows: list[Row]) -> float:
    """Processor seconds of FFmpeg for the same clips of a file."""
    first = rows[0]
    crop = first["transform"]
    upright = f"{crop['x1'] - crop['x0']:.0f}:{crop['y1'] - crop['y0']:.0f}:{crop['x0']:.0f}:{crop['y0']:.0f}"
    shape = f"crop={upright},scale={first['width']}:{first['height']}:flags=bicubic,fps=25,format=yuv420p"
    parts = "".join(f"[s{number}]" for number in range(len(rows)))
    graph = [f"[0:v:0]{shape},split={len(rows)}{parts}"]
    graph += [
        f"[s{number}]trim=start={row['start_us'] / 1e6}:end={row['end_us'] / 1e6},setpts=PTS-STARTPTS[v{number}]"
        for number, row in enumerate(rows)
    ]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-threads", "1", "-filter_complex_threads", "1"]
    command += ["-i", str(path), "-filter_complex", ";".join(graph)]
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(len(rows)):
            command += ["-map", f"[v{number}]", "-c:v", "libx264", "-preset", CONFIG.clips.preset]
            command += ["-crf", str(CONFIG.clips.crf)]
            command += ["-threads", "1", "-x264-params", "lookahead-threads=1", f"{scratch}/{number}.mp4"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def transcodes(path: Path, rows: list[Row], core: int, ended: Event) -> list[float]:
    """Processor seconds of FFmpeg on one core, again and again until it is told to end."""
    os.sched_setaffinity(0, {core})
    took: list[float] = []
    while not ended.is_set():
        took.append(transcode(path, rows))
    return took


def both(path: Path, rounds: int) -> tuple[list[Row], Counter[str], float]:
    """The rows of a file's clips, our processor seconds by part, and FFmpeg's; the means of several rounds.

    Both run at once on a core each, FFmpeg again and again until ours ends, and change cores from round to round: what
    the machine and its host do meanwhile falls on either alike, which it does not where they take turns.
    """
    rows, ours, theirs = our_pass(path, Counter()), Counter[str](), 0.0
    if not rows:
        return rows, ours, theirs
    cores = sorted(os.sched_getaffinity(0))[:2]
    for number in range(rounds):
        ended = Event()
        with ThreadPoolExecutor(1) as pool:
            beside = pool.submit(transcodes, path, rows, cores[1 - number % 2], ended)
            os.sched_setaffinity(0, {cores[number % 2]})
            try:
                our_pass(path, ours)
            finally:
                ended.set()
            theirs += mean(beside.result())
    os.sched_setaffinity(0, cores)
    return rows, Counter({part: seconds / rounds for part, seconds in ours.items()}), theirs / rounds


def main() -> None:
    """Print a line a file, and the ratio of all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", nargs="*", default=None, help="names of files, all of them if not given")
    parser.add_argument("--rounds", type=int, default=2, help="passes over each file")
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    folder = Path(os.environ.get("HUMO_FOOTAGE", "../shared/footage")) / "video"
    spent: Counter[str] = Counter()
    total = 0.0
    for path in sorted(folder.iterdir()):
        if asked.files and path.name not in asked.files:
            continue
        try:
            rows, ours, theirs = both(path, asked.rounds)
        except Unmeasurable as error:
            print(f"{path.name}: {error}")
            continue
        if not rows:
            continue
        spent += ours
        total += theirs
        print(
            f"{path.name[:44]:44} {len(rows):3} clips  {ours.total():6.1f} s  {theirs:6.1f} s  "
            f"{ours.total() / theirs:5.2f}",
            flush=True,
        )
    print(f"in all {spent.total():.1f} s over {total:.1f} s: {spent.total() / total:.2f}")
    for part, seconds in spent.most_common():
        print(f"  {part:8} {seconds:6.1f} s  {seconds / total:.2f} transcodes")


if __name__ == "__main__":
    main()
