"""Media of a run, stored by the hash of their bytes, so that equal media are stored once and none is overwritten.

Sources that were fetched from elsewhere are named by their id, which is the beginning of their hash.
"""

import hashlib
from pathlib import Path

from pipeline.store.files import Files

SUFFIX = {
    "sources": "",
    "clips": ".mp4",
    "audio": ".flac",
    "vocals": ".flac",
    "faces": ".json",
    "references": ".png",
    "thumbnails": ".jpg",
    "frames": ".jpg",
}


def media_path(kind: str, sha256: str) -> str:
    """Path under the run of a medium."""
    return f"media/{kind}/{sha256[:2]}/{sha256}{SUFFIX[kind]}"


def put_media(files: Files, kind: str, data: bytes) -> str:
    """Store bytes and return their SHA-256."""
    sha256 = hashlib.sha256(data).hexdigest()
    files.create(media_path(kind, sha256), data)
    return sha256


def get_media(files: Files, kind: str, sha256: str) -> bytes:
    """The bytes of a medium. Raises FileNotFoundError."""
    return files.read(media_path(kind, sha256))


def local_media(files: Files, kind: str, sha256: str, folder: Path) -> Path:
    """A path on this disk to a medium: the file itself where the run is local, else a copy in `folder`."""
    path = files.local_path(media_path(kind, sha256))
    if path is not None:
        return path
    copy = folder / f"{sha256}{SUFFIX[kind]}"
    if not copy.exists():
        files.fetch(media_path(kind, sha256), copy)
    return copy
