"""A place where footage may lie."""

from dataclasses import dataclass, field
from pathlib import Path

from pipeline.crawl.failure import FetchFailed


@dataclass(frozen=True, kw_only=True)
class Place:
    """A place where footage may lie. `path`: where on this machine; None for one that is fetched.

    `refusal`: why it is not even tried.
    """

    uri: str
    path: Path | None = None
    licence: str | None = None
    consent: str | None = None
    extra: dict[str, str] = field(default_factory=dict)
    refusal: FetchFailed | None = None
