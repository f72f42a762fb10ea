"""A store's hiccup is not damage."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from training import reading
from training.config import TrainingConfig
from training.dataset import open_shard_set
from training.loader import Batches, batches_from
from training.plan import Plan
from training.reading import EndsEarly, ReadFailed, read_range
from training.trainer import train

CONTENT = bytes(range(256)) * 40


class Store(BaseHTTPRequestHandler):
    """Serves ranges of the files below `folder`, after the troubles that are left in its list."""

    folder: Path
    troubles: list[str]

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        trouble = self.troubles.pop(0) if self.troubles else ""
        if trouble == "drop":
            self.close_connection = True
            return
        if trouble == "busy":
            self.send_error(503)
            return
        content = (self.folder / self.path.strip("/")).read_bytes()
        size, start, end = len(content), 0, len(content)
        if wanted := self.headers.get("Range"):
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last or size) + 1, size)
        self.send_response(206 if wanted else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        self.send_header("Content-Length", str(end - start))
        self.end_headers()
        if body:
            self.wfile.write(content[start:end][: 10 if trouble == "cut" else None])
            self.close_connection = trouble == "cut"

    def log_message(self, *given: object) -> None:
        pass


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, type[Store]]]:
    """Its address, and the class whose `troubles` come first."""
    monkeypatch.setattr(reading, "FIRST_WAIT_S", 0.01)
    handler = type("Here", (Store,), {"folder": tmp_path, "troubles": []})
    (tmp_path / "file").write_bytes(CONTENT)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", handler
        server.shutdown()


@pytest.mark.parametrize("troubles", [["busy"] * 4, ["drop"] * 4, ["", "cut"], ["", "busy", "", "drop"]])
def test_a_store_that_fails_and_then_serves(troubles: list[str], store: tuple[str, type[Store]]) -> None:
    address, handler = store
    handler.troubles = [*troubles]
    assert read_range(f"{address}/file", 300, 700) == CONTENT[300:1000]
    assert handler.troubles == []


def test_one_that_never_serves_and_one_whose_file_is_too_short(store: tuple[str, type[Store]]) -> None:
    address, handler = store
    with pytest.raises(EndsEarly, match="file ends 100 bytes too early"):
        read_range(f"{address}/file", len(CONTENT) - 600, 700)
    handler.troubles = ["busy"] * 1000
    with pytest.raises(ReadFailed, match=r"file cannot be read: \w+"):
        read_range(f"{address}/file", 300, 700)
    assert len(handler.troubles) <= 1000 - reading.TRIES


def test_a_missing_file_here_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "wait_random_exponential", lambda **given: pytest.fail)
    with pytest.raises(ReadFailed, match="FileNotFoundError"):
        read_range(str(tmp_path / "absent"), 0, 1)


def test_batches_are_those_without_trouble(
    shards: Path, store: tuple[str, type[Store]], small_config: Callable[..., TrainingConfig]
) -> None:
    """Also in forked workers, of which each has connections of its own."""
    address, handler = store
    handler.folder = shards.parent
    config = small_config()
    there, here = open_shard_set(address), open_shard_set(str(shards))
    plan = Plan(here.rows, data=config.data, stages=config.stages, seed=0)
    expected = Batches(here, plan, config)[7]
    handler.troubles = ["busy", "", "cut", "drop"]
    found = Batches(there, plan, config)[7]
    [last] = list(batches_from(Batches(there, plan, config), 8, workers=1))
    for batch in (found, last):
        assert batch.damaged == ()
        assert batch.weight_b.all()
    assert found.keys == expected.keys
    assert found.video_bfhwc.equal(expected.video_bfhwc)  # type: ignore[attr-defined]


def test_a_run_stops_with_a_line_and_blames_no_sample(
    shards: Path, tmp_path: Path, small_config: Callable[..., TrainingConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = reading.read_range

    def fails(address: str, offset: int, length: int) -> bytes:
        if "sync" in address and offset:
            raise ReadFailed(f"{address} cannot be read: gone")
        return read(address, offset, length)

    monkeypatch.setattr("training.samples.read_range", fails)
    with pytest.raises(ReadFailed, match=r"^step \d: .*train-sync-\w+.tar cannot be read: gone. Once it can be read"):
        train(small_config(), data=str(shards), out=tmp_path / "out", resume=False)
    assert not (tmp_path / "out" / "damaged.jsonl").exists()
