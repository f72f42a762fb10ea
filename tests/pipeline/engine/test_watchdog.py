"""A worker that does not come back is ended, whatever it is at."""

import subprocess
import sys
from pathlib import Path

import pytest

BEGIN = """
import ctypes, sys, time
from pipeline.engine import watchdog
from pipeline.store.files import Files

watchdog.MARGIN_S = 0.5
files = Files(sys.argv[1])
dog = watchdog.Watchdog(files, memory_mb=4096)
"""
IN_PYTHON = "time.sleep(60)"
HOLDING_THE_LOCK = "ctypes.PyDLL(None).sleep(60)"
NO_WORD = "files.replace = lambda *_: (_ for _ in ()).throw(OSError('the store is gone'))\n"
NO_END_OF_WORD = "files.replace = lambda *_: time.sleep(60)\n"


def ended(code: str, run: Path) -> int:
    return subprocess.run([sys.executable, "-c", BEGIN + code, str(run)], timeout=50, check=False).returncode


def over(work: str, first: str = "") -> str:
    return f"{first}with dog.over(0.3, 'reason'): {work}"


@pytest.mark.parametrize(
    "code",
    [
        over(IN_PYTHON),
        over(HOLDING_THE_LOCK),
        over(IN_PYTHON, NO_WORD),
        over(IN_PYTHON, NO_END_OF_WORD),
        f"with dog.over(0.3, 'reason'):\n    with dog.over(30): pass\n    {HOLDING_THE_LOCK}",
    ],
    ids=["python", "native", "word fails", "word hangs", "native after an inner block"],
)
def test_what_hangs_is_ended(code: str, tmp_path: Path) -> None:
    assert ended(code, tmp_path) == 1
    assert (tmp_path / "reason").exists() == (code == over(IN_PYTHON))


def test_what_ends_in_time_goes_on(tmp_path: Path) -> None:
    assert ended("with dog.over(0.2, 'reason'): pass\ntime.sleep(1.2)\nprint('through')", tmp_path) == 0
    assert not (tmp_path / "reason").exists()
