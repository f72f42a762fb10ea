"""Files are written whole and once; a kill leaves the old state or the new one."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import pytest

from pipeline.store.files import Files
from pipeline.store.snapshots import FORMAT, Bundle, Snapshot, commit, latest, snapshot_path
from pipeline.store.writer import writing
from schemas.errors import UserError


def bundled(snapshot: Snapshot, path: str) -> Snapshot:
    return snapshot.with_bundle(path, Bundle(parts={"clips": path}, keys=1, rows=1), {})


def roots(tmp_path: Path) -> list[str]:
    return [str(tmp_path / "run"), f"memory://{tmp_path.name}/run"]


def test_the_first_write_wins(tmp_path: Path) -> None:
    for root in roots(tmp_path):
        files = Files(root)
        assert files.create("tables/a/1.parquet", b"first")
        assert not files.create("tables/a/1.parquet", b"second")
        assert files.read("tables/a/1.parquet") == b"first"
        assert files.names("tables/a") == ["1.parquet"]
        assert files.names("tables/none") == []


@pytest.mark.parametrize("write", ["create", "replace"])
def test_a_name_is_on_the_disk_as_its_bytes_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: str) -> None:
    named: list[bool] = []

    def sync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            named.append(
                os.path.samestat(os.fstat(descriptor), (tmp_path / "a").stat()) and (tmp_path / "a/b").exists()
            )

    monkeypatch.setattr(os, "fsync", sync)
    getattr(Files(str(tmp_path)), write)("a/b", b"x")
    assert named == [True]


def test_of_many_writers_one_wins(tmp_path: Path) -> None:
    files = Files(str(tmp_path))
    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(lambda n: files.create("x", bytes([n]) * 100_000), range(32)))
    assert won.count(True) == 1
    assert set(files.read("x")) == {won.index(True)}
    assert files.names("") == ["x"]


def test_a_killed_writer_leaves_no_half_file(tmp_path: Path) -> None:
    code = (
        "import sys; from pipeline.store.files import Files; files = Files(sys.argv[1]); n = 0\n"
        "while True: files.create(f'part{n}', b'x' * 3_000_000); n += 1"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    deadline = time.monotonic() + 30
    while len(Files(str(tmp_path)).names("")) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    files = Files(str(tmp_path))
    names = files.names("")
    assert len(names) >= 5
    assert {files.size(name) for name in names} == {3_000_000}
    files.sweep()
    assert {path.name for path in tmp_path.iterdir()} == set(names)


def test_two_commits_on_one_base_do_not_both_count(tmp_path: Path) -> None:
    for root in roots(tmp_path):
        files = Files(root)
        base = latest(files)
        first = commit(files, base, bundled(base, "p1"))
        with pytest.raises(UserError, match="another command wrote"):
            commit(files, base, bundled(base, "p2"))
        assert latest(files) == first
        assert latest(files).paths() == {"p1"}


def test_a_number_that_was_deleted_meanwhile_is_not_committed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = Files(str(tmp_path))
    old = commit(files, Snapshot(), bundled(Snapshot(), "p1"))

    def others_write_and_clean_up() -> None:
        now = commit(files, old, bundled(old, "p2"))
        commit(files, now, bundled(now, "p3"))
        files.remove(snapshot_path(1))
        files.remove(snapshot_path(2))

    others_write_and_clean_up()
    with pytest.raises(UserError, match="another command wrote"):
        commit(files, old, bundled(old, "mine"))
    assert latest(files).paths() == {"p1", "p2", "p3"}
    # The same between the look and the creation.
    for number in (2, 3):
        files.remove(snapshot_path(number))
    files.create(snapshot_path(1), json.dumps({"format": FORMAT, **asdict(old)}).encode())
    create = files.create

    def create_late(path: str, data: bytes) -> bool:
        monkeypatch.undo()
        others_write_and_clean_up()
        return create(path, data)

    monkeypatch.setattr(files, "create", create_late)
    with pytest.raises(UserError, match="another command wrote"):
        commit(files, old, bundled(old, "mine"))
    assert latest(files).paths() == {"p1", "p2", "p3"}


def test_a_commit_without_change_is_none(tmp_path: Path) -> None:
    files = Files(str(tmp_path))
    first = commit(files, Snapshot(), bundled(Snapshot(), "p1"))
    again = commit(files, first, bundled(first, "p1"))
    assert again.number == first.number == 1
    assert files.names("snapshots") == ["00000001.json"]


def test_a_second_writer_is_refused_and_a_dead_one_forgotten(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pipeline.store.files import Files; from pipeline.store.writer import writing\n"
        "with writing(Files(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with pytest.raises(UserError, match="another command is writing"), writing(Files(str(tmp_path))):
        pass
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with writing(Files(str(tmp_path))):
        pass
