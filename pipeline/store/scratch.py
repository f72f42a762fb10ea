"""Folders on this machine for work on a run that lies elsewhere, which are found again whatever becomes of the process.

Each process has one, with a lock beside it that the system releases when the process dies, however it dies: whoever
comes next removes the folders of the dead.
"""

import atexit
import fcntl
import hashlib
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import IO

from schemas.errors import UserError

LOCK = ".lock"


def folder_for(root: str, what: str) -> Path:
    """Where files of a run that lies elsewhere are kept on this machine, by what they are; the same every time."""
    digest = hashlib.sha256(root.encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"humo-{os.getuid()}-{what}-{digest}"


def own(path: Path) -> Path:
    """The folder, made where it is not there. Raises UserError where it is somebody else's."""
    path.mkdir(mode=0o700, exist_ok=True)
    if path.is_symlink() or path.stat().st_uid != os.getuid():
        raise UserError(f"{path} belongs to somebody else; remove it, or set TMPDIR to a folder of your own")
    return path


def scratch_folder(root: str) -> Path:
    """An empty folder. It is removed by whoever asked for it, or when another process finds this one dead."""
    return Path(tempfile.mkdtemp(dir=_of_process(root, os.getpid(), tempfile.gettempdir())))


def sweep_dead(root: str) -> None:
    """Remove what dead processes left on this machine."""
    base = folder_for(root, "scratch")
    for lock in own(base).glob(f"*{LOCK}") if base.is_dir() else ():
        with _opened(lock) as file:
            if _taken(file, lock):
                shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
                lock.unlink()


@cache
def _of_process(root: str, pid: int, _tempdir: str) -> Path:
    """This process's folder, and no fork's: locked as long as it lives."""
    sweep_dead(root)
    base = own(folder_for(root, "scratch"))
    while True:
        descriptor, name = tempfile.mkstemp(dir=base, prefix=f"{pid}-", suffix=LOCK)
        file = os.fdopen(descriptor, "wb")
        if _taken(file, Path(name)):
            break
        # Another process took it for a dead one's before it was locked.
        file.close()
    folder = Path(name).with_suffix("")
    folder.mkdir(mode=0o700)
    atexit.register(_leave, folder, file, pid)
    return folder


def _leave(folder: Path, file: IO[bytes], pid: int) -> None:
    if os.getpid() == pid:
        shutil.rmtree(folder, ignore_errors=True)
        folder.with_suffix(LOCK).unlink(missing_ok=True)
        file.close()


def _opened(lock: Path) -> IO[bytes]:
    # Made again where its process is just leaving; then it is removed again.
    return lock.open("ab")


def _taken(file: IO[bytes], path: Path) -> bool:
    """Lock a file; False where another process has it, or removed it before it was locked here."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return path.exists() and path.stat().st_ino == os.fstat(file.fileno()).st_ino
