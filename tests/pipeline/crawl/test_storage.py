"""A real S3 server on loopback: as a place of footage, and as a place of runs."""

import hashlib
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from moto.server import ThreadedMotoServer

from pipeline.config import CurateConfig
from pipeline.crawl.places import find
from pipeline.engine.fingerprint import fingerprints
from pipeline.engine.jobs import jobs
from pipeline.engine.locations import crawl_into
from pipeline.stages.options.crawl import CrawlConfig
from pipeline.store.files import Files
from pipeline.store.relations import Relations
from pipeline.store.snapshots import Bundle, Snapshot, commit, latest
from pipeline.store.writer import writing
from schemas.errors import UserError
from tests.pipeline.conftest import humo
from tests.pipeline.direct_run import humo_directly
from tests.pipeline.made_videos import clicks, numbered, steady, texture, write_video


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """A file system on a fresh server, with buckets `footage` and `runs`; commands find it by their environment."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        storage = fsspec.filesystem("s3", skip_instance_cache=True, use_listings_cache=False)
        storage.mkdir("footage")
        storage.mkdir("runs")
        yield storage
    server.stop()


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds, two shots, with sound."""
    path = tmp_path_factory.mktemp("made") / "made.mp4"
    pictures = (numbered(texture(number // 75), number) for number in range(150))
    return write_video(path, pictures, times_ms=steady(150), sound=clicks(6, np.arange(0.5, 6).tolist()))


def test_the_first_write_wins_on_s3_too(s3: Any, tmp_path: Path) -> None:
    files = Files("s3://runs/first")
    assert files.create("a/1", b"first")
    assert not files.create("a/1", b"second")
    (tmp_path / "file").write_bytes(b"third")
    assert not files.create_from("a/1", tmp_path / "file")
    assert files.read("a/1") == b"first"
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: Files("s3://runs/first").create("x", bytes([n]) * 1000), range(16)))
    assert won.count(True) == 1
    assert set(files.read("x")) == {won.index(True)}


def test_a_race_of_whole_files_has_one_winner(s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = Files("s3://runs/race")
    barrier = threading.Barrier(4)
    exists = files._fs.exists

    def seen(name: str) -> bool:
        there: bool = exists(name)
        barrier.wait(30)
        return there

    monkeypatch.setattr(files._fs, "exists", seen)

    def place(number: int) -> bool:
        path = tmp_path / f"{number}"
        path.write_bytes(bytes([number]) * 1000)
        return files.create_from("big", path)

    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(place, range(4)))
    assert won.count(True) == 1
    assert set(files.read("big")) == {won.index(True)}


def test_what_another_wrote_is_seen_at_once(s3: Any) -> None:
    files, other = Files("s3://runs/fresh"), Files("s3://runs/fresh")
    assert files.names("snapshots") == []
    assert not files.exists("snapshots/1.json")
    bundle = Bundle(parts={"clips": "p"}, keys=1, rows=1)
    first = commit(other, latest(other), Snapshot().with_bundle("b", bundle, {}))
    assert latest(files) == first
    assert files.exists("snapshots/00000001.json")
    with pytest.raises(UserError, match="another command wrote"):
        commit(files, Snapshot(), Snapshot().with_bundle("c", bundle, {}))
    other.sweep("snapshots")
    assert files.names("snapshots") == []


def test_folders_globs_and_lists_on_s3(s3: Any, tmp_path: Path) -> None:
    for name in ("b.mp4", "a/c.MKV", "a/notes.txt", "a/d/e.mov"):
        s3.pipe_file(f"footage/tree/{name}", name.encode())
    s3.pipe_file(
        "footage/lists/all.jsonl", b'{"uri": "../in.mp4"}\n{"uri": "s3://footage/tree/b.mp4", "licence": "cc0"}\n'
    )
    assert [place.uri for place in find(["s3://footage/tree"], CrawlConfig(), scratch=tmp_path)] == [
        "s3://footage/tree/b.mp4",
        "s3://footage/tree/a/c.MKV",
        "s3://footage/tree/a/d/e.mov",
    ]
    assert [place.uri for place in find(["s3://footage/tree/**/*.mov"], CrawlConfig(), scratch=tmp_path)] == [
        "s3://footage/tree/a/d/e.mov"
    ]
    listed = [
        (place.uri, place.licence) for place in find(["s3://footage/lists/all.jsonl"], CrawlConfig(), scratch=tmp_path)
    ]
    assert listed == [("s3://footage/in.mp4", None), ("s3://footage/tree/b.mp4", "cc0")]
    with pytest.raises(UserError, match="there is nothing at s3://footage/none"):
        list(find(["s3://footage/none/"], CrawlConfig(), scratch=tmp_path))


def test_an_object_is_fetched_once_and_a_changed_one_again(s3: Any, tmp_path: Path) -> None:
    files = Files(str(tmp_path / "run"))
    s3.pipe_file("footage/one.mp4", bytes(20 * 2**20))
    (tmp_path / "list.txt").write_text("s3://footage/missing.mp4\n")
    inputs = ["s3://footage/one.mp4", str(tmp_path / "list.txt")]
    crawl_into(files, latest(files), inputs, CrawlConfig(backoff_s=0.01), limit=None)
    rows = Relations(files, latest(files)).connection.execute("SELECT uri, status, error FROM locations ORDER BY uri")
    assert rows.fetchall() == [
        ("s3://footage/missing.mp4", "failed", "NotFound: there is no such file"),
        ("s3://footage/one.mp4", "ok", None),
    ]
    (path,) = (path for path in (tmp_path / "run/media/sources").rglob("*") if path.is_file())
    assert path.stat().st_size == 20 * 2**20
    before = latest(files)
    assert crawl_into(files, before, inputs[:1], CrawlConfig(), limit=None) == before
    s3.pipe_file("footage/one.mp4", b"changed")
    after = crawl_into(files, before, inputs[:1], CrawlConfig(), limit=None)
    (job,) = jobs(Relations(files, after), fingerprints(CurateConfig()))
    assert job.there
    assert files.read(job.path) == b"changed"


def test_a_bucket_that_is_not_there_is_one_line(s3: Any) -> None:
    for arguments in (["s3://nowhere/a.mp4", "--out", "s3://runs/none"], ["a.mp4", "--out", "s3://nowhere/run"]):
        done = humo("curate", *arguments)
        assert (done.code, done.text.count("\n")) == (2, 1), done.text
        assert "s3://nowhere" in done.text


def test_a_run_on_s3_tries_failed_places_again(s3: Any, tmp_path: Path) -> None:
    files = Files("s3://runs/again")
    (tmp_path / "list.csv").write_text("uri,licence\ns3://footage/late.mp4,cc0\n")
    crawl_into(files, latest(files), [str(tmp_path / "list.csv")], CrawlConfig(), limit=None)
    query = "SELECT status, licence, source_id FROM locations"
    assert Relations(files, latest(files)).connection.execute(query).fetchall() == [("failed", "cc0", None)]
    s3.pipe_file("footage/late.mp4", b"content")
    crawl_into(files, latest(files), [], CrawlConfig(), limit=None)
    source_id = hashlib.sha256(b"content").hexdigest()[:16]
    assert Relations(files, latest(files)).connection.execute(query).fetchall() == [("ok", "cc0", source_id)]
    (job,) = jobs(Relations(files, latest(files)), fingerprints(CurateConfig()))
    assert job.there
    assert files.read(job.path) == b"content"


@pytest.mark.slow
def test_a_run_on_s3_from_footage_on_s3(s3: Any, video: Path) -> None:
    s3.put_file(str(video), "footage/film/made.mp4")
    run = "s3://runs/run"
    settings = ["--set", "clips.frames=21", "--set", "clips.min_frames=17"]
    first = humo("curate", "s3://footage/film", "--out", run, *settings)
    assert first.code == 0, first.text
    status = json.loads(humo_directly("status", run, "--json").text)
    assert (status["failures"], status["redo"]) == ([], {})
    assert {table["table"]: table["ok"] for table in status["tables"]}["clips"] > 1
    names = s3.find("runs/run")
    assert not [name for name in names if "/pending/" in name or "/attempts/" in name]
    again = humo_directly("curate", "s3://footage/film", "--out", run)
    assert again.code == 0, again.text
    assert "0 of them computed now" in again.text
    assert s3.find("runs/run") == names
    assert humo_directly("verify", run).code == 0
    assert humo_directly("decide", run, "--dry-run", "--set", "decide.references.lower=0.4").code == 0

    clips = Relations(Files(run), latest(Files(run))).arrow("clips").column("id").to_pylist()
    assert humo_directly("takedown", run, "--sample", clips[0]).code == 0
    left = sorted({name.split("/")[3] for name in s3.find("runs/run/media")})
    assert "clips" in left
    assert "sources" not in left, "the fetched file shows what was removed"
    assert humo_directly("curate", "s3://footage/film", "--out", run).code == 0
    assert sorted({name.split("/")[3] for name in s3.find("runs/run/media")}) == left
    assert humo_directly("takedown", run, "--source", clips[0][:16]).code == 0
    assert s3.find("runs/run/media") == []
    crawl_into(Files(run), latest(Files(run)), ["s3://footage/film"], CrawlConfig(), limit=None)
    assert s3.find("runs/run/media") == []
    assert list(jobs(Relations(Files(run), latest(Files(run))), fingerprints(CurateConfig()))) == []


def test_of_two_commands_on_one_run_the_second_is_refused_in_one_line(s3: Any, video: Path, tmp_path: Path) -> None:
    for root in ("s3://runs/shared", str(tmp_path / "run")):
        with writing(Files(root)):
            second = humo("curate", video, "--out", root)
            assert (second.code, second.text.count("\n")) == (2, 1), second.text
            assert "another command is writing" in second.text
            assert latest(Files(root)).number == 0
    assert s3.find("runs/shared") == []
