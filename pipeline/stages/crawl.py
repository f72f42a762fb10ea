"""Crawl: what is taken, how patiently, and what the licences of one source's places come to."""

import hashlib
from pathlib import Path

from pydantic import Field

from schemas.configuration import Configuration

VERSION = 2

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


class CrawlConfig(Configuration):
    """What is recorded of every input that does not say it itself, and how inputs elsewhere are fetched."""

    licence: str | None = Field(default=None, description="Licence of the inputs; a list's `licence` column goes first")
    consent: str | None = Field(default=None, description="Consent of the people shown; a list's `consent` goes first")
    allow_private: bool = Field(
        default=False,
        description="Fetch from private, loopback and link-local addresses too, and through schemes that name any host",
    )
    max_gb: float = Field(default=20.0, gt=0, description="A fetched file may have so many gigabytes (10^9 bytes)")
    types: tuple[str, ...] = Field(
        default=("video/*", "application/mp4", "application/mxf", "application/octet-stream", "binary/octet-stream"),
        description="Patterns of the Content-Types that are fetched from the web",
    )
    connections: int = Field(default=16, ge=1, description="Files fetched at once")
    per_host: int = Field(default=4, ge=1, description="Files fetched at once from one host or bucket")
    attempts: int = Field(default=5, ge=1, description="Tries of a fetch that may heal")
    backoff_s: float = Field(default=1.0, gt=0, description="Pause before the second try, at most; doubles each time")
    silence_s: float = Field(default=60.0, gt=0, description="A connection that is silent for so long is given up")
    try_s: float = Field(default=7200.0, gt=0, description="A try that takes longer is given up")


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


def strictest(licences: list[str | None]) -> str | None:
    """The licence that binds where one source was found under several: an unknown one first, then the strictest."""

    def rank(licence: str | None) -> tuple[int, str]:
        if licence is None:
            return (-2, "")
        known = licence.lower() in LICENCES_FROM_STRICTEST
        return (LICENCES_FROM_STRICTEST.index(licence.lower()) if known else -1, licence)

    return min(licences, key=rank)
