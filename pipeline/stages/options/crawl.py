"""Options of the crawl, and the version of its code."""

from ipaddress import ip_network

from pydantic import Field, field_validator

from schemas.configuration import Configuration

VERSION = 2


class CrawlConfig(Configuration):
    """What is recorded of every input that does not say it itself, and how inputs elsewhere are fetched."""

    licence: str | None = Field(default=None, description="Licence of the inputs; a list's `licence` column goes first")
    consent: str | None = Field(default=None, description="Consent of the people shown; a list's `consent` goes first")
    private_addresses: bool | tuple[str, ...] = Field(
        default=False,
        description="Private, loopback and link-local addresses that may be fetched from: networks like 10.0.0.0/8, or "
        "true for all of them, and then for schemes too that may name any host",
    )
    max_gb: float = Field(default=20.0, gt=0, description="A fetched file may have so many gigabytes (10^9 bytes)")
    types: tuple[str, ...] = Field(
        default=("video/*", "application/mp4", "application/mxf", "application/octet-stream", "binary/octet-stream"),
        description="Patterns of the Content-Types that are fetched from the web",
    )
    connections: int = Field(default=16, ge=1, description="Files fetched at once")
    per_host: int = Field(default=4, ge=1, description="Files fetched at once from one host or bucket")
    attempts: int = Field(default=5, ge=1, description="Tries in a row that bring nothing, before a place has failed")
    backoff_s: float = Field(default=1.0, gt=0, description="Pause before the second try, at most; doubles each time")
    silence_s: float = Field(default=60.0, gt=0, description="A connection on which nothing comes for so long is cut")
    file_s: float = Field(default=21600.0, gt=0, description="A file that takes longer, in all its tries, has failed")

    @field_validator("private_addresses")
    @classmethod
    def _networks(cls, value: bool | tuple[str, ...]) -> bool | tuple[str, ...]:
        for text in () if isinstance(value, bool) else value:
            ip_network(text, strict=False)
        return value
