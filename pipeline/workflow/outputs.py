"""What lies at a path, in a few characters: for outputs by their content, for inputs by what listings say of them."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import fsspec

SMALL_BYTES = 1 << 20


class Absent(Exception):
    """There is nothing at the path."""


def content_of(path: str, base: Path) -> str:
    """Digest of a file's bytes, or of the names and bytes of all files of a folder. Raises Absent.

    Of objects elsewhere: of what the store says changes with their content.
    """
    if "://" in path:
        return _elsewhere(path)
    return _digest(base / path, _sha256)


def version_of(path: str, base: Path) -> str:
    """Digest of the names, sizes and times of change of a file or of a folder's files. Raises Absent.

    Of a small file, such as a configuration, of its content: writing it again as it was changes nothing.
    """
    if "://" in path:
        return _elsewhere(path)
    if (base / path).is_file() and (base / path).stat().st_size <= SMALL_BYTES:
        return _sha256(base / path)
    return _digest(base / path, lambda file: f"{file.stat().st_size}-{file.stat().st_mtime_ns}")


def _digest(place: Path, of_file: Callable[[Path], str]) -> str:
    if place.is_file():
        return of_file(place)
    files = sorted(path for path in place.rglob("*") if path.is_file())
    if not files:
        raise Absent(str(place))
    return _joined([(str(path.relative_to(place)), of_file(path)) for path in files])


def _elsewhere(address: str) -> str:
    storage, path = fsspec.core.url_to_fs(address, use_listings_cache=False)
    try:
        found = storage.find(path, detail=True)
    except FileNotFoundError:
        found = {}
    if not found:
        raise Absent(address)
    return _joined([(name, str(info.get("ETag") or storage.ukey(name))) for name, info in sorted(found.items())])


def _joined(parts: list[tuple[str, str]]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
