"""Committed tables on object storage: nothing about them is asked for twice, since they never change."""

import io
from functools import lru_cache
from typing import Any

from fsspec import AbstractFileSystem

KNOWN = 100_000
"""Files of which the facts are kept, 100 MB at the most."""
SMALL = 256 * 1024
"""Bytes up to which a file is read as a whole, and kept."""
HELD = 256
"""Small files that are kept, 64 MB at the most."""


class CommittedFiles(AbstractFileSystem):  # type: ignore[misc]
    """A read-only view of a file system in which no file ever changes.

    DuckDB asks eight times for the facts of a Parquet file before it reads it, and does so for every query; on object
    storage each of these is a request.
    """

    cachable = False

    def __init__(self, within: AbstractFileSystem) -> None:
        super().__init__()
        self.protocol = within.protocol
        self._within = within
        self._facts = lru_cache(maxsize=KNOWN)(within.info)
        self._content = lru_cache(maxsize=HELD)(within.cat_file)

    def info(self, path: str, **_options: Any) -> dict[str, Any]:
        """Facts of a file. Raises FileNotFoundError."""
        facts: dict[str, Any] = self._facts(self._within._strip_protocol(path))
        return facts

    def glob(self, path: str, **_options: Any) -> list[str]:
        """The path itself: tables are named by commits, never searched for."""
        return [path]

    def modified(self, path: str) -> Any:
        """When it was written."""
        return self.info(path).get("LastModified") or self._within.modified(path)

    def open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        """The file, for reading parts of it. Raises FileNotFoundError."""
        size = self.info(path)["size"]
        if size <= SMALL:
            return io.BytesIO(self._content(self._within._strip_protocol(path)))
        return self._within.open(path, mode, size=size, **options)


@lru_cache(maxsize=16)
def committed_in(file_system: AbstractFileSystem) -> CommittedFiles:
    """The view of a file system that all of this process share."""
    return CommittedFiles(file_system)
