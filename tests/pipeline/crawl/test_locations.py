"""Places in the store: failures are rows, what is known is not fetched again, what was removed does not come back."""

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import CurateConfig
from pipeline.crawl.download import Download
from pipeline.engine.clean import leftovers
from pipeline.engine.fingerprint import fingerprints
from pipeline.engine.jobs import Job, jobs
from pipeline.engine.locations import crawl_into
from pipeline.stages.crawl import version_id
from pipeline.stages.options.crawl import CrawlConfig
from pipeline.store.files import Files
from pipeline.store.relations import Relations
from pipeline.store.snapshots import ALL, Snapshot, commit, latest
from tests.pipeline.conftest import humo
from tests.pipeline.crawl.rough_server import Rough, body_of, rough_server
from tests.pipeline.direct_run import humo_directly

CONFIG = CrawlConfig(private_addresses=("127.0.0.1",), backoff_s=0.01, attempts=2)


@pytest.fixture
def server() -> Iterator[Rough]:
    with rough_server() as running:
        yield running


def crawl(files: Files, *inputs: str, stale: list[str] | None = None, **config: Any) -> Snapshot:
    tell = [] if stale is None else stale
    config_now = CONFIG.model_copy(update=config)
    return crawl_into(files, latest(files), list(inputs), config_now, limit=None, tell_stale=tell.append)


def sources(files: Files) -> list[Job]:
    return list(jobs(Relations(files, latest(files)), fingerprints(CurateConfig())))


def rows_of(files: Files, columns: str) -> list[tuple[Any, ...]]:
    query = f"SELECT {columns} FROM locations ORDER BY uri"
    return list(Relations(files, latest(files)).connection.execute(query).fetchall())


def media_in(run: Path) -> list[Path]:
    return sorted(path for path in (run / "media" / "sources").rglob("*") if path.is_file())


def test_failures_are_rows_and_are_tried_again(server: Rough, tmp_path: Path) -> None:
    files = Files(str(tmp_path / "run"))
    server.bodies["/file/a"] = b"content a"
    (tmp_path / "list.csv").write_text(
        "uri,licence,show\n"
        f"{server.url('/file/a')},cc0,news\n{server.url('/missing')},cc-by,news\n{server.url('/html/a')},,\nnone.mp4,,\n"
    )
    stale: list[str] = []
    crawl(files, str(tmp_path / "list.csv"), stale=stale)
    assert stale == []
    show = '{"show": "news"}'
    source_id = hashlib.sha256(b"content a").hexdigest()[:16]
    wrong = "WrongType: is text/html, which crawl.types does not name"
    columns = "uri, source_id, error, licence, extra, bytes"
    assert rows_of(files, columns) == [
        (f"{tmp_path}/none.mp4", None, "NotFound: there is no such file", None, None, None),
        (server.url("/file/a"), source_id, None, "cc0", show, 9),
        (server.url("/html/a"), None, wrong, None, None, None),
        (server.url("/missing"), None, "HTTPStatus: 404 Not Found", "cc-by", show, None),
    ]
    assert [status for (status,) in rows_of(files, "status")] == ["failed", "ok", "failed", "failed"]
    (source,) = sources(files)
    assert source.there
    assert source.path.startswith("media/sources/")
    assert files.read(source.path) == b"content a"

    (tmp_path / "none.mp4").write_bytes(b"content b")
    crawl(files)
    assert [(status, licence) for status, licence in rows_of(files, "status, licence")] == [
        ("ok", None),
        ("ok", "cc0"),
        ("failed", None),
        ("failed", "cc-by"),
    ]
    assert server.record.sent["/file/a"] == len(b"content a")


def test_the_same_again_changes_nothing_and_what_changed_is_fetched(server: Rough, tmp_path: Path) -> None:
    files = Files(str(tmp_path / "run"))
    urls = [server.url(f"/file/{number}") for number in range(5)]
    server.bodies.update({f"/file/{number}": b"content %d" % (number // 2) for number in range(5)})
    first = crawl(files, *urls)
    assert len(media_in(tmp_path / "run")) == 3, "equal content is stored once"
    assert len(sources(files)) == 3
    sent = server.record.sent.copy()
    assert crawl(files, *reversed(urls)) == first
    assert server.record.sent == sent
    assert list((tmp_path / "run" / "fetching").iterdir()) == []
    server.bodies["/file/4"] = b"changed"
    second = crawl(files, *urls)
    assert server.record.sent.total() == sent.total() + len(b"changed")
    assert list(leftovers(files, second, keep_manifests=1)) != []
    for path in leftovers(files, second, keep_manifests=1):
        files.remove(path)
    assert sorted(path.read_bytes() for path in media_in(tmp_path / "run")) == [b"changed", b"content 0", b"content 1"]


def test_an_outage_takes_nothing_away(server: Rough, tmp_path: Path) -> None:
    files = Files(str(tmp_path / "run"))
    server.bodies["/file/a"] = b"content"
    first = crawl(files, server.url("/file/a"))
    del server.bodies["/file/a"]
    stale: list[str] = []
    assert crawl(files, server.url("/file/a"), stale=stale) == first
    assert len(stale) == 1
    assert "could not be looked at again: Dropped" in stale[0]


def test_a_killed_crawl_sends_for_little_twice(server: Rough, tmp_path: Path) -> None:
    server.bodies.update({f"/slow/{number}": body_of(f"{number}", 1000) for number in range(40)})
    (tmp_path / "list.txt").write_text("".join(server.url(f"/slow/{number}") + "\n" for number in range(40)))
    code = (
        "import sys; from pipeline.store.files import Files; from tests.pipeline.crawl.test_locations import crawl; "
        "crawl(Files(sys.argv[1]), sys.argv[2])"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "run"), str(tmp_path / "list.txt")])
    deadline = time.monotonic() + 30
    while len(server.record.sent) < 20 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    files = Files(str(tmp_path / "run"))
    assert latest(files).number == 0, "nothing was committed yet"
    crawl(files, str(tmp_path / "list.txt"))
    assert len(sources(files)) == 40
    twice = [path for path, sent in server.record.sent.items() if sent > 1000]
    assert len(twice) <= CONFIG.per_host
    assert list((tmp_path / "run" / "fetching").iterdir()) == []


def test_what_was_removed_does_not_come_back(server: Rough, tmp_path: Path) -> None:
    files = Files(str(tmp_path / "run"))
    server.bodies.update({"/file/a": b"content", "/file/b": b"content", "/file/c": bytes(20_000_000)})
    base = latest(files)
    crawl(files, server.url("/file/c"))
    (source,) = sources(files)
    other = replace(latest(files), bundles={}, removed={source.source_id: [ALL]})
    base = commit(files, latest(files), other)
    for path in media_in(tmp_path / "run"):
        path.unlink()
    for _ in range(2):
        base = crawl(files, *[server.url(f"/file/{name}") for name in "abc"])
        assert sorted(path.read_bytes() for path in media_in(tmp_path / "run")) == [b"content"]
        assert rows_of(files, "uri") == [(server.url("/file/a"),), (server.url("/file/b"),)]
    assert server.record.sent["/file/c"] < 50_000_000, "once it is known as removed it is not fetched whole"
    assert source.source_id in base.removed
    assert len(base.removed) == 2
    assert all(len(key) == 16 for key in base.removed)


def test_many_places_are_few_parts_and_the_same_rows_whatever_their_order(tmp_path: Path) -> None:
    rows = [f"{number}.mp4" for number in range(2500)]
    for name in rows:
        (tmp_path / name).write_bytes(name.encode())
    found = []
    for run, order in (("one", rows), ("two", rows[::-1])):
        (tmp_path / f"{run}.txt").write_text("\n".join(order))
        files = Files(str(tmp_path / run))
        if run == "two":
            crawl(files, *[str(tmp_path / name) for name in rows[:100]])
        snapshot = crawl(files, str(tmp_path / f"{run}.txt"))
        assert len(snapshot.holding("locations")) <= 4
        found.append(Relations(files, snapshot).arrow("locations"))
    assert found[0].equals(found[1])


def test_a_list_from_the_web_has_no_say_over_files_here(server: Rough, tmp_path: Path) -> None:
    files = Files(str(tmp_path / "run"))
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    server.bodies["/file/a.mp4"] = body_of("a", 1000)
    server.bodies["/list/all.csv"] = (
        f"uri,licence\n../file/a.mp4,cc0\n{tmp_path}/secret.mp4,cc0\nfile://{tmp_path}/secret.mp4,cc0\n"
        f"local://{tmp_path}/secret.mp4,cc0\nFILE:{tmp_path}/secret.mp4,cc0\n"
        f"simplecache::file://{tmp_path}/secret.mp4,cc0\nsimplecache::{tmp_path}/secret.mp4,cc0\n"
    ).encode()
    for _ in range(2):
        crawl(files, server.url("/list/all.csv"))
        assert [row for row in rows_of(files, "uri, status") if row[1] == "ok"] == [(server.url("/file/a.mp4"), "ok")]
    # Refused too where any host is allowed, whether they are read from the list or tried again.
    for inputs in ((), (server.url("/list/all.csv"),)):
        crawl(files, *inputs, private_addresses=True)
        errors = [error.partition(":")[0] for (error,) in rows_of(files, "error") if error]
        assert sorted(errors) == ["BadAddress"] * 5 + ["HTTPStatus"]
    assert secret_is_nowhere(tmp_path / "run")


def secret_is_nowhere(run: Path) -> bool:
    return not any(path.read_bytes() == b"secret" for path in run.rglob("*") if path.is_file())


def test_a_full_disk_is_no_file_s_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = Files(f"memory://{tmp_path.name}")
    for name in "ab":
        elsewhere.create(f"footage/{name}.mp4", name.encode())
    files = Files(str(tmp_path / "run"))

    def full(_self: Any, _chunk: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Download, "write", full)
        with pytest.raises(OSError, match="No space left"):
            crawl(files, f"{elsewhere.root}/footage", private_addresses=True)
    assert rows_of(files, "status") == []
    crawl(files, f"{elsewhere.root}/footage", private_addresses=True)
    assert rows_of(files, "status") == [("ok",), ("ok",)]


def test_the_command_lists_what_failed_and_goes_on(server: Rough, tmp_path: Path) -> None:
    run = tmp_path / "run"
    (tmp_path / "list.txt").write_text(f"{server.url('/missing')}\nnone.mp4\n")
    allowed = ["--set", "crawl.private_addresses=[127.0.0.0/8]"]
    done = humo("curate", tmp_path / "list.txt", "--out", run, *allowed)
    assert done.code == 1
    assert f"({server.url('/missing')}): HTTPStatus: 404 Not Found" in " ".join(done.text.split())
    assert "done, with 2 failures on record" in done.text
    status = json.loads(humo_directly("status", run, "--json").text)
    assert sorted(line.partition(" (")[2] for line in status["failures"]) == [
        f"{tmp_path}/none.mp4): NotFound: there is no such file",
        f"{server.url('/missing')}): HTTPStatus: 404 Not Found",
    ]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["curate", "gs://bucket/a.mp4"], "gs:// cannot be opened"),
        (["curate", "gopher://host/a.mp4"], "gopher:// can lead to any host"),
        (["curate", "a.mp4", "--out", "gs://bucket/run"], "gs://bucket/run cannot be opened"),
        (["curate", "a.mp4", "--set", "crawl.private_addresses=[me]"], "crawl.private_addresses"),
    ],
)
def test_wrong_use_is_one_line(tmp_path: Path, arguments: list[str], line: str) -> None:
    done = humo(*arguments, *([] if "--out" in arguments else ["--out", tmp_path / "run"]))
    assert done.code == 2, done.text
    assert line in done.text
    assert done.text.count("\n") == 1


def test_version_ids_tell_places_and_versions_apart() -> None:
    assert len({version_id("a", "b"), version_id("a", "c"), version_id("b", "b"), version_id("", "a b")}) == 4
