"""A file on its way: what has arrived, its hash so far, and what a server must show before more is appended."""

import hashlib
from pathlib import Path
from types import TracebackType
from typing import Self

from pipeline.crawl.failure import FetchFailed

GIGABYTE = 10**9


class Download:
    """Bytes written to a file and hashed as they come.

    `etag`: the version of the content that they belong to, in the other side's words; "" where it has none, and then
    a broken download begins again. `known`: the version that is here already, and need not come again; `unchanged`:
    the other side says that it has no other.
    """

    def __init__(self, path: Path, *, max_bytes: int, known: str = "") -> None:
        self.path = path
        self.known = known
        self.unchanged = False
        self.max_bytes = max_bytes
        self.bytes = 0
        self.etag = ""
        self._sha256 = hashlib.sha256()
        self._file = path.open("wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def sha256(self) -> str:
        """Of the bytes so far."""
        return self._sha256.hexdigest()

    def restart(self, etag: str) -> None:
        """Drop what has arrived; what follows belongs to the version `etag`."""
        self._file.seek(0)
        self._file.truncate()
        self._sha256 = hashlib.sha256()
        self.bytes = 0
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

    def finish(self) -> None:
        """Nothing more comes."""
        self._file.flush()
