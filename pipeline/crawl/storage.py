"""Download through fsspec: S3, Google Cloud Storage, Azure, and whatever else it opens."""

import time
from typing import Any

import fsspec
from fsspec.spec import AbstractFileSystem

from pipeline.crawl.download import Download
from pipeline.crawl.failure import FetchFailed
from pipeline.crawl.wish import Ended, Wish
from pipeline.store.outage import NO_ROOM
from schemas.errors import UserError

SERVICES = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "oss", "hf"})
"""Schemes whose address names a bucket of a service that the operator configured, and no host of its choice."""

LOCAL = frozenset({"file", "local"})

BLOCK = 8 * 2**20


def open_storage(uri: str, *, any_host: bool) -> tuple[AbstractFileSystem, str]:
    """The file system and the path in it.

    Raises:
        FetchFailed: the scheme is unknown, or lets an address name any host, which cannot be checked there.
        UserError: the package that opens this scheme is not installed.
    """
    scheme = uri.partition("://")[0].lower()
    # fsspec opens one file through another where "::" stands between them; the last one names where it all lies.
    links = uri.split("::")
    if "://" not in links[-1] or any(link.partition("://")[0].lower() in LOCAL for link in links):
        raise FetchFailed("BadAddress", "names a file on this machine, which only a local input or list may")
    if (scheme not in SERVICES or "::" in uri) and not any_host:
        raise FetchFailed(
            "PrivateAddress", f"{scheme}:// can lead to any host unchecked (crawl.private_addresses=true permits it)"
        )
    try:
        storage, path = fsspec.core.url_to_fs(uri, use_listings_cache=False)
    except ImportError as error:
        raise UserError(f"{scheme}:// cannot be opened: {error}") from error
    except ValueError as error:
        raise FetchFailed("BadAddress", str(error)) from error
    return storage, str(path)


def fetch_storage(uri: str, download: Download, wish: Wish) -> Ended:
    """One try, in blocks: all that is missing of the file.

    Raises:
        FetchFailed: with what arrived kept in `download`, to go on from there.
        OSError: there is no room left on this disk.
    """
    storage, path = open_storage(uri, any_host=wish.any_host)
    until = time.monotonic() + wish.seconds - download.seconds
    try:
        with download.worked_at():
            return _fetch(storage, path, download, wish, until)
    except FetchFailed:
        raise
    except FileNotFoundError as error:
        raise FetchFailed("NotFound", "there is no such file") from error
    except PermissionError as error:
        raise FetchFailed("StorageError", f"access is denied: {error}") from error
    except Exception as error:  # Every file system has errors of its own; one file's must not end the run.
        if getattr(error, "errno", None) in NO_ROOM:
            # This disk is full: no fault of the file's, and the next one's neither.
            raise
        raise FetchFailed("StorageError", f"{type(error).__name__}: {error}", heals=True) from error


def _fetch(storage: AbstractFileSystem, path: str, download: Download, wish: Wish, until: float) -> Ended:
    info = storage.info(path)
    if info["type"] == "directory":
        raise FetchFailed("NotFound", "is a folder")
    etag, size = etag_of(info), int(info["size"])
    if etag == wish.known_etag:
        return "unchanged"
    if wish.unwanted(etag):
        return "unwanted"
    download.expect(size)
    if not download.bytes or download.etag != etag:
        download.restart(etag)
    while download.bytes < size:
        if time.monotonic() > until:
            raise FetchFailed("TimedOut", f"took too long after {download.bytes} bytes")
        download.write(_block(storage, path, download.bytes, min(download.bytes + BLOCK, size)))
        if download.due:
            download.sync()
    if etag_of(storage.info(path)) != download.etag:
        download.restart("")
        raise FetchFailed("Dropped", "was changed while it was read", heals=True)
    return "whole"


def etag_of(info: dict[str, Any]) -> str:
    """Changes whenever the content may have: the service's own mark, beside size and time as far as it tells them."""
    marks = (info.get(name) for name in ("ETag", "etag", "md5Hash", "LastModified", "mtime", "created"))
    return "-".join(str(mark).strip('"') for mark in (info["size"], *marks) if mark)


def _block(storage: AbstractFileSystem, path: str, start: int, end: int) -> bytes:
    data: bytes = storage.cat_file(path, start=start, end=end)
    if len(data) != end - start:
        raise FetchFailed("Dropped", f"gave {len(data)} of {end - start} bytes after {start}", heals=True)
    return data
