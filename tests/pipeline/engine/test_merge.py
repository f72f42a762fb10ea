"""Merged runs end as one run of all the footage, and nothing that was taken down comes back by way of another run."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.config import CurateConfig
from pipeline.demo.line import DEMO_CONFIG
from pipeline.engine import curate as engine
from pipeline.engine.merge import Merged, merge
from pipeline.engine.retry import with_retries
from pipeline.engine.takedown import take_down
from pipeline.pack.config import PackConfig
from pipeline.stages.captions import CaptionsConfig
from pipeline.stages.clips import ClipsConfig
from pipeline.store.files import Files
from pipeline.store.relations import Relations
from pipeline.store.snapshots import commit, latest
from pipeline.verdicts.journal import record
from pipeline.verdicts.verdict import Verdict
from schemas.command_line import run as command
from schemas.errors import UserError
from tests.pipeline.conftest import humo
from tests.pipeline.direct_run import curate_directly
from tests.pipeline.engine.test_film import rows_of, shards_of
from tests.pipeline.made_videos import numbered, steady, texture, write_video

CONFIG = CurateConfig(clips=ClipsConfig(frames=21, min_frames=17))
Runs = dict[str, Path]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three made videos of three shots each; a broken one."""
    folder = tmp_path_factory.mktemp("videos")
    for number in range(3):
        scenes = [numbered(texture(10 * number + scene), scene) for scene in range(3) for _ in range(21)]
        write_video(folder / f"made{number}.mp4", scenes, times_ms=steady(len(scenes)))
    (folder / "made3.mp4").write_bytes(b"no video")
    return sorted(folder.glob("*.mp4"))


@pytest.fixture(scope="module")
def made(videos: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """`one` has the videos 0 and 1 and the broken one, `other` 1 and 2, `all` every one."""
    folder = tmp_path_factory.mktemp("runs")
    for name, numbers in {"one": (0, 1, 3), "other": (1, 2), "all": (0, 1, 2, 3)}.items():
        curate_directly(folder / name, [videos[number] for number in numbers], CONFIG)
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture
def runs(made: Runs, tmp_path: Path) -> Runs:
    """Copies to change."""
    return {name: Path(shutil.copytree(path, tmp_path / name)) for name, path in made.items()}


def merged(out: Path, *runs: Path, accept_stale: bool = False) -> Merged:
    others = [Files(str(run)) for run in runs]
    return merge(Files(str(out)), others, accept_stale=accept_stale, progress=lambda *_: None)


def media_of(run: Path) -> set[str]:
    return {str(path.relative_to(run)) for path in (run / "media").rglob("*") if path.is_file()}


def ids(run: Path, table: str = "clips", where: str = "true") -> list[str]:
    files = Files(str(run))
    query = f"SELECT id FROM {table} WHERE {where} ORDER BY id"
    return [id_ for (id_,) in Relations(files, latest(files)).connection.execute(query).fetchall()]


def source_at(run: Path, name: str) -> str:
    files = Files(str(run))
    query = "SELECT source_id FROM locations WHERE ends_with(uri, ?)"
    return str(Relations(files, latest(files)).connection.execute(query, [name]).fetchall()[0][0])


@pytest.mark.parametrize("order", [("one", "other"), ("other", "one")])
def test_merged_runs_end_as_one_run_of_all_their_footage(runs: Runs, tmp_path: Path, order: tuple[str, str]) -> None:
    out = tmp_path / "out"
    done = merged(out, *(runs[name] for name in order))
    assert rows_of(out) == rows_of(runs["all"])
    assert shards_of(out) == shards_of(runs["all"])
    assert media_of(out) == media_of(runs["all"])
    assert sum(done.taken.values()) == 4
    assert (done.displaced, done.stale, done.options) == ([], [], {})
    # Item stages ran as often as they had for the runs that went in, and not again.
    computed = [latest(Files(str(path))).work["computed.quality"] for path in (out, runs["one"], runs["other"])]
    assert computed[0] == computed[1] + computed[2]
    assert command(["curate", "--out", str(out)]) == 1, "the broken one stays a failure, and nothing else is done"
    assert latest(Files(str(out))) == done.snapshot


def test_a_second_merge_does_nothing_and_a_run_can_take_others_in(runs: Runs) -> None:
    first = merged(runs["one"], runs["other"])
    assert rows_of(runs["one"]) == rows_of(runs["all"])
    before = {path: path.stat().st_mtime_ns for path in runs["one"].rglob("*.*") if path.is_file()}
    again = merged(runs["one"], runs["other"])
    assert (again.snapshot, again.files) == (first.snapshot, 0)
    assert {path: path.stat().st_mtime_ns for path in runs["one"].rglob("*.*") if path.is_file()} == before


def test_a_killed_merge_is_done_by_the_same_command(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, run_set = tmp_path / "out", engine.run_set

    def dies(stage: str, *given: object) -> object:
        if stage == "candidates":
            raise KeyboardInterrupt
        return run_set(stage, *given)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(engine, "run_set", dies)
        with pytest.raises(KeyboardInterrupt):
            merged(out, runs["one"], runs["other"])
    merged(out, runs["one"], runs["other"])
    assert rows_of(out) == rows_of(runs["all"])
    assert shards_of(out) == shards_of(runs["all"])


def by_source(run: Path, source: str) -> None:
    files = Files(str(run))
    take_down(files, latest(files), CONFIG, source=source)


def by_sample(run: Path, source: str) -> None:
    files = Files(str(run))
    take_down(files, latest(files), CONFIG, sample=ids(run, where=f"source_id = '{source}'")[1])


@pytest.mark.parametrize(
    ("take", "order"),
    [(by_source, ("other", "one")), (by_sample, ("other", "one")), (by_sample, ("one", "other"))],
)
def test_what_one_run_took_down_comes_from_no_other(
    runs: Runs, tmp_path: Path, take: Callable[[Path, str], None], order: tuple[str, str]
) -> None:
    out, source = tmp_path / "out", source_at(runs["one"], "made1.mp4")
    gone = set(ids(runs["all"]))
    take(runs["one"], source)
    take(runs["all"], source)
    gone -= set(ids(runs["all"]))
    assert gone
    said = Verdict(
        id="3" * 32, at_us=1, kind="reject", reviewer="ada", clip_id=min(gone), media_sha256="0" * 64, note="a secret"
    )
    record(Files(str(runs["other"])), said)
    merged(out, *(runs[name] for name in order))
    assert not [path for path in out.rglob("*.json") if b"a secret" in path.read_bytes()]
    assert rows_of(out) == rows_of(runs["all"])
    assert shards_of(out) == shards_of(runs["all"])
    assert media_of(out) == media_of(runs["all"])
    assert latest(Files(str(out))).removed == latest(Files(str(runs["all"]))).removed
    held = b"".join(path.read_bytes() for path in (out / "tables" / "clips").rglob("*.parquet"))
    assert not [id_ for id_ in gone if id_.encode() in held]
    assert not [id_ for id_ in gone if id_ in json.dumps(rows_of(out), default=str)]


def test_what_reviewers_said_goes_along(runs: Runs, tmp_path: Path) -> None:
    files = Files(str(runs["other"]))
    clip = Relations(files, latest(files)).arrow("clips").to_pylist()[0]
    said = {
        "clip_id": clip["id"],
        "media_sha256": clip["media_sha256"],
        "kind": "reject",
        "reviewer": "ada",
        "at_us": 7,
    }
    for run, id_ in (("other", "1" * 32), ("all", "1" * 32)):
        record(Files(str(runs[run])), Verdict(id=id_, **said))
        curate_directly(runs[run], [], CONFIG)
    record(files, Verdict(id="2" * 32, **{**said, "kind": "accept", "at_us": 3}))
    record(Files(str(runs["all"])), Verdict(id="2" * 32, **{**said, "kind": "accept", "at_us": 3}))
    curate_directly(runs["all"], [], CONFIG)
    merged(tmp_path / "out", runs["one"], runs["other"])
    assert len(rows_of(tmp_path / "out")["verdicts"]) == 2
    assert rows_of(tmp_path / "out") == rows_of(runs["all"])


def test_a_failure_stays_one_unless_another_run_has_the_rows(runs: Runs, videos: list[Path], tmp_path: Path) -> None:
    assert ids(runs["one"], "sources", "status = 'failed'") == [source_at(runs["one"], "made3.mp4")]
    files = Files(str(runs["one"]))
    again, rows = with_retries(latest(files), Relations(files, latest(files)), stage=None, error=None)
    assert rows == 1
    commit(files, latest(files), again)
    merged(tmp_path / "out", runs["other"], runs["one"])
    out = Files(str(tmp_path / "out"))
    assert latest(out).retries == again.retries, "asked for again, and not done yet"
    assert ids(tmp_path / "out", "sources", "status = 'failed'") == [source_at(runs["one"], "made3.mp4")]

    # A shared source that failed in the run named first: the other's rows are taken.
    weak = tmp_path / "weak"
    slow = CONFIG.model_copy(update={"engine": CONFIG.engine.model_copy(update={"attempts": 1})})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.engine.watch.clip_frames", lambda _path: (_ for _ in ()).throw(OSError("lost")))
        curate_directly(weak, [videos[1]], slow)
    assert len(ids(weak, "quality", "status = 'failed'")) > 0
    merged(tmp_path / "better", weak, runs["other"])
    assert ids(tmp_path / "better", "quality", "status = 'failed'") == []
    assert rows_of(tmp_path / "better") == rows_of(runs["other"])


def test_other_options_are_refused_or_named(runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = Files(str(runs["other"]))
    config = CONFIG.model_copy(update={"captions": CaptionsConfig(speech=False), "pack": PackConfig(samples=7)})
    curate_directly(runs["other"], [], config)
    changed = latest(files).number
    out = tmp_path / "out"
    given = ["merge", str(runs["one"]), str(runs["other"]), "--out", str(out)]
    assert command(given) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"2 sources of {runs['other']}" in said
    assert "in captions" in said
    assert not (out / "snapshots").exists()
    assert command([*given, "--accept-stale"]) == 1
    assert "pack.samples (7 there)" in " ".join(capsys.readouterr().out.split())
    command(["status", str(out), "--json"])
    redo = json.loads(capsys.readouterr().out)["redo"]
    assert redo["captions"]["sources"] == 1, "made1 came from the run named first"
    assert set(redo) <= {"captions", "looks", "references", "decide", "pack"}
    assert latest(files).number == changed


def test_a_place_with_another_file_is_what_the_run_named_first_says(
    videos: list[Path], runs: Runs, tmp_path: Path
) -> None:
    later = tmp_path / "later"
    place = tmp_path / "made.mp4"
    shutil.copy(videos[0], place)
    curate_directly(tmp_path / "early", [place], CONFIG)
    shutil.copy(videos[2], place)
    curate_directly(later, [place], CONFIG)
    done = merged(tmp_path / "out", later, tmp_path / "early")
    assert done.displaced == [source_at(runs["all"], "made0.mp4")]
    assert rows_of(tmp_path / "out") == rows_of(later)


def test_what_is_no_run_or_in_the_middle_of_a_takedown_is_refused(runs: Runs, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run folder"):
        merged(tmp_path / "out", runs["one"], tmp_path / "none")
    Files(str(runs["other"])).create("takedowns/unfinished.json", b"{}")
    with pytest.raises(UserError, match="takedown was interrupted"):
        merged(tmp_path / "out", runs["one"], runs["other"])


@pytest.mark.skipif("HUMO_LONG" not in os.environ, reason="curates the demo film again: set HUMO_LONG=1")
def test_halves_of_the_film_merged_are_the_film(film: Path, film_run: Path, tmp_path: Path) -> None:
    reels = sorted(film.glob("*.mp4"))
    for name, half in (("a", reels[:2]), ("b", reels[1:])):
        assert humo("curate", *half, "--out", tmp_path / name, "--config", DEMO_CONFIG).code == 0
    done = humo("merge", tmp_path / "b", tmp_path / "a", "--out", tmp_path / "out")
    assert done.code == 0, done.text
    assert rows_of(tmp_path / "out") == rows_of(film_run)
    assert shards_of(tmp_path / "out") == shards_of(film_run)
