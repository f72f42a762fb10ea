"""Weights come into the cache on the user's word: whole, resumed, checked, or not at all."""

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pipeline.weights import fetch as fetching
from pipeline.weights import locate, table
from pipeline.weights.fetch import fetch
from pipeline.weights.locate import Weights, state_of
from pipeline.weights.weight import Weight, WeightFile
from schemas.errors import UserError, WorkFailed

BODY = bytes(range(256)) * 8192


@dataclass
class Publisher:
    """Files by path, headers of each, and after how many bytes a connection breaks off."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    breaks: list[int] = field(default_factory=list)
    ranges: list[str | None] = field(default_factory=list)


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    about = Publisher()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._headers(200)

        def do_GET(self) -> None:
            body = about.files[self.path]
            asked = self.headers.get("Range")
            about.ranges.append(asked)
            start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
            if start >= len(body):
                self._headers(416)
                return
            self._headers(206 if asked else 200, len(body) - start)
            sent = about.breaks.pop(0) if about.breaks else len(body)
            self.wfile.write(body[start : start + sent])

        def _headers(self, status: int, length: int = 0) -> None:
            self.send_response(status)
            for name, value in about.headers.get(self.path, {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(length))
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    about.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield about
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(locate.CACHE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def weight(*files: WeightFile) -> Weight:
    return Weight(name="w", source="https://example.org", licence="MIT", files=files)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_download_that_breaks_off_goes_on_where_it_was(publisher: Publisher, cache: Path) -> None:
    publisher.files["/a.bin"] = BODY
    publisher.breaks = [300_000, 500_000]
    said: list[str] = []
    made = weight(WeightFile(path="a.bin", url=f"{publisher.url}/a.bin", sha256=sha(BODY)))
    assert state_of(made) == ("missing", "")
    assert (fetch(made, said.append) / "a.bin").read_bytes() == BODY
    assert publisher.ranges == [None, "bytes=300000-", "bytes=800000-"]
    assert any("goes on after" in line for line in said)
    assert state_of(made) == ("present", "")
    fetch(made, said.append)
    assert len(publisher.ranges) == 3, "what is there was fetched again"
    assert not list(cache.rglob("*.partial"))


def test_a_command_that_was_killed_is_resumed_by_the_next(
    publisher: Publisher, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "TRIES", 1)
    publisher.files["/a.bin"], publisher.breaks = BODY, [1_000_000]
    made = weight(WeightFile(path="a.bin", url=f"{publisher.url}/a.bin", sha256=sha(BODY)))
    with pytest.raises(WorkFailed, match="the same command goes on"):
        fetch(made, lambda _: None)
    assert state_of(made)[0] == "incomplete"
    fetch(made, lambda _: None)
    assert publisher.ranges[-1] == "bytes=1000000-"
    assert state_of(made)[0] == "present"


def test_another_file_than_the_table_says_is_not_kept(publisher: Publisher, cache: Path) -> None:
    publisher.files["/a.bin"] = BODY[::-1]
    made = weight(WeightFile(path="a.bin", url=f"{publisher.url}/a.bin", sha256=sha(BODY)))
    with pytest.raises(UserError, match=r"another checksum than expected.*humo fetch w"):
        fetch(made, lambda _: None)
    assert not list(cache.rglob("a.bin*"))


def test_where_the_table_has_no_checksum_the_publishers_counts_from_then_on(publisher: Publisher, cache: Path) -> None:
    small = b'{"a": 1}'
    publisher.files |= {"/big": BODY, "/small": small, "/none": small}
    blob = hashlib.sha1(b"blob %d\0" % len(small) + small).hexdigest()
    publisher.headers = {"/big": {"X-Linked-ETag": f'"{sha(BODY)}"'}, "/small": {"ETag": f'W/"{blob}"'}}
    files = [WeightFile(path=name, url=f"{publisher.url}/{name}", sha256=None) for name in ("big", "small", "none")]
    made = weight(*files[:2])
    fetch(made, lambda _: None)
    assert state_of(made) == ("present", "")
    (cache / "w" / "big").write_bytes(BODY[:-1] + b"x")
    assert state_of(made) == ("wrong", "big has another checksum")
    with pytest.raises(UserError, match="gives no checksum"):
        fetch(weight(files[2]), lambda _: None)
    publisher.headers["/big"] = {"X-Linked-ETag": f'"{"0" * 64}"'}
    (cache / "w" / "big").unlink()
    with pytest.raises(UserError, match="another checksum than published"):
        fetch(made, lambda _: None)


def test_of_an_archive_only_what_the_table_names_is_taken_out(publisher: Publisher, cache: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("pack/det.onnx", b"detector")
        archive.writestr("../../evil.onnx", b"evil")
        archive.writestr("other.onnx", b"not asked for")
    publisher.files["/pack.zip"] = packed.getvalue()
    url, digest = f"{publisher.url}/pack.zip", sha(packed.getvalue())
    path = "models/pack/pack.zip"
    made = weight(WeightFile(path=path, url=url, sha256=digest, unpack=(("det.onnx", sha(b"detector")),)))
    folder = fetch(made, lambda _: None)
    assert [path.name for path in folder.rglob("*.onnx")] == ["det.onnx"]
    assert not list(cache.parent.rglob("evil*"))
    assert state_of(made) == ("present", "")
    wrong = weight(WeightFile(path=path, url=url, sha256=digest, unpack=(("det.onnx", sha(b"another")),)))
    with pytest.raises(UserError, match="another checksum"):
        fetch(wrong, lambda _: None)


def test_weights_are_found_only_where_they_are_whole(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher.files["/a.bin"] = BODY
    made = weight(WeightFile(path="a.bin", url=f"{publisher.url}/a.bin", sha256=sha(BODY)))
    monkeypatch.setattr(table, "weights", lambda: {"w": made})
    with pytest.raises(UserError, match=r"weight w is missing: humo fetch w"):
        Weights({}).find("w")
    fetch(made, lambda _: None)
    assert Weights({}).find("w").version.startswith("w ")
    with pytest.raises(UserError, match="there is no weight 'x'; there are: w"):
        Weights({}).find("x")
    with pytest.raises(UserError, match="no folder"):
        Weights({"w": tmp_path / "nowhere"}).find("w")
    mine = tmp_path / "mine"
    mine.mkdir()
    assert Weights({"w": mine}).find("w").folder == mine


def test_the_table_is_whole() -> None:
    """Every weight has a licence and a source; every file a checksum, or an address at a hub that gives one."""
    names = set()
    for one in table.weights().values():
        assert one.licence
        assert one.source.startswith("https://")
        assert one.name not in names
        names.add(one.name)
        for file in one.files:
            assert file.url.startswith("https://") or file.sha256 is not None
            assert file.sha256 is not None or "huggingface.co/" in file.url
            for sha256 in [file.sha256, *(digest for _, digest in file.unpack)]:
                assert sha256 is None or (len(sha256) == 64 and sha256 == sha256.lower())
    assert "non-commercial" in table.weights()["insightface-buffalo-l"].licence_note
