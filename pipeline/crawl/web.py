"""Download over http and https: resumed where it broke off, redirects followed one by one, nothing trusted."""

import asyncio
import re
import socket
import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from fnmatch import fnmatch

import aiohttp
from yarl import URL

from pipeline.crawl.addresses import socket_factory
from pipeline.crawl.download import Download
from pipeline.crawl.failure import FetchFailed
from pipeline.crawl.hosts import Hosts
from pipeline.crawl.wish import Ended, Wish

SCHEMES = frozenset({"http", "https"})
MAX_REDIRECTS = 10
REDIRECTS = frozenset({301, 302, 303, 307, 308})
HEALING_STATUS = frozenset({408, 425, 429, *range(500, 600)}) - {501, 505}
CONNECT_SECONDS = 30.0
CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")


class Web:
    """One pool of connections. Proxies of the environment are not used: behind one, no address could be checked."""

    def __init__(self, hosts: Hosts, *, private_addresses: bool | tuple[str, ...], silence_s: float) -> None:
        self._hosts = hosts
        # One address after another: with a race, an address that is refused would only be one that lost.
        connector = aiohttp.TCPConnector(
            limit=0, socket_factory=socket_factory(private_addresses), happy_eyeballs_delay=None
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=silence_s),
            headers={"Accept-Encoding": "identity", "User-Agent": "humo"},
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            requote_redirect_url=False,
        )

    async def close(self) -> None:
        """Let go of all connections."""
        await self._session.close()

    async def fetch(self, uri: str, download: Download, wish: Wish) -> Ended:
        """One try: all that is missing of the file.

        Args:
            uri: http or https.
            download: what arrived in earlier tries, and where more goes.
            wish: what is taken, and what need not come again.

        Raises:
            FetchFailed: with what arrived kept in `download`, to go on from there.
        """
        url = _url(uri)
        for _ in range(MAX_REDIRECTS + 1):
            async with self._hosts.turn(f"{url.host}"):
                with download.worked_at():
                    end = await self._hop(url, download, wish)
            if not isinstance(end, URL):
                return end
            url = end
        raise FetchFailed("BadAddress", f"is redirected more than {MAX_REDIRECTS} times")

    async def _hop(self, url: URL, download: Download, wish: Wish) -> URL | Ended:
        """Download from here, or say where it goes on."""
        left_s = wish.seconds - download.seconds
        try:
            async with (
                asyncio.timeout(left_s),
                self._session.get(url, headers=_headers(download, wish), allow_redirects=False) as response,
            ):
                if response.status in REDIRECTS and "Location" in response.headers:
                    return _url(str(url.join(URL(response.headers["Location"]))))
                if response.status in HEALING_STATUS:
                    after_s = _after(response.headers.get("Retry-After"))
                    self._hosts.close_for(f"{url.host}", after_s or 0.0)
                    raise _status(response, heals=True, after_s=after_s)
                if response.status == 304 and wish.known_etag and not download.bytes:
                    return "unchanged"
                etag = _validator(response)
                if response.status == 200 and etag and etag == wish.known_etag:
                    return "unchanged"
                if response.status in (200, 206) and etag and wish.unwanted(etag):
                    return "unwanted"
                total = _begin(response, download)
                if not any(fnmatch(response.content_type, pattern) for pattern in wish.types):
                    raise FetchFailed("WrongType", f"is {response.content_type}, which crawl.types does not name")
                async for chunk in response.content.iter_any():
                    download.write(chunk)
                    if download.due:
                        await asyncio.to_thread(download.sync)
                if total is not None and download.bytes != total:
                    raise FetchFailed("Dropped", f"ended after {download.bytes} of {total} bytes", heals=True)
        except aiohttp.ClientConnectorDNSError as error:
            again = getattr(error.os_error, "errno", None) != socket.EAI_NONAME
            raise FetchFailed("Unreachable", f"the name {url.host} does not resolve", heals=again) from error
        except (aiohttp.ClientSSLError, ssl.SSLError) as error:
            raise FetchFailed("TLSError", str(error)) from error
        except aiohttp.ClientConnectorError as error:
            raise FetchFailed("Unreachable", str(error.os_error), heals=True) from error
        except TimeoutError as error:
            silent = isinstance(error, aiohttp.ServerTimeoutError)
            why = "fell silent" if silent else f"took more than {wish.seconds:g} s (crawl.file_s)"
            raise FetchFailed("TimedOut", f"{why} after {download.bytes} bytes", heals=silent) from error
        except (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError, ConnectionError) as error:
            raise FetchFailed("Dropped", f"the connection broke after {download.bytes} bytes", heals=True) from error
        except (aiohttp.ClientError, ValueError) as error:
            raise FetchFailed("BadResponse", f"{type(error).__name__}: {error}") from error
        return "whole"


def _url(text: str) -> URL:
    """Raises FetchFailed for anything but an http address without a password in it."""
    try:
        url = URL(text)
        host = url.host
    except ValueError as error:
        raise FetchFailed("BadAddress", f"is no web address: {error}") from error
    if url.scheme not in SCHEMES or not host:
        raise FetchFailed("BadAddress", f"leads to {url.scheme or 'no scheme'}, which is not fetched from the web")
    if url.user is not None or url.password is not None:
        raise FetchFailed("BadAddress", "carries a user or a password, which would be recorded with every sample")
    return url


def _headers(download: Download, wish: Wish) -> dict[str, str]:
    """Headers that ask for what is missing, if the file is still what it was; or for a file that is not yet known."""
    if download.bytes and (not download.etag or download.etag.startswith("W/")):
        download.restart("")
    if download.bytes:
        return {"Range": f"bytes={download.bytes}-", "If-Range": download.etag}
    if not wish.known_etag:
        return {}
    is_etag = wish.known_etag.startswith(('"', "W/"))
    return {"If-None-Match" if is_etag else "If-Modified-Since": wish.known_etag}


def _begin(response: aiohttp.ClientResponse, download: Download) -> int | None:
    """Make `download` ready for the bytes that follow. Returns how many it will have then, where that is said.

    Raises FetchFailed where none are given.
    """
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise FetchFailed("BadResponse", "is sent compressed though that was not asked for")
    if response.status == 200:
        download.restart(_validator(response))
        total = response.content_length
    elif response.status == 206 and download.bytes:
        start, total = _content_range(response)
        if start != download.bytes or _validator(response) not in ("", download.etag):
            raise _elsewhere(download)
    elif response.status == 416 and download.bytes:
        if _content_range(response)[1] == download.bytes:
            return download.bytes
        raise _elsewhere(download)
    else:
        raise _status(response, heals=False)
    download.expect(total or 0)
    return total


def _elsewhere(download: Download) -> FetchFailed:
    arrived = download.bytes
    download.restart("")
    return FetchFailed("BadResponse", f"does not go on where it broke off, after {arrived} bytes", heals=True)


def _validator(response: aiohttp.ClientResponse) -> str:
    """What tells versions apart: a strong ETag, else the date, else a weak ETag; "" where the server gives none."""
    etag = response.headers.get("ETag", "")
    date = response.headers.get("Last-Modified", "")
    return date if date and (not etag or etag.startswith("W/")) else etag


def _content_range(response: aiohttp.ClientResponse) -> tuple[int | None, int | None]:
    found = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if found is None:
        return None, None
    start, total = found.groups()
    return int(start) if start else None, int(total) if total != "*" else None


def _status(response: aiohttp.ClientResponse, *, heals: bool, after_s: float | None = None) -> FetchFailed:
    return FetchFailed("HTTPStatus", f"{response.status} {response.reason or ''}".strip(), heals=heals, after_s=after_s)


def _after(header: str | None) -> float | None:
    """Retry-After in seconds: a number of them, or a date."""
    if header is None:
        return None
    if header.strip().isdigit():
        return float(header)
    try:
        at = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds())
