"""The whole line on the demo film: render, curate, train, generate, report.

Training and generation are reached through the command line, as a user reaches them: this package imports neither.
"""

import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
from rich.table import Table

from pipeline.config import CurateConfig
from pipeline.console import console
from pipeline.decide.funnel import funnel
from pipeline.demo.check import judge
from pipeline.demo.film import render_film
from pipeline.demo.truth import TRUTH_FILE, read_truth
from pipeline.store.files import Files
from pipeline.store.relations import Relations
from pipeline.store.snapshots import latest
from schemas.command_line import COMMAND
from schemas.errors import WorkFailed

DEMO_CONFIG = Path(__file__).with_name("demo.yaml")


def run_demo(out: Path) -> None:
    """Everything into `out`. Given again, it does what is missing. Raises WorkFailed where a step fails."""
    began = time.monotonic()
    film, run, trained, video = out / "film", out / "run", out / "trained", out / "generated.mp4"
    out.mkdir(parents=True, exist_ok=True)
    with _step("rendering a film of two people who talk, with planted defects"):
        if not (film / TRUTH_FILE).exists():
            render_film(film)
    with _step("curating it"):
        _humo("curate", str(film), "--out", str(run), "--config", str(DEMO_CONFIG))
        _compare(film, run)
        _humo("verify", str(run))
    with _step("training the mini model through its stages"):
        if not (trained / "model").exists():
            resume = ["--resume"] if trained.exists() else []
            data = str(run / "shards" / "manifest.json")
            _humo("train", "--config", "mini", "--data", data, "--out", str(trained), *resume)
    with _step("generating a video from text, a reference and speech"):
        text, image, audio = _prompt(run, out / "prompt")
        inputs = ["--text", text, "--image", str(image), "--audio", str(audio)]
        _humo("generate", "--model", str(trained / "model"), *inputs, "--frames", "audio", "--out", str(video))
    with _step("writing the report"):
        _humo("report", str(run))
    _close(out, video, time.monotonic() - began)


@contextmanager
def _step(what: str) -> Iterator[None]:
    console.rule(f"[bold]{what}", align="left")
    start = time.monotonic()
    yield
    console.print(f"({time.monotonic() - start:.0f} s)")


def _humo(*arguments: str) -> None:
    console.print(f"$ humo {' '.join(arguments)}", markup=False, soft_wrap=True)
    # Processes of their own: training forks its readers, and what curation started must not go along.
    code = subprocess.run([*COMMAND, *arguments], check=False).returncode
    if code != 0:
        raise WorkFailed(f"the demo stopped: 'humo {arguments[0]}' ended with {code}")


def _compare(film: Path, run: Path) -> None:
    files = Files(str(run))
    judged = judge(read_truth(film / TRUTH_FILE), Relations(files, latest(files)))
    wrong = [one for one in judged if one.problem]
    console.print(f"{len(judged) - len(wrong)} of {len(judged)} shots were judged as the film's truth table says")
    for one in wrong:
        console.print(f"  {one.shot.id} ({one.shot.kind}): {one.problem}", markup=False)


def _prompt(run: Path, folder: Path) -> tuple[str, Path, Path]:
    """Caption, reference and speech of the first sync sample, as files."""
    folder.mkdir(exist_ok=True)
    index = pq.read_table(run / "shards" / "index.parquet").to_pylist()
    row = next(row for row in index if row["tier"] == "sync")
    with tarfile.open(run / "shards" / row["shard"], "r:") as tar:
        for suffix in ("ref0.png", "flac", "txt", "json"):
            member = tar.extractfile(f"{row['key']}.{suffix}")
            assert member is not None
            (folder / f"prompt.{suffix}").write_bytes(member.read())
    return (folder / "prompt.txt").read_text(), folder / "prompt.ref0.png", folder / "prompt.flac"


def _close(out: Path, video: Path, seconds: float) -> None:
    files = Files(str(out / "run"))
    found = funnel(Relations(files, latest(files)), CurateConfig().decide)
    kept = f"{found.kept['sync']} kept in the sync tier, {found.kept['subject']} in the subject tier only"
    table = Table(title=f"Done in {seconds:.0f} s", title_justify="left", show_header=False)
    table.add_row("funnel", f"{found.sources} files, {found.shots} shots, {found.clips} clips, {kept}")
    table.add_row("film and truth table", f"{out}/film, {out}/film/{TRUTH_FILE}")
    table.add_row("run", f"{out}/run")
    table.add_row("shards", f"{out}/run/shards/manifest.json")
    table.add_row("report", f"{out}/run/report/index.html")
    table.add_row("model", f"{out}/trained/model")
    table.add_row("generated video", str(video))
    table.add_row("try next", f"humo status {out}/run")
    table.add_row("", f"humo decide {out}/run --set 'decide.references.upper=0.9' --dry-run")
    table.add_row("", "humo curate YOUR_FOOTAGE --out run")
    console.print(table)
