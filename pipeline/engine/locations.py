"""Crawling into the store: which sources there are, where each was found, under which licence."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pipeline.engine.fingerprint import input_digest, stage_digest
from pipeline.engine.rows import About, completed
from pipeline.stage import Row, Source
from pipeline.stages import crawl
from pipeline.stages.crawl import CrawlConfig, Found
from pipeline.store.files import Files
from pipeline.store.parts import part_path, write_part
from pipeline.store.relations import Relations
from pipeline.store.snapshots import ALL, Snapshot


def crawl_into(
    files: Files, snapshot: Snapshot, inputs: list[str], config: CrawlConfig, *, limit: int | None
) -> Snapshot:
    """The snapshot with a location for every file found. A file whose etag is known is not read again."""
    query = "SELECT uri, etag, source_id FROM locations"
    known = {
        uri: (etag, source) for uri, etag, source in Relations(files, snapshot).connection.execute(query).fetchall()
    }
    run = files.local_path("")
    parts = {"locations": dict(snapshot.parts.get("locations", {}))}
    for found in _limited(crawl.find(inputs, config), limit, run):
        etag, source_id = known.get(found.uri, ("", ""))
        if etag != found.etag:
            source_id = crawl.source_id(found.path)
        if snapshot.removed.get(source_id) == [ALL]:
            continue
        fingerprint = stage_digest("crawl", crawl.VERSION)
        row = _row(found, source_id)
        path = part_path("locations", fingerprint, input_digest(*(str(row[key]) for key in sorted(row))))
        about = About(backend=f"file/{crawl.VERSION}", fingerprint=fingerprint, seconds=0.0)
        write_part(files, "locations", path, [completed(row, **about)])
        parts["locations"][crawl.location_id(found.uri)] = [path]
    return _without_lost(files, replace(snapshot, parts={**snapshot.parts, **parts}))


def _without_lost(files: Files, snapshot: Snapshot) -> Snapshot:
    """Without sources that are found nowhere any more: another file lies in their place, and no licence is known."""
    query = "SELECT DISTINCT source_id FROM locations"
    found = {source for (source,) in Relations(files, snapshot).connection.execute(query).fetchall()}
    lost = {source for source in snapshot.parts.get("sources", {}) if source not in found}
    parts = {
        table: {group: paths for group, paths in groups.items() if group not in lost}
        for table, groups in snapshot.parts.items()
    }
    return replace(snapshot, parts=parts)


def sources_of(relations: Relations) -> Iterator[tuple[Source, bool]]:
    """Every source that the run knows, once, by id, at the first place where it lies; False where none is as it was."""
    query = """SELECT source_id, list(uri ORDER BY uri), list(etag ORDER BY uri) FROM locations
               GROUP BY source_id ORDER BY source_id"""
    for source_id, uris, etags in relations.connection.execute(query).fetchall():
        places = [(Path(uri), etag) for uri, etag in zip(uris, etags, strict=True)]
        unchanged = [path for path, etag in places if path.is_file() and crawl.etag_of(path) == etag]
        yield Source(id=source_id, path=[*unchanged, places[0][0]][0]), bool(unchanged)


def _limited(found: Iterator[Found], limit: int | None, run: Path | None) -> Iterator[Found]:
    """At most `limit` places, and none inside the run itself."""
    taken = 0
    for place in found:
        if limit is not None and taken >= limit:
            return
        if run is None or not place.path.is_relative_to(run.absolute()):
            taken += 1
            yield place


def _row(found: Found, source_id: str) -> Row:
    return {
        "id": crawl.location_id(found.uri),
        "source_id": source_id,
        "uri": found.uri,
        "etag": found.etag,
        "licence": found.licence,
        "consent": found.consent,
        "extra": json.dumps(found.extra, sort_keys=True) if found.extra else None,
    }
