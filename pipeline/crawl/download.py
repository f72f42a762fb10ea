"""A file on its way: what has arrived, its hash so far, and what is known of it if everything ends right now."""

import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.crawl.failure import FetchFailed

GIGABYTE = 10**9
SYNC_BYTES = 16 * 2**20
"""So much may arrive between two points from which a killed download goes on."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """What is known of a download after a kill: the first `bytes` bytes of version `etag` are on the disk.

    `sha256`: of the whole file, which then is no longer here but where whole files are kept.
    """

    etag: str = ""
    bytes: int = 0
    sha256: str | None = None


class Download:
    """Bytes written to a file and hashed as they come; what an earlier try left there is gone on with.

    `etag`: the version of the content that they belong to, in the other side's words; "" where it has none, and then
    a broken download begins again. `seconds`: how long it was worked at.
    """

    def __init__(self, folder: Path, name: str, *, max_bytes: int) -> None:
        self.path = folder / f"{name}.part"
        self._mark_path = folder / f"{name}.json"
        self.max_bytes = max_bytes
        self.seconds = 0.0
        mark = self.mark()
        there = self.path.stat().st_size if self.path.is_file() else 0
        keep = mark.bytes if mark.etag and mark.sha256 is None and there >= mark.bytes else 0
        self.bytes = keep
        self.etag = mark.etag if keep else ""
        self._synced = keep
        self._sha256 = hashlib.sha256()
        self._file = self.path.open("r+b" if keep else "wb")
        if keep:
            # Bytes beyond the mark may be holes after a power cut.
            self._file.truncate(keep)
            while chunk := self._file.read(2**20):
                self._sha256.update(chunk)

    @property
    def sha256(self) -> str:
        """Of the bytes so far."""
        return self._sha256.hexdigest()

    @property
    def due(self) -> bool:
        """Whether so much arrived that it should be made safe."""
        return self.bytes - self._synced >= SYNC_BYTES

    def mark(self) -> Mark:
        """What an earlier try left word of."""
        try:
            return Mark(**json.loads(self._mark_path.read_bytes()))
        except (FileNotFoundError, ValueError, TypeError):
            return Mark()

    def restart(self, etag: str) -> None:
        """Drop what has arrived; what follows belongs to the version `etag`."""
        self._file.seek(0)
        self._file.truncate()
        self._sha256 = hashlib.sha256()
        self.bytes = self._synced = 0
        self.etag = etag

    def expect(self, total: int) -> None:
        """Refuse a file of so many bytes before it arrives. Raises FetchFailed where that is too many."""
        if total > self.max_bytes:
            raise FetchFailed("TooLarge", f"{total} bytes, and {self.max_bytes / GIGABYTE:g} GB is the limit")

    def write(self, chunk: bytes) -> None:
        """Append. Raises FetchFailed where the file becomes too large."""
        if self.bytes + len(chunk) > self.max_bytes:
            raise FetchFailed("TooLarge", f"still coming after {self.max_bytes / GIGABYTE:g} GB, which is the limit")
        self._file.write(chunk)
        self._sha256.update(chunk)
        self.bytes += len(chunk)

    def sync(self) -> None:
        """Make safe what has arrived: a download that is killed from here on goes on here."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._write_mark(Mark(etag=self.etag, bytes=self.bytes))
        self._synced = self.bytes

    def flush(self) -> None:
        """Let others who open the file see all that arrived."""
        self._file.flush()

    def finished(self) -> None:
        """Leave word that the whole file lies where whole files are kept."""
        self._file.close()
        self._write_mark(Mark(etag=self.etag, bytes=self.bytes, sha256=self.sha256))

    def was_finished(self) -> None:
        """Leave the word that an earlier try left: the whole file lies where whole files are kept."""
        self._file.close()
        self.path.unlink()

    def close(self, *, keep: bool) -> None:
        """End it; what has arrived is kept for another try, or not."""
        if self._file.closed:
            return
        if keep and self.etag and self.bytes:
            self.sync()
        keeps_part = keep and self._synced > 0
        self._file.close()
        if not keeps_part:
            self.path.unlink(missing_ok=True)
        if not keep:
            self._mark_path.unlink(missing_ok=True)

    @contextmanager
    def worked_at(self) -> Iterator[None]:
        """Count the time spent inside."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds += time.monotonic() - began

    def _write_mark(self, mark: Mark) -> None:
        beside = self._mark_path.with_suffix(".new")
        beside.write_text(json.dumps(asdict(mark)))
        beside.replace(self._mark_path)


def forget(folder: Path, name: str) -> None:
    """Remove what is known of a download, once its row is committed."""
    for suffix in (".json", ".part"):
        (folder / f"{name}{suffix}").unlink(missing_ok=True)
