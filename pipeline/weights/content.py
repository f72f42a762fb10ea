"""What tells one model from another, wherever it lies: its content, read again only where a file changed."""

import hashlib
from functools import cache
from pathlib import Path

from pipeline.weights.locate import cache_folder, checked_at


def content_of(path: Path) -> str:
    """SHA-256 over a file, or over the files of a folder with their names in it; hidden ones are left out.

    Where nothing is there, the path itself: a machine that only reads the run need not have the model, and a run is
    refused there before it starts.
    """
    if path.is_file():
        return _digest(path)
    if not path.is_dir():
        return f"at {path}"
    files = sorted(one.relative_to(path) for one in path.rglob("*") if one.is_file())
    shown = [one for one in files if not any(part.startswith(".") for part in one.parts)]
    said = "\n".join(f"{one.as_posix()} {_digest(path / one)}" for one in shown)
    return hashlib.sha256(said.encode()).hexdigest()


def _digest(path: Path) -> str:
    stat = path.stat()
    return _read(path.absolute(), stat.st_size, stat.st_mtime_ns)


@cache
def _read(path: Path, _size: int, _mtime_ns: int) -> str:
    """Remembered by this process for as long as the file is the same, and in the cache's folder for others."""
    return checked_at(path, record_in=cache_folder(), name=str(path))
