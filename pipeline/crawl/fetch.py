"""Fetching a place: its bytes on this disk, hashed as they came, or why not."""

import asyncio
import hashlib
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit
from uuid import uuid4

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_random_exponential

from pipeline.crawl.download import GIGABYTE, Download
from pipeline.crawl.failure import FetchFailed
from pipeline.crawl.hosts import LONGEST_WAIT_S, Hosts
from pipeline.crawl.storage import fetch_storage
from pipeline.crawl.web import SCHEMES, Web
from pipeline.stages.crawl import CrawlConfig, etag_of
from schemas.errors import UserError

LONGEST_BACKOFF_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A file's content. `path`: where it was put; the caller's to move or remove. None where it stays in its place."""

    sha256: str
    bytes: int
    etag: str
    path: Path | None


@dataclass(frozen=True, kw_only=True)
class Unchanged:
    """The other side says that the file is what it was."""


class Fetcher:
    """Fetches many places at once, within one event loop."""

    def __init__(self, config: CrawlConfig, hosts: Hosts, folder: Path) -> None:
        self._config = config
        self._hosts = hosts
        self._folder = folder
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        config = self._config
        web = Web(self._hosts, allow_private=config.allow_private, silence_s=config.silence_s, try_s=config.try_s)
        self._web = await self._stack.enter_async_context(web)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def hash_file(self, path: Path) -> Fetched | FetchFailed:
        """The content of a file on this machine, where it lies."""
        async with self._hosts.turn("file://"):
            return await asyncio.to_thread(_hashed, path)

    async def fetch(
        self, uri: str, *, types: tuple[str, ...] | None = None, known: str = ""
    ) -> Fetched | Unchanged | FetchFailed:
        """The content of a file elsewhere, in a new file of the folder; or what its last try came to.

        Args:
            uri: its address.
            types: Content-Types that are taken of the web; None: those of the configuration.
            known: the etag of the version that is here already; "" where none is.
        """
        path = self._folder / uuid4().hex
        whole = False
        try:
            with Download(path, max_bytes=round(self._config.max_gb * GIGABYTE), known=known) as download:
                async for attempt in self._retrying():
                    with attempt:
                        await self._once(uri, download, types or self._config.types)
            whole = not download.unchanged
        except FetchFailed as error:
            return error
        finally:
            if not whole:
                path.unlink()
        if download.unchanged:
            return Unchanged()
        return Fetched(sha256=download.sha256, bytes=download.bytes, etag=download.etag, path=path)

    async def _once(self, uri: str, download: Download, types: tuple[str, ...]) -> None:
        if urlsplit(uri).scheme.lower() in SCHEMES:
            await self._web.fetch(uri, download, types=types)
            return
        async with self._hosts.turn("/".join(uri.split("/")[:3])):
            config = self._config
            await asyncio.to_thread(
                fetch_storage, uri, download, allow_private=config.allow_private, seconds=config.try_s
            )

    def _retrying(self) -> AsyncRetrying:
        grows = wait_random_exponential(multiplier=self._config.backoff_s, max=LONGEST_BACKOFF_S)

        def wait(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome is not None else None
            asked = error.after_s if isinstance(error, FetchFailed) else None
            return max(grows(state), asked or 0.0)

        return AsyncRetrying(
            stop=stop_after_attempt(self._config.attempts), wait=wait, retry=retry_if_exception(_soon), reraise=True
        )


def fetch_list(uri: str, config: CrawlConfig, folder: Path) -> Path:
    """A list that lies elsewhere, on this disk. Raises UserError where it cannot be fetched."""

    async def fetch() -> Fetched | Unchanged | FetchFailed:
        hosts = Hosts(per_host=1, connections=1)
        async with Fetcher(config, hosts, folder) as fetcher:
            return await fetcher.fetch(uri, types=("*",))

    found = asyncio.run(fetch())
    if isinstance(found, FetchFailed):
        raise UserError(f"cannot read the list {uri}: {found}") from found
    assert isinstance(found, Fetched)
    assert found.path is not None
    return found.path


def _soon(error: BaseException) -> bool:
    return isinstance(error, FetchFailed) and error.heals and (error.after_s or 0.0) <= LONGEST_WAIT_S


def _hashed(path: Path) -> Fetched | FetchFailed:
    try:
        etag = etag_of(path)
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
        if etag_of(path) == etag:
            return Fetched(sha256=sha256, bytes=size, etag=etag, path=None)
        return FetchFailed("Dropped", "was changed while it was read", heals=True)
    except FileNotFoundError:
        return FetchFailed("NotFound", "there is no such file", heals=True)
    except OSError as error:
        return FetchFailed("StorageError", f"{error.strerror}", heals=True)
