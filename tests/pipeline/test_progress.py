"""How far the work is, in a log: by stage, with failures, the rate and the time left."""

from pathlib import Path

import pytest
from rich.console import Console

from pipeline import console as view
from pipeline.config import CurateConfig
from pipeline.engine import curate as engine
from pipeline.engine.progress import StageProgress
from pipeline.engine.run_file import read_run
from pipeline.engine.unit import Unit
from pipeline.stages.clips import ClipsConfig
from pipeline.stages.speech import SpeechStage
from pipeline.store.files import Files
from pipeline.store.relations import Relations
from pipeline.store.snapshots import latest
from schemas.command_line import run as command
from tests.pipeline.direct_run import curate_directly
from tests.pipeline.made_videos import numbered, steady, texture, write_video


def unit(number: int, of: int, clips: int, **work: float) -> Unit:
    counters = {name.replace("__", "."): amount for name, amount in work.items()}
    return Unit(source_id="s", terms="", start=32 * number, clips=clips, number=number, of=of, work=counters)


def test_units_add_up_to_stages() -> None:
    told: dict[str, tuple[int, int, int]] = {}

    def tell(stage: str, done: int, total: int, failed: int = 0, /) -> None:
        told[stage] = (done, total, failed)

    stages = StageProgress(tell)
    stages.take(unit(0, 2, 40, done__captions=32, failures__captions__timeout=2, failures__captions__other=1))
    stages.take(unit(0, 1, 5, done__captions=5, done__speech=5))
    assert told == {"captions": (37, 45, 3), "speech": (5, 45, 0)}


def test_a_log_says_failures_rate_and_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 1000.0
    monkeypatch.setattr(view, "console", Console(highlight=False, force_terminal=False, width=200))
    monkeypatch.setattr("pipeline.console.time.monotonic", lambda: now)
    with view.ProgressView() as progress:
        progress("captions", 0, 100)
        now += 5
        progress("captions", 10, 100, 1)
        progress("speech", 3, 9)
        now += 15
        progress("captions", 40, 400, 3)
        now += 20
        progress("captions", 400, 400, 3)
    assert capsys.readouterr().out.splitlines() == [
        "captions: 0 of 100",
        "speech: 3 of 9",
        "captions: 40 of 400, 3 failed, 2.0/s, 0:03:00 left",
        "captions: 400 of 400, 3 failed",
    ]


def test_a_bar_is_one_line_a_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "console", Console(force_terminal=True, width=200))
    with view.ProgressView() as progress:
        for done in range(5):
            progress("captions", done, 5)
        assert progress._bar is not None
        assert [task.description for task in progress._bar.tasks] == ["captions"]


def test_a_run_records_versions_costs_and_attempts_and_status_tries_other_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(engine, "run_sets", lambda _files, snapshot, _config, **_: snapshot)
    pictures = [numbered(texture(0), number) for number in range(21)]
    video = write_video(tmp_path / "made.mp4", pictures, times_ms=steady(21))
    config = CurateConfig(clips=ClipsConfig(frames=21, min_frames=17))
    files = Files(str(tmp_path / "run"))
    curate_directly(files.root, [video], config)
    assert read_run(files)["versions"].keys() >= {"humo", "av", "ray"}
    work = latest(files).work
    for stage in ("shots", "clips", "decode", "quality", "faces"):
        assert 0 < work[f"wall.{stage}"] < 60, stage
    assert not any(name.startswith("gpu.") for name in work)

    assert command(["status", files.root, "--set", "captions.speech=false", "--json"]) == 0
    said = capsys.readouterr().out
    assert '"captions"' in said.partition('"redo"')[2]
    assert command(["status", files.root, "--json"]) == 0
    assert '"captions"' not in capsys.readouterr().out.partition('"redo"')[2]


def test_a_row_says_at_which_attempt_it_came(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.engine.retry import with_retries
    from pipeline.store.snapshots import commit

    monkeypatch.setattr(engine, "run_sets", lambda _files, snapshot, _config, **_: snapshot)
    pictures = [numbered(texture(0), number) for number in range(21)]
    video = write_video(tmp_path / "made.mp4", pictures, times_ms=steady(21))
    config = CurateConfig(clips=ClipsConfig(frames=21, min_frames=17))
    files = Files(str(tmp_path / "run"))
    with monkeypatch.context() as patch:
        patch.setattr(SpeechStage, "measure", lambda *_: (_ for _ in ()).throw(RuntimeError("broken")))
        curate_directly(files.root, [video], config)
    base = latest(files)
    commit(files, base, with_retries(base, Relations(files, base), stage="speech", error=None)[0])
    curate_directly(files.root, [], config)
    relations = Relations(files, latest(files))
    assert [row["attempt"] for row in relations.arrow("speech").to_pylist()] == [2]
    assert [row["attempt"] for row in relations.arrow("quality").to_pylist()] == [1]
