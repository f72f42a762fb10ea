"""Download over http and https: resumed where it broke off, redirects followed one by one, nothing trusted."""

import asyncio
import re
import socket
import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from fnmatch import fnmatch
from types import TracebackType
from typing import Self

import aiohttp
from yarl import URL

from pipeline.crawl.addresses import AddressInfo, public_socket
from pipeline.crawl.download import Download
from pipeline.crawl.failure import FetchFailed
from pipeline.crawl.hosts import Hosts

SCHEMES = frozenset({"http", "https"})
MAX_REDIRECTS = 10
REDIRECTS = frozenset({301, 302, 303, 307, 308})
HEALING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
CONNECT_SECONDS = 30.0
CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")


class Web:
    """One pool of connections. Proxies of the environment are not used: behind one, no address could be checked."""

    def __init__(self, hosts: Hosts, *, allow_private: bool, silence_s: float, try_s: float) -> None:
        self._hosts = hosts
        self._try_s = try_s
        factory = None if allow_private else _public
        # One address after another: with a race, an address that is refused would only be one that lost.
        connector = aiohttp.TCPConnector(limit=0, socket_factory=factory, happy_eyeballs_delay=None)
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=silence_s),
            headers={"Accept-Encoding": "identity", "User-Agent": "humo"},
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            requote_redirect_url=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def fetch(self, uri: str, download: Download, *, types: tuple[str, ...]) -> None:
        """One try: all that is missing of the file.

        Args:
            uri: http or https.
            download: what arrived in earlier tries, and where more goes.
            types: patterns of the Content-Types taken.

        Raises:
            FetchFailed: with what arrived kept in `download`, to go on from there.
        """
        url = _url(uri)
        for _ in range(MAX_REDIRECTS + 1):
            async with self._hosts.turn(f"{url.host}"):
                further = await self._hop(url, download, types)
            if further is None:
                return
            url = further
        raise FetchFailed("BadAddress", f"is redirected more than {MAX_REDIRECTS} times")

    async def _hop(self, url: URL, download: Download, types: tuple[str, ...]) -> URL | None:
        """Download from here, or say where it goes on."""
        try:
            async with (
                asyncio.timeout(self._try_s),
                self._session.get(url, headers=_resume(download), allow_redirects=False) as response,
            ):
                if response.status in REDIRECTS and "Location" in response.headers:
                    return _url(str(url.join(URL(response.headers["Location"]))))
                if response.status == 304 and download.known:
                    download.unchanged = True
                    return None
                if response.status in HEALING_STATUS:
                    after_s = _after(response.headers.get("Retry-After"))
                    self._hosts.close_for(f"{url.host}", after_s or 0.0)
                    raise _status(response, heals=True, after_s=after_s)
                if not _resumes(response, download):
                    return None
                if not any(fnmatch(response.content_type, pattern) for pattern in types):
                    raise FetchFailed("WrongType", f"is {response.content_type}, which crawl.types does not name")
                download.expect(download.bytes + (response.content_length or 0))
                async for chunk in response.content.iter_any():
                    download.write(chunk)
        except aiohttp.ClientConnectorDNSError as error:
            again = getattr(error.os_error, "errno", None) != socket.EAI_NONAME
            raise FetchFailed("Unreachable", f"the name {url.host} does not resolve", heals=again) from error
        except (aiohttp.ClientSSLError, ssl.SSLError) as error:
            raise FetchFailed("TLSError", str(error)) from error
        except aiohttp.ClientConnectorError as error:
            raise FetchFailed("Unreachable", str(error.os_error), heals=True) from error
        except TimeoutError as error:
            raise FetchFailed("TimedOut", f"took too long after {download.bytes} bytes", heals=True) from error
        except (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError, ConnectionError) as error:
            raise FetchFailed("Dropped", f"the connection broke after {download.bytes} bytes", heals=True) from error
        except (aiohttp.ClientError, ValueError) as error:
            raise FetchFailed("BadResponse", f"{type(error).__name__}: {error}") from error
        return None


def _public(info: AddressInfo) -> socket.socket:
    return public_socket(info)


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


def _resume(download: Download) -> dict[str, str]:
    """Headers that ask for what is missing, if the file is still what it was; or for a version that is not here."""
    if not download.bytes:
        name = "If-None-Match" if download.known.startswith('"') else "If-Modified-Since"
        return {name: download.known} if download.known else {}
    if not download.etag:
        download.restart("")
        return {}
    return {"Range": f"bytes={download.bytes}-", "If-Range": download.etag}


def _resumes(response: aiohttp.ClientResponse, download: Download) -> bool:
    """Whether bytes follow, with `download` made ready for them. Raises FetchFailed where none are given."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise FetchFailed("BadResponse", "is sent compressed though that was not asked for")
    if response.status == 200:
        download.restart(_validator(response))
        return True
    start, total = _content_range(response)
    if response.status == 206 and download.bytes and start == download.bytes:
        if total is not None:
            download.expect(total)
        return True
    if response.status == 416 and download.bytes and total == download.bytes:
        return False
    if download.bytes and response.status in (206, 416):
        arrived = download.bytes
        download.restart("")
        raise FetchFailed("BadResponse", f"does not go on where it broke off, after {arrived} bytes", heals=True)
    raise _status(response, heals=False)


def _validator(response: aiohttp.ClientResponse) -> str:
    """What If-Range takes: a strong ETag, else the date. "" where the server gives neither."""
    etag = response.headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")


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
