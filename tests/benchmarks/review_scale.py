"""`humo review` on a synthetic run: `python tests/benchmarks/review_scale.py --clips 100000`.

With 20,000 verdicts, on a tenth of the clips. Printed are how long the server takes until it answers (it makes what the
pages show of a commit before), the seconds from asking for a page until its last byte (the first of three times, and
the worst), how long it takes to save a verdict and to try a threshold, and the peak memory of the server's process.
Every page has to stay under a second; the command fails where one does not, or shows nothing.
"""

import argparse
import io
import itertools
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

sys.path.insert(0, str(Path(__file__).parents[2]))

from pipeline.engine.decide_again import decide_again
from pipeline.engine.run_file import resolve
from pipeline.store.files import Files
from pipeline.store.media import media_path
from pipeline.store.relations import Relations
from pipeline.store.snapshots import latest
from pipeline.verdicts.journal import record
from pipeline.verdicts.verdict import Verdict
from schemas.sample import SAMPLE_RATE, SAMPLES_PER_FRAME
from tests.benchmarks.tables_scale import write_run_of
from tests.pipeline.review.served import Answer, served

LIMIT_S = 1.0
VERDICTS = 20_000
REVIEWERS = 4
PAGES = {
    "overview, with histograms": "/",
    "first screen of the gallery": "/clips",
    "kept": "/clips?show=keep",
    "rejected by a rule": "/clips?show=reject&rule=subject%3A+quality.sharpness+%3E%3D+0.4",
    "a range of a measurement": "/clips?measure=quality.luma&low=0.3&high=0.31",
    "sorted by a measurement, largest first": "/clips?sort=quality.motion&order=down",
    "sorted and in a range": "/clips?sort=speech.snr_db&measure=faces.largest&low=0.2&high=0.8&show=reject",
    "words in captions": "/clips?words=number+99999",
    "without a verdict": "/clips?said=none&show=keep",
    "reviewers disagree": "/clips?said=disputed",
    "not judged by a reviewer": "/clips?unseen_by=reviewer+1",
    "a source": "/clips?source={source}",
    "a clip": "/clips/{clip}",
    "a clip of a sorted list": "/clips/{clip}?sort=quality.motion&order=down&show=reject",
    "people": "/people",
    "people, a later page": "/people?page=50",
    "what if": "/what-if",
    "audits": "/audits",
}


def write_verdicts(run: Path) -> None:
    """Every reviewer accepts or rejects some clips; half were heard by a decision, half wait in the journal."""
    files = Files(str(run))
    clips = Relations(files, latest(files)).connection.execute(
        f"SELECT id, media_sha256 FROM clips ORDER BY hash(id) LIMIT {VERDICTS // 2}"
    )
    for number, (clip, media) in enumerate(clips.fetchall() * 2):
        verdict = Verdict(
            id=f"{number:032x}",
            at_us=number,
            kind="accept" if number % 3 else "reject",
            reviewer=f"reviewer {number % REVIEWERS + number // (VERDICTS // 2)}",
            clip_id=clip,
            media_sha256=media,
        )
        record(files, verdict)
        if number == VERDICTS // 2:
            decide_again(Relations(files, latest(files)), resolve(files, {}), dry_run=False)


def clip_with_sound(files: Files) -> str:
    """A clip in the middle of the run, of which the sound is there to be drawn."""
    query = "SELECT id, audio_sha256, frames FROM clips ORDER BY id LIMIT 1 OFFSET (SELECT count(*) // 2 FROM clips)"
    ((clip, sha256, frames),) = Relations(files, latest(files)).connection.execute(query).fetchall()
    sink = io.BytesIO()
    noise = np.random.default_rng(0).normal(0, 0.1, frames * SAMPLES_PER_FRAME)
    soundfile.write(sink, noise, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    files.create(media_path("audio", sha256), sink.getvalue())
    return str(clip)


def timed(ask: Callable[[], Answer]) -> tuple[list[float], Answer]:
    """Seconds of three times, and the last answer."""
    times: list[float] = []
    for _ in range(3):
        start = time.perf_counter()
        answer = ask()
        times.append(time.perf_counter() - start)
        assert answer.status == 200, answer.text
    return times, answer


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
        write_verdicts(run)
    clip = clip_with_sound(Files(str(run)))
    slow = 0
    begun = time.perf_counter()
    with served(run) as server:
        print(f"{options.clips:,} clips; the server answers after {time.perf_counter() - begun:.1f} s", flush=True)
        for name, path in PAGES.items():
            times, answer = timed(partial(server.ask, path.format(source=clip.split("_")[0], clip=clip)))
            slow += max(times) >= LIMIT_S
            found = re.search(r'id="count"[^>]*>([0-9,]+) clip', answer.text)
            assert found is None or found[1] != "0", f"{name}: a page of nothing"
            shown = f"{found[1]:>8} clips" if found else ""
            print(f"{name:<40} {times[0]:6.2f} s first, {max(times):6.2f} s at worst {shown}", flush=True)
        numbers = itertools.count(VERDICTS)
        media = server.ask(f"/clips/{clip}").text.split('data-media="')[1].split('"')[0]
        about = {"run": server.run, "kind": "reject", "reviewer": "a later one", "clip_id": clip, "media_sha256": media}
        times, _ = timed(lambda: server.ask("/verdicts", {"id": f"{next(numbers):032x}", **about}))
        print(f"{'a verdict saved':<40} {times[0]:6.2f} s first, {max(times):6.2f} s at worst", flush=True)
        slow += max(times) >= LIMIT_S
        state = server.ask("/what-if").text.split('data-state="')[1].split('"')[0]
        asked = {"values": {"subject.0.0": 0.55}, "state": state}
        times, _ = timed(lambda: server.ask("/what-if", asked))
        print(f"{'a threshold tried':<40} {times[0]:6.2f} s first, {max(times):6.2f} s at worst", flush=True)
        times, _ = timed(lambda: server.ask("/verdicts.csv"))
        print(f"{'all verdicts as CSV':<40} {times[0]:6.2f} s first, {max(times):6.2f} s at worst", flush=True)
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        print(f"peak memory of the server {peak / 1024:.0f} MiB", flush=True)
    if options.folder is None:
        shutil.rmtree(folder)
    print(f"{slow} pages took {LIMIT_S:.0f} s or longer")
    sys.exit(1 if slow else 0)


if __name__ == "__main__":
    main()
