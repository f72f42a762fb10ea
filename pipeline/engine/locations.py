"""Crawling into the store: which sources there are, where each was found, under which licence."""

import json
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from pipeline.crawl.crawling import NO_VERSION, Outcome, crawled
from pipeline.crawl.failure import FetchFailed
from pipeline.crawl.fetch import Unchanged
from pipeline.crawl.places import Place, find
from pipeline.engine.fingerprint import stage_digest
from pipeline.engine.rows import About, completed, unmeasured
from pipeline.stage import Row
from pipeline.stages import crawl
from pipeline.stages.crawl import CrawlConfig
from pipeline.store.bundles import homes, merged, write_bundle
from pipeline.store.files import Files
from pipeline.store.media import media_path
from pipeline.store.parts import to_arrow
from pipeline.store.relations import Relations, quoted
from pipeline.store.snapshots import ALL, Snapshot, commit

BATCH = 1000
"""Places that are looked up, written and committed together."""
ABOUT = About(backend=f"crawl/{crawl.VERSION}", fingerprint=stage_digest("crawl", crawl.VERSION), seconds=0.0)
COLUMNS = ("id", "status", "error", "source_id", "uri", "etag", "bytes", "licence", "consent", "extra")


def crawl_into(
    files: Files, snapshot: Snapshot, inputs: list[str], config: CrawlConfig, *, limit: int | None
) -> Snapshot:
    """The snapshot with a location for every place that the inputs name, committed as the crawl goes on.

    What is here in the same version is not read again. Files from elsewhere are stored in the run. A place that cannot
    be fetched is a failed row, unless it could be before.
    """
    folder = files.scratch()
    rows: dict[str, Row] = {}
    try:
        places = _limited(find(inputs, config, scratch=folder), limit, files.local_path(""))
        for place, before, outcome in crawled(_with_known(files, snapshot, places), config, folder=folder):
            row = _found(files, snapshot, place, before, outcome)
            if row is not None and _said(row) != before:
                rows[row["id"]] = row
            if len(rows) >= BATCH:
                snapshot = _written(files, snapshot, rows)
                rows = {}
        snapshot = _written(files, snapshot, rows)
        return commit(files, snapshot, _without_lost(files, snapshot))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _with_known(
    files: Files, snapshot: Snapshot, places: Iterator[Place]
) -> Iterator[tuple[Place, str, dict[str, Any]]]:
    """Each place with the version that is here, and its row."""
    relations = Relations(files, snapshot)
    while batch := list(islice(places, BATCH)):
        ids = ", ".join(quoted(crawl.location_id(place.uri)) for place in batch)
        query = f"SELECT {', '.join(COLUMNS)} FROM locations WHERE id IN ({ids})"
        known = {row[0]: dict(zip(COLUMNS, row, strict=True)) for row in relations.connection.execute(query).fetchall()}
        for place in batch:
            before = known.get(crawl.location_id(place.uri), {})
            yield place, before["etag"] if before.get("status") == "ok" else "", before


def _found(files: Files, snapshot: Snapshot, place: Place, before: dict[str, Any], outcome: Outcome) -> Row | None:
    """The row of a place; None where that of before stays, or where its content was taken down."""
    said = {
        "id": crawl.location_id(place.uri),
        "uri": place.uri,
        "licence": place.licence,
        "consent": place.consent,
        "extra": json.dumps(place.extra, sort_keys=True) if place.extra else None,
    }
    if isinstance(outcome, FetchFailed):
        return None if before.get("status") == "ok" else {**unmeasured(str(said["id"]), outcome, **ABOUT), **said}
    if isinstance(outcome, Unchanged):
        kept = {name: before[name] for name in ("source_id", "etag", "bytes")}
        return completed({**said, **kept}, **ABOUT)
    source_id = crawl.source_id(outcome.sha256)
    removed = snapshot.removed.get(source_id)
    if outcome.path is not None and removed is None:
        files.create_from(media_path("sources", source_id), outcome.path)
    if outcome.path is not None:
        outcome.path.unlink(missing_ok=True)
    if removed == [ALL]:
        return None
    etag = outcome.etag or NO_VERSION
    return completed({**said, "source_id": source_id, "etag": etag, "bytes": outcome.bytes}, **ABOUT)


def _said(row: Row) -> dict[str, Any]:
    return {name: row.get(name) for name in COLUMNS}


def _written(files: Files, snapshot: Snapshot, rows: dict[str, Row]) -> Snapshot:
    if not rows:
        return snapshot
    bundle = write_bundle(files, {"locations": to_arrow("locations", rows.values())})
    new = snapshot.with_bundle(*bundle, homes(snapshot, files, "locations", rows))
    return commit(files, snapshot, merged(files, new))


def _without_lost(files: Files, snapshot: Snapshot) -> Snapshot:
    """Without sources that are found nowhere any more: another file lies in their place, and no licence is known."""
    query = "SELECT id FROM ledger WHERE id NOT IN (SELECT source_id FROM locations WHERE source_id IS NOT NULL)"
    lost = {source for (source,) in Relations(files, snapshot).connection.execute(query).fetchall()}
    return snapshot.dropping(homes(snapshot, files, "ledger", lost)) if lost else snapshot


def _limited(found: Iterator[Place], limit: int | None, run: Path | None) -> Iterator[Place]:
    """At most `limit` places, and none inside the run itself."""
    inside = run.absolute() if run is not None else None
    outside = (place for place in found if not (place.path and inside and place.path.is_relative_to(inside)))
    return islice(outside, limit)
