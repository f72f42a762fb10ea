"""Places that inputs name: files, folders, globs, addresses, and lists of these, one after the other."""

import os
import posixpath
from collections.abc import Iterator
from glob import has_magic, iglob
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from urllib.parse import unquote, urljoin, urlsplit

from fsspec.spec import AbstractFileSystem

from pipeline.crawl.failure import FetchFailed
from pipeline.crawl.lists import SUFFIXES, Columns, read_list
from pipeline.crawl.place import Place
from pipeline.crawl.remote_list import fetch_list
from pipeline.crawl.storage import LOCAL, open_storage
from pipeline.crawl.web import SCHEMES
from pipeline.stages.options.crawl import CrawlConfig
from schemas.errors import UserError

VIDEO_SUFFIXES = frozenset(
    {".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ts", ".webm", ".wmv"}
)
"""What is taken for footage inside a folder. A file that is named outright is taken whatever its suffix."""


def find(inputs: list[str], config: CrawlConfig, *, scratch: Path) -> Iterator[Place]:
    """Every place that the inputs name: files, folders (searched in depth), globs, addresses, and lists of these.

    In name order within a folder, in the list's order within a list; a folder or a list is never held whole. A row of
    a list names a file, a folder or a glob on this machine, or one file elsewhere; no further list.

    Args:
        inputs: as the user gave them.
        config: what holds for places that do not say it themselves.
        scratch: folder for lists that are fetched.

    Raises:
        UserError: an input names nothing, or a list cannot be read. What a list's row names may be missing: that
            shows when it is fetched.
    """
    for text in inputs:
        if "://" not in text or text.startswith("file://"):
            yield from _local_input(_local(text), config)
        elif _suffix(text) in SUFFIXES:
            with TemporaryDirectory(dir=scratch) as folder:
                rows = read_list(fetch_list(text, config, Path(folder)), name=_path(text))
                yield from (_row_elsewhere(row, text, config) for row in rows)
        elif _scheme(text) in SCHEMES:
            yield _place(text, None, {}, config)
        else:
            yield from _storage_input(text, config)


def _local_input(text: str, config: CrawlConfig) -> Iterator[Place]:
    path = Path(text)
    if path.is_file() and path.suffix.lower() in SUFFIXES:
        for row in read_list(path, name=text):
            yield from _row_here(row, path.parent, config)
        return
    found = False
    for found_path in _footage(text):
        found = True
        yield _place(str(found_path), found_path, {}, config)
    if not found:
        kind = f"the folder {text} holds no video file" if path.is_dir() else f"there is no file or match for {text!r}"
        raise UserError(kind)


def _row_here(row: Columns, folder: Path, config: CrawlConfig) -> Iterator[Place]:
    uri = row["uri"]
    if "://" in uri and not uri.startswith("file://"):
        yield _place(uri, None, row, config)
        return
    text = str(folder / _local(uri))
    found = False
    for path in _footage(text):
        found = True
        yield _place(str(path), path, row, config)
    if not found:
        yield _place(str(Path(text).absolute()), Path(text).absolute(), row, config)


def _row_elsewhere(row: Columns, name: str, config: CrawlConfig) -> Place:
    """A row of a list that lies elsewhere, and so has no say over files on this machine."""
    uri = row["uri"]
    if "://" not in uri:
        uri = urljoin(name, uri) if _scheme(name) in SCHEMES else _beside(name, uri)
    chained = "::" in uri and _scheme(uri) not in SCHEMES
    if chained or uri.partition(":")[0].lower() in LOCAL:
        refusal = FetchFailed("BadAddress", "a list that lies elsewhere cannot name files on this machine")
        return _place(uri, None, row, config, refusal=refusal)
    return _place(uri, None, row, config)


def _beside(name: str, uri: str) -> str:
    """A path in a list, seen from where the list lies; it stays within the bucket."""
    scheme, _, rest = name.partition("://")
    bucket, _, path = rest.partition("/")
    inside = posixpath.normpath(posixpath.join("/", posixpath.dirname(path), uri.lstrip("/")))
    return f"{scheme}://{bucket}{inside}"


def _storage_input(text: str, config: CrawlConfig) -> Iterator[Place]:
    try:
        storage, path = open_storage(text, any_host=config.private_addresses is True)
        if has_magic(path):
            paths = iter(sorted(storage.glob(path)))
        elif storage.isdir(path):
            paths = _walk(storage, path)
        elif storage.exists(path):
            paths = iter([path])
        else:
            raise UserError(f"there is nothing at {text}")
        found = False
        for one in paths:
            found = True
            yield _place(str(storage.unstrip_protocol(one)), None, {}, config)
    except FetchFailed as error:
        raise UserError(f"cannot read {text}: {error}") from error
    except UserError:
        raise
    except Exception as error:  # Every file system has errors of its own: no credentials, no such bucket, no network.
        raise UserError(f"cannot list {text}: {type(error).__name__}: {error}") from error
    if not found:
        raise UserError(f"there is no video file at {text}")


def _walk(storage: AbstractFileSystem, folder: str) -> Iterator[str]:
    """Footage below a folder elsewhere; one folder's names at a time."""
    for where, _, names in storage.walk(folder):
        yield from (f"{where}/{name}" for name in sorted(names) if _suffix(name) in VIDEO_SUFFIXES)


def _footage(text: str) -> Iterator[Path]:
    """Files that a local path or glob names, absolute, in name order."""
    path = Path(text)
    if path.is_dir():
        yield from _below(path.absolute())
    elif path.is_file():
        yield path.absolute()
    elif has_magic(text):
        for match in sorted(iglob(text, recursive=True)):  # noqa: PTH207 (a pattern may be absolute)
            yield from _footage(match)


def _below(folder: Path) -> Iterator[Path]:
    """Footage in a folder, at any depth; one folder's names at a time. Links to folders are not followed."""
    with os.scandir(folder) as entries:
        found = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
    for name, is_folder in found:
        path = folder / name
        if is_folder:
            yield from _below(path)
        elif path.suffix.lower() in VIDEO_SUFFIXES and path.is_file():
            yield path


def _place(
    uri: str, path: Path | None, row: Columns, config: CrawlConfig, *, refusal: FetchFailed | None = None
) -> Place:
    return Place(
        uri=uri,
        path=path,
        licence=row.get("licence") or config.licence,
        consent=row.get("consent") or config.consent,
        extra={key: value for key, value in row.items() if key not in ("uri", "licence", "consent")},
        refusal=refusal,
    )


def _local(text: str) -> str:
    return unquote(urlsplit(text).path) if text.startswith("file://") else text


def _scheme(uri: str) -> str:
    return uri.partition("://")[0].lower()


def _path(uri: str) -> str:
    return urlsplit(uri).path if "://" in uri else uri


def _suffix(uri: str) -> str:
    return PurePosixPath(_path(uri)).suffix.lower()
