"""Crawl: where footage lies, what it may be used for, and what its bytes hash to."""

import csv
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from glob import iglob
from pathlib import Path
from typing import Any

from pydantic import Field

from schemas.configuration import Configuration
from schemas.errors import UserError

VERSION = 1

VIDEO_SUFFIXES = frozenset(
    {".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ts", ".webm", ".wmv"}
)
"""What is taken for footage inside a folder. A file that is named outright is taken whatever its suffix."""

LIST_SUFFIXES = frozenset({".txt", ".csv", ".jsonl"})

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
    """What is recorded of every input that does not say it itself."""

    licence: str | None = Field(default=None, description="Licence of the inputs; a list's `licence` column goes first")
    consent: str | None = Field(default=None, description="Consent of the people shown; a list's `consent` goes first")


@dataclass(frozen=True, kw_only=True)
class Found:
    """A place where footage was found. `etag` changes whenever the content may have: here size and mtime."""

    uri: str
    path: Path
    etag: str
    licence: str | None
    consent: str | None
    extra: dict[str, str]


def find(inputs: list[str], config: CrawlConfig) -> Iterator[Found]:
    """Every file that the inputs name: files, folders (searched in depth), globs, and lists of these.

    In name order within each input. Raises UserError for an input that names nothing.
    """
    for text in inputs:
        yield from _find_one(text, config, {})


def _find_one(text: str, config: CrawlConfig, columns: dict[str, str]) -> Iterator[Found]:
    if "://" in text and not text.startswith("file://"):
        raise UserError(f"cannot read {text}: this version curates local files; download it first")
    path = Path(text.removeprefix("file://"))
    if path.is_dir():
        yield from _find_folder(path, config, columns)
    elif path.suffix.lower() in LIST_SUFFIXES and path.is_file():
        for row in _rows(path):
            uri = row.pop("uri")
            inside = path.parent / uri
            yield from _find_one(str(inside) if "://" not in uri else uri, config, row)
    elif path.is_file():
        yield _found(path, config, columns)
    else:
        matches = sorted(iglob(text, recursive=True))  # noqa: PTH207 (a pattern may be absolute)
        if not matches:
            raise UserError(f"there is no file, folder or match for {text!r}")
        for match in matches:
            yield from _find_one(match, config, columns)


def _find_folder(folder: Path, config: CrawlConfig, columns: dict[str, str]) -> Iterator[Found]:
    files = (path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file())
    paths = sorted(files)
    if not paths:
        raise UserError(f"the folder {folder} holds no video file")
    for path in paths:
        yield _found(path, config, columns)


def _found(path: Path, config: CrawlConfig, columns: dict[str, str]) -> Found:
    extra = {key: value for key, value in columns.items() if key not in ("licence", "consent")}
    return Found(
        uri=str(path.absolute()),
        path=path.absolute(),
        etag=etag_of(path),
        licence=columns.get("licence") or config.licence,
        consent=columns.get("consent") or config.consent,
        extra=extra,
    )


def _rows(path: Path) -> Iterator[dict[str, str]]:
    """Rows of a list: a uri a line (.txt), or columns of which `uri` is one (.csv, .jsonl)."""
    with path.open(newline="") as file:
        if path.suffix.lower() == ".txt":
            rows: Iterator[dict[str, Any]] = ({"uri": line.strip()} for line in file if line.strip())
        elif path.suffix.lower() == ".csv":
            rows = iter(csv.DictReader(file))
        else:
            rows = (json.loads(line) for line in file if line.strip())
        for number, row in enumerate(rows, start=1):
            if not row.get("uri"):
                raise UserError(f"{path}, row {number}: there is no 'uri'")
            yield {key: str(value) for key, value in row.items() if value not in (None, "")}


def etag_of(path: Path) -> str:
    """Changes whenever the content may have: size and time of the last change."""
    stat = path.stat()
    return f"{stat.st_size}-{stat.st_mtime_ns}"


def source_id(path: Path) -> str:
    """First 16 hex digits of the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


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
