"""One writer at a time, on a disk and where there are no locks."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import EndpointConnectionError

from pipeline.store import claims
from pipeline.store.files import Files
from pipeline.store.snapshots import Bundle, Snapshot, commit
from pipeline.store.writer import writing
from schemas.errors import UserError


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Files:
    """A run without locks, where writers give signs of life quickly."""
    monkeypatch.setattr(claims, "BEAT_S", 0.2)
    monkeypatch.setattr(claims, "LOOK_S", 0.02)
    return Files(f"memory://{uuid4().hex}")


def test_on_a_disk_the_second_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    files = Files(str(tmp_path))
    with writing(files), pytest.raises(UserError, match="another command is writing"), writing(files):
        pass
    with writing(files):
        pass


def test_elsewhere_the_second_is_refused_until_the_first_ends(elsewhere: Files) -> None:
    with writing(elsewhere):
        with pytest.raises(UserError, match="another command is writing .*process"), writing(elsewhere):
            pass
        assert len(elsewhere.names(claims.FOLDER)) == 1, "the first's claim stays"
    began = time.monotonic()
    with writing(elsewhere):
        assert time.monotonic() - began < 0.2, "nobody is waited for"
    assert elsewhere.names(claims.FOLDER) == []


def test_a_writer_that_was_killed_is_outlived(elsewhere: Files) -> None:
    elsewhere.create(f"{claims.FOLDER}/killed.json", claims._said(7))
    began = time.monotonic()
    with writing(elsewhere):
        assert time.monotonic() - began > claims.DEAD_AFTER * claims.BEAT_S
        assert "killed.json" not in elsewhere.names(claims.FOLDER)


def test_a_writer_that_ends_while_it_is_watched_is_not_waited_for(elsewhere: Files) -> None:
    elsewhere.create(f"{claims.FOLDER}/ends.json", claims._said(7))
    threading.Timer(0.1, elsewhere.remove, [f"{claims.FOLDER}/ends.json"]).start()
    began = time.monotonic()
    with writing(elsewhere):
        assert time.monotonic() - began < claims.DEAD_AFTER * claims.BEAT_S


def test_of_many_that_come_at_once_never_two_write(elsewhere: Files) -> None:
    inside, most = 0, 0
    guard = threading.Lock()

    def write(_number: int) -> bool:
        nonlocal inside, most
        try:
            with writing(Files(elsewhere.root)):
                with guard:
                    inside += 1
                    most = max(most, inside)
                time.sleep(0.5)
                with guard:
                    inside -= 1
        except UserError:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        wrote = list(pool.map(write, range(6)))
    assert most == 1
    assert any(wrote)
    assert elsewhere.names(claims.FOLDER) == []


def test_a_store_that_cannot_be_reached_for_a_moment_ends_no_claim(
    elsewhere: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, calls = elsewhere.replace, 0

    def failing_at_first(path: str, data: bytes) -> None:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise EndpointConnectionError(endpoint_url="https://s3.example")
        replace(path, data)

    monkeypatch.setattr(elsewhere, "replace", failing_at_first)
    with writing(elsewhere):
        time.sleep((claims.DEAD_AFTER + 1) * claims.BEAT_S)
        with pytest.raises(UserError, match="another command is writing"), writing(Files(elsewhere.root)):
            pass
        commit(elsewhere, Snapshot(), some_rows())


def test_nothing_is_committed_after_a_silence_in_which_others_may_have_come(
    elsewhere: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any) -> None:
        raise EndpointConnectionError(endpoint_url="https://s3.example")

    with writing(elsewhere):
        monkeypatch.setattr(elsewhere, "replace", failing)
        time.sleep((claims.DEAD_AFTER + 1) * claims.BEAT_S)
        with pytest.raises(UserError, match="could not be reached for so long"):
            commit(elsewhere, Snapshot(), some_rows())
    commit(elsewhere, Snapshot(), some_rows())


def some_rows() -> Snapshot:
    return Snapshot().with_bundle("b", Bundle(parts={"clips": "p"}, keys=1, rows=1), {})
