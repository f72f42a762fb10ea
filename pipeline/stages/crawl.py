"""Crawl: how sources, places and their versions are named, and what the licences of one source's places come to."""

import hashlib
from pathlib import Path

NO_VERSION = "none"
"""The etag of a file of which the other side names no version. It is not fetched twice."""

LICENCES_FROM_STRICTEST = (
    "all-rights-reserved",
    "cc-by-nc-nd",
    "cc-by-nc-sa",
    "cc-by-nc",
    "cc-by-nd",
    "cc-by-sa",
    "cc-by",
    "cc0",
    "public-domain",
)


def etag_of(path: Path) -> str:
    """Changes whenever the content may have: size and time of the last change. Raises OSError."""
    stat = path.stat()
    return f"{stat.st_size}-{stat.st_mtime_ns}"


def source_id(sha256: str) -> str:
    """Id of the source whose bytes have this SHA-256: the first 16 of its hex digits."""
    return sha256[:16]


def location_id(uri: str) -> str:
    """Id of the place, whatever lies there."""
    return hashlib.sha256(uri.encode()).hexdigest()[:16]


def version_id(uri: str, etag: str) -> str:
    """Id of what lies at a place as long as its etag stays."""
    return hashlib.sha256(f"{etag} {uri}".encode()).hexdigest()[:16]


def strictest(licences: list[str | None]) -> str | None:
    """The licence that binds where one source was found under several: an unknown one first, then the strictest."""

    def rank(licence: str | None) -> tuple[int, str]:
        if licence is None:
            return (-2, "")
        known = licence.lower() in LICENCES_FROM_STRICTEST
        return (LICENCES_FROM_STRICTEST.index(licence.lower()) if known else -1, licence)

    return min(licences, key=rank)
