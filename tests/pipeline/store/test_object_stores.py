"""What object stores answer in a race, by a file system that gives these answers."""

import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from s3fs.errors import translate_boto_error

from pipeline.store import exclusive, outage
from pipeline.store.files import Files
from pipeline.store.outage import StorageFailed
from pipeline.store.snapshots import Bundle, Snapshot, commit, latest
from schemas.errors import UserError


def answer(code: str, status: int) -> Exception:
    """What s3fs raises for an answer of S3."""
    response: Any = {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    translated: Exception = translate_boto_error(ClientError(response, "PutObject"))
    return translated


CONFLICT = ("ConditionalRequestConflict", 409)
EXISTS = ("PreconditionFailed", 412)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    monkeypatch.setattr(exclusive, "PAUSE_S", 0.001)
    monkeypatch.setattr(outage, "PAUSE_S", 0.001)
    return Files(f"memory://{tmp_path.name}/run")


class Answers:
    """Writes to the store, after answers that it gives instead. `applied`: those requests are carried out too."""

    def __init__(self, store: Files, *said: tuple[str, int], applied: bool = False) -> None:
        self._said, self._applied = list(said), applied
        self._pipe, self._put = store._fs.pipe_file, store._fs.put_file

    def pipe_file(self, path: str, data: bytes, mode: str) -> None:
        if self._applied or not self._said:
            self._pipe(path, data, mode=mode)
        if self._said:
            raise answer(*self._said.pop(0))

    def put_file(self, local: str, path: str, mode: str) -> None:
        self.pipe_file(path, Path(local).read_bytes(), mode)


def answering(monkeypatch: pytest.MonkeyPatch, store: Files, *said: tuple[str, int], applied: bool = False) -> None:
    answers = Answers(store, *said, applied=applied)
    monkeypatch.setattr(store._fs, "pipe_file", answers.pipe_file)
    monkeypatch.setattr(store._fs, "put_file", answers.put_file)


def test_an_upload_that_meets_another_of_the_same_name_is_tried_again(
    store: Files, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answering(monkeypatch, store, CONFLICT, CONFLICT)
    assert store.create("media/a", b"same bytes")
    (tmp_path / "b").write_bytes(b"same bytes")
    answering(monkeypatch, store, CONFLICT, EXISTS)
    assert not store.create_from("media/b", tmp_path / "b")


def test_every_form_of_there_is_one_already_is_understood(store: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, store, EXISTS, ("412", 412))
    assert not store.create("media/a", b"x")
    assert not store.create("media/a", b"x")


def test_other_answers_are_the_store_s_failure(store: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, store, ("AccessDenied", 403))
    with pytest.raises(StorageFailed, match="PermissionError"):
        store.create("media/a", b"x")
    monkeypatch.setattr(outage, "FOR_S", 0.0)
    answering(monkeypatch, store, *[CONFLICT] * exclusive.TRIES)
    with pytest.raises(StorageFailed, match="Conflict"):
        store.create("media/a", b"x")


def test_an_outage_is_outlived_and_a_long_one_is_told_from_a_missing_file(
    store: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create("media/a", b"x")
    cat, calls = store._fs.cat_file, 0

    def failing(path: str) -> bytes:
        nonlocal calls
        calls += 1
        if calls <= 3:
            raise EndpointConnectionError(endpoint_url="https://s3.example")
        return bytes(cat(path))

    monkeypatch.setattr(store._fs, "cat_file", failing)
    assert store.read("media/a") == b"x"
    monkeypatch.setattr(outage, "FOR_S", 0.0)
    calls = 0
    with pytest.raises(StorageFailed, match=r"failed at read: EndpointConnectionError.*give the same command again"):
        store.read("media/a")
    calls = 3
    with pytest.raises(FileNotFoundError):
        store.read("media/b")


def test_a_commit_whose_answer_was_lost_is_not_taken_for_another_s(
    store: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = Snapshot().with_bundle("b", Bundle(parts={"clips": "p"}, keys=1, rows=1), {})
    answering(monkeypatch, store, EXISTS, applied=True)
    assert commit(store, Snapshot(), new) == latest(store)
    assert latest(store).number == 1
    with pytest.raises(UserError, match="another command wrote"):
        commit(store, Snapshot(), new.with_work({"seconds.faces": 1.0}))
    assert json.loads(store.read("snapshots/00000001.json"))["work"] == {}
