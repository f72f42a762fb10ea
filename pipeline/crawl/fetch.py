"""Fetching a place: its bytes hashed as they come and put where they are kept, or why not."""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_random_exponential

from pipeline.crawl.download import GIGABYTE, Download, Mark
from pipeline.crawl.failure import FetchFailed
from pipeline.crawl.hosts import LONGEST_WAIT_S, Hosts
from pipeline.crawl.place import Place
from pipeline.crawl.storage import fetch_storage
from pipeline.crawl.web import SCHEMES, Web
from pipeline.crawl.wish import Ended, Wish
from pipeline.stages.crawl import NO_VERSION, etag_of, location_id
from pipeline.stages.options.crawl import CrawlConfig

LONGEST_BACKOFF_S = 60.0
PROGRESS_BYTES = 2**20
"""A try that brought so much counts as none: a large file over a bad line needs many."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A place, and the version of it that is known already; "" for none."""

    place: Place
    etag: str = ""


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A file's content. `kept`: whether its bytes were put where fetched files are kept; else it lies in its place."""

    sha256: str
    bytes: int
    etag: str
    kept: bool


@dataclass(frozen=True, kw_only=True)
class Unchanged:
    """The place holds the version that was known."""


@dataclass(frozen=True, kw_only=True)
class Unwanted:
    """The place holds what must not come back; nothing of it was kept. `etag`: "" where it was known as such."""

    etag: str


@dataclass(frozen=True, kw_only=True)
class Failed:
    """What the last of so many tries came to."""

    error: FetchFailed
    attempts: int


Outcome = Fetched | Unchanged | Unwanted | Failed


@dataclass(frozen=True, kw_only=True)
class Keeping:
    """What becomes of fetched bytes.

    `folder`: on this disk, for files on their way. `keep`: takes a whole file (path, SHA-256) away from there, and
    returns when it is safe.
    `unwanted_etag`: whether this version (uri, etag) must not come. `unwanted`: the same of a SHA-256.
    """

    folder: Path
    keep: Callable[[Path, str], None]
    unwanted_etag: Callable[[str, str], bool]
    unwanted: Callable[[str], bool]


class Fetcher:
    """Fetches many places at once, within one event loop."""

    def __init__(self, config: CrawlConfig, keeping: Keeping) -> None:
        self._config = config
        self._keeping = keeping
        self._hosts = Hosts(per_host=config.per_host, connections=config.connections)
        self._web = Web(self._hosts, private_addresses=config.private_addresses, silence_s=config.silence_s)

    async def close(self) -> None:
        """Let go of all connections."""
        await self._web.close()

    async def __call__(self, asked: Asked) -> Outcome:
        """The content of a place, or why there is none."""
        place = asked.place
        if place.refusal is not None:
            return Failed(error=place.refusal, attempts=0)
        if place.path is not None:
            async with self._hosts.turn("file://"):
                return await asyncio.to_thread(self._here, asked, place.path)
        if asked.etag == NO_VERSION:
            return Unchanged()
        try:
            return await self._elsewhere(asked)
        except FetchFailed as error:
            return Failed(error=error, attempts=1)

    def _here(self, asked: Asked, path: Path) -> Outcome:
        try:
            etag = etag_of(path)
            if etag == asked.etag:
                return Unchanged()
            if self._keeping.unwanted_etag(asked.place.uri, etag):
                return Unwanted(etag="")
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
                size = file.tell()
            changed = etag_of(path) != etag
        except FileNotFoundError:
            return Failed(error=FetchFailed("NotFound", "there is no such file"), attempts=1)
        except OSError as error:
            return Failed(error=FetchFailed("StorageError", f"cannot be read: {error.strerror}"), attempts=1)
        if changed:
            return Failed(error=FetchFailed("Dropped", "was changed while it was read"), attempts=1)
        if self._keeping.unwanted(sha256):
            return Unwanted(etag=etag)
        return Fetched(sha256=sha256, bytes=size, etag=etag, kept=False)

    async def _elsewhere(self, asked: Asked) -> Outcome:
        keeping = self._keeping
        uri = asked.place.uri
        max_bytes = round(self._config.max_gb * GIGABYTE)
        download = await asyncio.to_thread(Download, keeping.folder, location_id(uri), max_bytes=max_bytes)
        # What a killed crawl fetched whole has no row yet, but lies where it belongs.
        mark = download.mark()
        wish = Wish(
            types=self._config.types,
            seconds=self._config.file_s,
            known_etag=mark.etag if mark.sha256 else asked.etag,
            unwanted=lambda etag: keeping.unwanted_etag(uri, etag),
            any_host=self._config.private_addresses is True,
        )
        keep_part = True
        attempts = 0
        try:
            async for attempt in self._retrying(download):
                attempts = attempt.retry_state.attempt_number
                with attempt:
                    end = await self._once(uri, download, wish)
            keep_part = False
            return await asyncio.to_thread(self._ended, end, download, mark)
        except FetchFailed as error:
            keep_part = error.heals or error.kind == "TimedOut"
            return Failed(error=error, attempts=attempts)
        finally:
            await asyncio.to_thread(download.close, keep=keep_part)

    def _ended(self, end: Ended, download: Download, mark: Mark) -> Outcome:
        if end == "unwanted":
            return Unwanted(etag="")
        if end == "unchanged":
            if mark.sha256 is None:
                return Unchanged()
            download.was_finished()
            return Fetched(sha256=mark.sha256, bytes=mark.bytes, etag=mark.etag, kept=True)
        if self._keeping.unwanted(download.sha256):
            return Unwanted(etag=download.etag)
        download.flush()
        self._keeping.keep(download.path, download.sha256)
        download.finished()
        return Fetched(sha256=download.sha256, bytes=download.bytes, etag=download.etag, kept=True)

    async def _once(self, uri: str, download: Download, wish: Wish) -> Ended:
        if urlsplit(uri).scheme.lower() in SCHEMES:
            return await self._web.fetch(uri, download, wish)
        async with self._hosts.turn("/".join(uri.split("/")[:3])):
            return await asyncio.to_thread(fetch_storage, uri, download, wish)

    def _retrying(self, download: Download) -> AsyncRetrying:
        grows = wait_random_exponential(multiplier=self._config.backoff_s, max=LONGEST_BACKOFF_S)
        arrived = download.bytes
        in_vain = 0

        def stop(state: RetryCallState) -> bool:
            nonlocal arrived, in_vain
            in_vain = 0 if download.bytes >= arrived + PROGRESS_BYTES else in_vain + 1
            arrived = download.bytes
            return in_vain >= self._config.attempts

        def wait(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome is not None else None
            asked = error.after_s if isinstance(error, FetchFailed) else None
            return max(grows(state), asked or 0.0)

        return AsyncRetrying(stop=stop, wait=wait, retry=retry_if_exception(_soon), reraise=True)


def _soon(error: BaseException) -> bool:
    return isinstance(error, FetchFailed) and error.heals and (error.after_s or 0.0) <= LONGEST_WAIT_S
