"""What processes leave on this machine of a run that lies elsewhere."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from uuid import uuid4

import pytest

from pipeline.store.files import Files
from pipeline.store.scratch import folder_for

WORK = """
import sys, time
from pipeline.store.files import Files
folder = Files(sys.argv[1]).scratch()
(folder / "frames").write_bytes(b"somebody's face")
print(folder, flush=True)
time.sleep(float(sys.argv[2]))
"""


def working(root: str, folder: Path, seconds: float) -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", WORK, root, str(seconds)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder)},
    )
    assert process.stdout is not None
    said = process.stdout.readline().strip()
    process.stdout.close()
    return process, Path(said)


@pytest.mark.parametrize("by", ["scratch", "sweep"])
def test_what_a_killed_process_leaves_is_removed_and_the_living_keep_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    files = Files(f"memory://{uuid4().hex}")
    (killed, left), (living, kept) = (working(files.root, tmp_path, 60) for _ in range(2))
    try:
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait()
        assert left.is_dir()
        if by == "scratch":
            assert files.scratch().parent.parent == left.parent.parent
        else:
            files.sweep()
        assert not left.parent.exists()
        assert (kept / "frames").exists()
    finally:
        living.kill()
        living.wait()
    files.sweep()
    assert not kept.parent.exists()


def test_a_process_that_ends_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    root = f"memory://{uuid4().hex}"
    process, _ = working(root, tmp_path, 0)
    assert process.wait() == 0
    assert list(folder_for(root, "scratch").iterdir()) == []
