"""Reads that a store may refuse for a moment: tried again before they end anything.

That a read failed says nothing about what lies there. So it never counts as damage, which would change what a run
learns for a hiccup of the network.
"""

from collections.abc import Callable
from typing import TypeVar

import fsspec
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from schemas.errors import WorkFailed

TRIES = 8
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0
"""The pause before a second try, at most, and before any; doubled each time. A minute or two altogether."""
T = TypeVar("T")


class ReadFailed(WorkFailed):
    """Something could not be read, however often it was tried."""


class EndsEarly(Exception):
    """A file that was read, and is shorter than it should be."""


def patiently(address: str, read: Callable[[], T]) -> T:
    """What `read` makes of the file at `address`. Raises ReadFailed, and EndsEarly where `read` does."""
    here = "://" not in address or address.startswith("file://")

    def passes(error: BaseException) -> bool:
        # Remote stores also call a file missing that they could not ask for.
        final = EndsEarly, *((FileNotFoundError,) if here else ())
        return isinstance(error, Exception) and not isinstance(error, final)

    grows = wait_random_exponential(multiplier=FIRST_WAIT_S, max=LONGEST_WAIT_S)
    tries = Retrying(stop=stop_after_attempt(TRIES), wait=grows, retry=retry_if_exception(passes), reraise=True)
    try:
        return tries(read)
    except EndsEarly:
        raise
    except Exception as error:  # Every file system has errors of its own.
        raise ReadFailed(f"{address} cannot be read: {type(error).__name__}: {error}") from error


def read_range(address: str, offset: int, length: int) -> bytes:
    """So many bytes of a file anywhere. Raises EndsEarly where the file ends before them, else ReadFailed."""

    def read() -> bytes:
        filesystem, path = fsspec.core.url_to_fs(address)
        with filesystem.open(path, "rb", cache_type="none") as file:
            file.seek(offset)
            content: bytes = file.read(length)
        if len(content) < length:
            missing = offset + length - filesystem.size(path)
            if missing > 0:
                raise EndsEarly(f"{address} ends {missing} bytes too early")
            raise OSError(f"{len(content)} of {length} bytes came")
        return content

    return patiently(address, read)
