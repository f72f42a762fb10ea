"""A server that behaves badly in every way: each ends as it should, and what can heal heals."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.crawl.download import SYNC_BYTES
from pipeline.crawl.fetch import Asked, Failed, Fetched, Keeping, Outcome, Unchanged
from pipeline.crawl.place import Place
from pipeline.crawl.window import fetch_all
from pipeline.stages.options.crawl import CrawlConfig
from tests.pipeline.crawl.rough_server import Rough, body_of, rough_server

QUICK: dict[str, Any] = {"backoff_s": 0.01, "attempts": 3, "private_addresses": ("127.0.0.1",)}


@pytest.fixture
def server() -> Iterator[Rough]:
    with rough_server() as running:
        yield running


def fetched(folder: Path, *urls: str, etag: str = "", **config: Any) -> list[Outcome]:
    """What came of each address, in their order; whole files lie in `folder`/kept by their hash."""
    (folder / "fetching").mkdir(exist_ok=True)
    (folder / "kept").mkdir(exist_ok=True)
    keeping = Keeping(
        folder=folder / "fetching",
        keep=lambda path, sha256: path.replace(folder / "kept" / sha256) and None,
        unwanted_etag=lambda _uri, _etag: False,
        unwanted=lambda _sha256: False,
    )
    asked = (Asked(place=Place(uri=url), etag=etag) for url in urls)
    outcomes = {one.place.uri: outcome for one, outcome in fetch_all(asked, CrawlConfig(**QUICK | config), keeping)}
    return [outcomes[url] for url in urls]


def error_of(outcome: Outcome) -> str:
    assert isinstance(outcome, Failed), outcome
    return str(outcome.error)


def test_dropped_connections_go_on_where_they_broke_off(server: Rough, tmp_path: Path) -> None:
    body = server.bodies["/dropping/a"] = body_of("a", 1_500_000)
    (outcome,) = fetched(tmp_path, server.url("/dropping/a"), attempts=4)
    assert isinstance(outcome, Fetched)
    assert outcome.sha256 == hashlib.sha256(body).hexdigest()
    assert (tmp_path / "kept" / outcome.sha256).read_bytes() == body
    assert server.record.sent["/dropping/a"] == len(body), "every byte was sent once"
    assert server.record.ranges("/dropping/a") == [None, "bytes=400000-", "bytes=800000-", "bytes=1200000-"]


def test_a_busy_host_is_waited_for_as_it_asks(server: Rough, tmp_path: Path) -> None:
    server.bodies["/busy/a"] = b"content"
    (outcome,) = fetched(tmp_path, server.url("/busy/a"))
    assert isinstance(outcome, Fetched)
    first, second, third = server.record.times["/busy/a"]
    assert second - first >= 1
    assert third - second >= 1


def test_what_does_not_heal_is_tried_once_and_what_may_as_often_as_allowed(server: Rough, tmp_path: Path) -> None:
    urls = [server.url(path) for path in ("/missing", "/never", "/html/page", "/loop", "/scheme")]
    missing, never, html, loop, scheme = fetched(tmp_path, *urls)
    assert error_of(missing) == "HTTPStatus: 404 Not Found"
    assert error_of(never) == "HTTPStatus: 503 Service Unavailable"
    assert error_of(html) == "WrongType: is text/html, which crawl.types does not name"
    assert error_of(loop) == "BadAddress: is redirected more than 10 times"
    assert error_of(scheme) == "BadAddress: leads to file, which is not fetched from the web"
    asked = [path for path, _, _ in server.record.asked]
    assert [asked.count(path) for path in ("/missing", "/never", "/html/page")] == [1, 3, 1]
    assert list((tmp_path / "fetching").iterdir()) == []


@pytest.mark.parametrize("inside", ["127.0.0.2", "localhost.localdomain", "[::1]", "0.0.0.0"])
def test_a_redirect_to_a_private_address_is_refused(server: Rough, tmp_path: Path, inside: str) -> None:
    server.bodies["/file/a"] = b"secret"
    if inside == "localhost.localdomain":
        # Resolves to 127.0.0.1, which is not among those allowed here.
        (outcome,) = fetched(tmp_path, server.url("/file/a", "localhost"), private_addresses=("127.0.0.9",))
    else:
        (outcome,) = fetched(tmp_path, server.url(f"/to/{inside}/file/a"))
    assert error_of(outcome).startswith("PrivateAddress: leads to ")
    assert server.record.sent["/file/a"] == 0


def test_redirects_are_followed_where_they_may_lead(server: Rough, tmp_path: Path) -> None:
    server.bodies["/file/a"] = b"content"
    (outcome,) = fetched(tmp_path, server.url("/to/127.0.0.1/file/a"))
    assert isinstance(outcome, Fetched)
    (outcome,) = fetched(tmp_path, server.url("/file/a"), private_addresses=False)
    assert error_of(outcome).startswith("PrivateAddress: leads to 127.0.0.1, which is not on the public internet")
    (outcome,) = fetched(tmp_path, server.url("/file/a", "localhost"), private_addresses=True)
    assert isinstance(outcome, Fetched)


def test_a_name_that_resolves_otherwise_when_it_counts_gains_nothing(
    server: Rough, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    answers = iter(["93.184.216.34", "127.0.0.1", "127.0.0.1"])
    real = socket.getaddrinfo

    def rebinding(host: Any, port: Any, *args: Any, **more: Any) -> Any:
        return real(next(answers), port, *args, **more) if host == "rebinding.example" else real(host, port, *args)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    assert socket.getaddrinfo("rebinding.example", 80)[0][4][0] == "93.184.216.34", "public when first looked up"
    (outcome,) = fetched(tmp_path, server.url("/file/a", "rebinding.example"), private_addresses=False)
    assert error_of(outcome).startswith("PrivateAddress: leads to 127.0.0.1")
    assert server.record.asked == []


def test_a_length_that_says_too_much_is_noticed(server: Rough, tmp_path: Path) -> None:
    (outcome,) = fetched(tmp_path, server.url("/toolong/a"))
    assert error_of(outcome) == "Dropped: the connection broke after 600 bytes"
    assert list((tmp_path / "kept").iterdir()) == []


def test_bytes_beyond_the_length_are_nobodys(server: Rough, tmp_path: Path) -> None:
    server.bodies["/file/b"] = b"another"
    first, second = fetched(tmp_path, server.url("/tooshort/a"), server.url("/file/b"), connections=1)
    # Noticed where they come along with the others; else they are left on a connection that nobody uses again.
    if isinstance(first, Fetched):
        assert first.sha256 == hashlib.sha256(b"x" * 600).hexdigest()
    else:
        assert error_of(first).startswith("BadResponse: ")
    assert isinstance(second, Fetched)
    assert second.sha256 == hashlib.sha256(b"another").hexdigest()


def test_gigabytes_of_nothing_end_at_the_limit(server: Rough, tmp_path: Path) -> None:
    began = time.monotonic()
    (outcome,) = fetched(tmp_path, server.url("/endless/a"), max_gb=0.05)
    assert error_of(outcome) == "TooLarge: still coming after 0.05 GB, which is the limit"
    assert time.monotonic() - began < 10
    assert server.record.sent["/endless/a"] < 80_000_000
    assert list((tmp_path / "fetching").iterdir()) == []
    server.bodies["/file/large"] = bytes(60_000)
    (outcome,) = fetched(tmp_path, server.url("/file/large"), max_gb=0.00005)
    assert error_of(outcome) == "TooLarge: 60000 bytes, and 5e-05 GB is the limit"


def test_versions_are_not_mixed(server: Rough, tmp_path: Path) -> None:
    changing, liar = fetched(tmp_path, server.url("/changing/a"), server.url("/liar/a"))
    assert isinstance(changing, Fetched)
    assert changing.sha256 == hashlib.sha256(b"the last version").hexdigest()
    assert isinstance(liar, Fetched)
    assert liar.sha256 == hashlib.sha256(body_of("second", 900_000)).hexdigest()


def test_a_known_version_is_not_sent_again(server: Rough, tmp_path: Path) -> None:
    server.bodies["/file/a"] = b"content"
    (first,) = fetched(tmp_path, server.url("/file/a"))
    assert isinstance(first, Fetched)
    (second,) = fetched(tmp_path, server.url("/file/a"), etag=first.etag)
    assert isinstance(second, Fetched), "fetched, but its row was never committed"
    assert second.sha256 == first.sha256
    for left in (tmp_path / "fetching").iterdir():
        left.unlink()
    (third,) = fetched(tmp_path, server.url("/file/a"), etag=first.etag)
    assert isinstance(third, Unchanged)
    assert server.record.sent["/file/a"] == len(b"content")


def test_a_silent_server_and_a_slow_file_time_out(server: Rough, tmp_path: Path) -> None:
    server.bodies["/stalling/a"] = bytes(41 * 2**20)
    (outcome,) = fetched(tmp_path, server.url("/stalling/a"), silence_s=2.0, attempts=1)
    # 40 MiB came, so there is another try; it brings the rest.
    assert isinstance(outcome, Fetched)
    server.bodies["/stalling/b"] = bytes(41 * 2**20)
    (outcome,) = fetched(tmp_path, server.url("/stalling/b"), file_s=1.0)
    assert error_of(outcome).startswith("TimedOut: took more than 1 s (crawl.file_s) after")


def test_no_more_at_once_than_a_host_is_asked_for(server: Rough, tmp_path: Path) -> None:
    urls = [server.url(f"/slow/{number}") for number in range(12)]
    server.bodies.update({f"/slow/{number}": b"%d" % number for number in range(12)})
    outcomes = fetched(tmp_path, *urls, per_host=3)
    assert all(isinstance(outcome, Fetched) for outcome in outcomes)
    assert server.record.most_at_once == 3


def test_one_place_named_twice_is_fetched_once(server: Rough, tmp_path: Path) -> None:
    server.bodies["/slow/a"] = b"content"
    fetched(tmp_path, *[server.url("/slow/a")] * 3)
    assert server.record.sent["/slow/a"] == len(b"content")


def test_a_killed_download_goes_on(server: Rough, tmp_path: Path) -> None:
    body = server.bodies["/stalling/a"] = body_of("a", 48 * 2**20)
    code = (
        "import sys; from pathlib import Path; from tests.pipeline.crawl.test_web import fetched; "
        "fetched(Path(sys.argv[1]), sys.argv[2])"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), server.url("/stalling/a")])
    deadline = time.monotonic() + 30
    while server.record.sent["/stalling/a"] < 40 * 2**20 and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    (part,) = (tmp_path / "fetching").glob("*.part")
    safe: int = json.loads(part.with_suffix(".json").read_text())["bytes"]
    assert part.stat().st_size > safe >= 2 * SYNC_BYTES
    with part.open("r+b") as file:
        # What a power cut may leave beyond the mark.
        file.seek(safe)
        file.write(bytes(4096))
    (outcome,) = fetched(tmp_path, server.url("/stalling/a"))
    assert isinstance(outcome, Fetched)
    assert outcome.sha256 == hashlib.sha256(body).hexdigest()
    assert server.record.ranges("/stalling/a") == [None, f"bytes={safe}-"]
