"""Download through fsspec: S3, Google Cloud Storage, Azure, and whatever else it opens."""

import time
from typing import Any

import fsspec
from fsspec.spec import AbstractFileSystem

from pipeline.crawl.download import Download
from pipeline.crawl.failure import FetchFailed
from schemas.errors import UserError

SERVICES = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "oss", "hf"})
"""Schemes whose address names a bucket of a service that the operator configured, not a host of its author's choice."""

BLOCK = 8 * 2**20


def open_storage(uri: str, *, allow_private: bool) -> tuple[AbstractFileSystem, str]:
    """The file system and the path in it.

    Raises:
        FetchFailed: the scheme is unknown, or lets an address name any host, which cannot be checked there.
        UserError: the package that opens this scheme is not installed.
    """
    scheme = uri.partition("://")[0].lower()
    if (scheme not in SERVICES or "::" in uri) and not allow_private:
        raise FetchFailed(
            "PrivateAddress", f"{scheme}:// can lead to any host unchecked (crawl.allow_private permits it)"
        )
    try:
        storage, path = fsspec.core.url_to_fs(uri, use_listings_cache=False)
    except ImportError as error:
        raise UserError(f"{scheme}:// cannot be opened: {error}") from error
    except ValueError as error:
        raise FetchFailed("BadAddress", str(error)) from error
    return storage, str(path)


def fetch_storage(uri: str, download: Download, *, allow_private: bool, seconds: float) -> None:
    """One try, in blocks, within so many seconds: all that is missing of the file.

    Raises:
        FetchFailed: with what arrived kept in `download`, to go on from there.
    """
    storage, path = open_storage(uri, allow_private=allow_private)
    until = time.monotonic() + seconds
    try:
        info = storage.info(path)
        if info["type"] == "directory":
            raise FetchFailed("NotFound", "is a folder")
        if download.known and download.known == etag_of(info):
            download.unchanged = True
            return
        download.expect(int(info["size"]))
        if not download.bytes or download.etag != etag_of(info):
            download.restart(etag_of(info))
        while download.bytes < int(info["size"]):
            if time.monotonic() > until:
                raise FetchFailed("TimedOut", f"took too long after {download.bytes} bytes", heals=True)
            end = min(download.bytes + BLOCK, int(info["size"]))
            download.write(_block(storage, path, download.bytes, end))
        if etag_of(storage.info(path)) != download.etag:
            download.restart("")
            raise FetchFailed("Dropped", "was changed while it was read", heals=True)
    except FetchFailed:
        raise
    except FileNotFoundError as error:
        raise FetchFailed("NotFound", "there is no such file") from error
    except PermissionError as error:
        raise FetchFailed("StorageError", f"access is denied: {error}") from error
    except Exception as error:
        raise FetchFailed("StorageError", f"{type(error).__name__}: {error}", heals=True) from error


def etag_of(info: dict[str, Any]) -> str:
    """Changes whenever the content may have: the service's own mark, beside size and time as far as it tells them."""
    marks = (info.get(name) for name in ("ETag", "etag", "md5Hash", "LastModified", "mtime", "created"))
    return "-".join(str(mark).strip('"') for mark in (info["size"], *marks) if mark)


def _block(storage: AbstractFileSystem, path: str, start: int, end: int) -> bytes:
    data: bytes = storage.cat_file(path, start=start, end=end)
    if len(data) != end - start:
        raise FetchFailed("Dropped", f"gave {len(data)} of {end - start} bytes after {start}", heals=True)
    return data
