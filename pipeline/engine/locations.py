"""Crawling into the store: which sources there are, where each was found, under which licence."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from pipeline.crawl.fetch import Asked, Failed, Fetched, Keeping, Outcome, Unwanted
from pipeline.crawl.place import Place
from pipeline.crawl.places import find
from pipeline.crawl.window import fetch_all
from pipeline.engine.fetching import fetching_folder
from pipeline.engine.fingerprint import stage_digest
from pipeline.engine.location_batches import LocationBatches
from pipeline.engine.progress import Progress
from pipeline.engine.rows import About, completed, unmeasured
from pipeline.stage import Row, Source
from pipeline.stages import crawl
from pipeline.stages.crawl import CrawlConfig
from pipeline.store.files import Files
from pipeline.store.media import keep_media, media_path
from pipeline.store.relations import Relations
from pipeline.store.snapshots import ALL, Snapshot, commit

LOOKED_UP_AT_ONCE = 2048


@dataclass(frozen=True, kw_only=True)
class Looked(Asked):
    """A place with the row that the run has of it, if it was fetched before."""

    row: Row | None


@dataclass(frozen=True, kw_only=True)
class Crawled:
    """What a crawl came to. `stale`: places that could not be looked at again, of which an earlier state is kept."""

    snapshot: Snapshot
    stale: list[str]


def crawl_into(
    files: Files,
    base: Snapshot,
    inputs: list[str],
    config: CrawlConfig,
    *,
    limit: int | None = None,
    progress: Progress = lambda _stage, _done, _total: None,
) -> Crawled:
    """Commit a location for every place that the inputs name; without inputs, for those that failed before.

    A place whose etag is known is not read again. One that fails is a failed row, unless it was read before.
    """
    relations = Relations(files, base)
    places = _outside(files, find(inputs, config)) if inputs else _failed(relations)
    batches = LocationBatches(files, base, fetching_folder(files))
    keeping = Keeping(
        folder=fetching_folder(files),
        keep=lambda path, sha256: keep_media(files, "sources", sha256, path),
        unwanted_etag=lambda uri, etag: crawl.version_id(uri, etag) in base.removed,
        unwanted=lambda sha256: base.removed.get(crawl.source_id(sha256)) == [ALL],
    )
    stale: list[str] = []
    done = asked = 0

    def counted() -> Iterator[Looked]:
        nonlocal asked
        for looked in _looked_up(relations, islice(places, limit)):
            asked += 1
            yield looked

    try:
        for looked, outcome in fetch_all(counted(), config, keeping):
            _take(batches, looked, outcome)
            if isinstance(outcome, Failed) and looked.row is not None:
                stale.append(f"{looked.place.uri} could not be looked at again: {outcome.error}")
            done += 1
            progress("places", done, asked)
    finally:
        # Also where a list turns out to be broken half-way: what was fetched until then counts.
        snapshot = batches.commit()
    return Crawled(snapshot=commit(files, snapshot, _without_lost(files, snapshot)), stale=stale)


def _take(batches: LocationBatches, looked: Looked, outcome: Outcome) -> None:
    place = looked.place
    id_ = crawl.location_id(place.uri)
    row: Row = {
        "id": id_,
        "uri": place.uri,
        "licence": place.licence,
        "consent": place.consent,
        "extra": json.dumps(place.extra, sort_keys=True) if place.extra else None,
    }
    scheme = place.uri.partition("://")[0] if place.path is None else "file"
    fingerprint = stage_digest("crawl", crawl.VERSION)
    about = About(backend=f"{scheme}/{crawl.VERSION}", fingerprint=fingerprint, seconds=0.0)
    if isinstance(outcome, Unwanted):
        batches.drop(id_, crawl.version_id(place.uri, outcome.etag) if outcome.etag else None)
    elif isinstance(outcome, Fetched):
        row |= {"source_id": crawl.source_id(outcome.sha256), "etag": outcome.etag}
        batches.add(completed(row | {"media_sha256": outcome.sha256 if outcome.kept else None}, **about))
    elif looked.row is not None:
        batches.add(completed(row | {name: looked.row[name] for name in _OF_CONTENT}, **about))
    elif isinstance(outcome, Failed):
        batches.add(row | unmeasured(id_, outcome.error, **about) | {"attempt": outcome.attempts})


_OF_CONTENT = ("source_id", "etag", "media_sha256")


def _looked_up(relations: Relations, places: Iterator[Place]) -> Iterator[Looked]:
    """Places with their rows, many at a time."""
    asked = "(SELECT unnest(?) AS id)"
    query = f"SELECT id, {', '.join(_OF_CONTENT)} FROM locations JOIN {asked} USING (id) WHERE status = 'ok'"
    while some := list(islice(places, LOOKED_UP_AT_ONCE)):
        ids = [crawl.location_id(place.uri) for place in some]
        found = relations.connection.execute(query, [ids]).fetchall()
        rows = {id_: dict(zip(_OF_CONTENT, values, strict=True)) for id_, *values in found}
        for id_, place in zip(ids, some, strict=True):
            row = rows.get(id_)
            yield Looked(place=place, etag=row["etag"] if row else "", row=row)


def _outside(files: Files, places: Iterator[Place]) -> Iterator[Place]:
    """Places that do not lie inside the run itself."""
    run = files.local_path("")
    for place in places:
        inside = place.uri.startswith(f"{files.root}/") if run is None else _within(place.path, run.absolute())
        if not inside:
            yield place


def _within(path: Path | None, folder: Path) -> bool:
    return path is not None and path.is_relative_to(folder)


def _failed(relations: Relations) -> Iterator[Place]:
    query = "SELECT uri, licence, consent, extra FROM locations WHERE status = 'failed' ORDER BY uri"
    for uri, licence, consent, extra in relations.connection.execute(query).fetchall():
        path = None if "://" in uri else Path(uri)
        yield Place(uri=uri, path=path, licence=licence, consent=consent, extra=json.loads(extra) if extra else {})


def _without_lost(files: Files, snapshot: Snapshot) -> Snapshot:
    """Without sources that are found nowhere any more: another file lies in their place, and no licence is known."""
    query = "SELECT DISTINCT source_id FROM locations WHERE status = 'ok'"
    found = {source for (source,) in Relations(files, snapshot).connection.execute(query).fetchall()}
    lost = {source for source in snapshot.parts.get("sources", {}) if source not in found}
    parts = {
        table: {group: paths for group, paths in groups.items() if group not in lost}
        for table, groups in snapshot.parts.items()
    }
    return replace(snapshot, parts=parts)


def sources_of(relations: Relations) -> Iterator[tuple[Source, bool]]:
    """Every source that the run knows, once, by id, at the first place where it lies; False where none is as it was."""
    query = """SELECT source_id, list(uri ORDER BY uri), list(etag ORDER BY uri), max(media_sha256) FROM locations
               WHERE status = 'ok' GROUP BY source_id ORDER BY source_id"""
    for source_id, uris, etags, sha256 in relations.connection.execute(query).fetchall():
        places = [(Path(uri), etag) for uri, etag in zip(uris, etags, strict=True) if "://" not in uri]
        unchanged = [path for path, etag in places if path.is_file() and crawl.etag_of(path) == etag]
        copy = relations.files.local_path(media_path("sources", sha256)) if sha256 else None
        if copy is not None and copy.is_file():
            unchanged.append(copy)
        path = [*unchanged, Path(uris[0])][0]
        if unchanged or copy is not None or sha256 is None:
            yield Source(id=source_id, path=path), bool(unchanged)
        else:
            yield Source(id=source_id, path=path, media_sha256=sha256), True
