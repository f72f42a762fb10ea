"""Crawling into the store: which sources there are, where each was found, under which licence."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pyarrow as pa

from pipeline.engine.fingerprint import stage_digest
from pipeline.engine.rows import About, completed
from pipeline.stage import Row
from pipeline.stages import crawl
from pipeline.stages.crawl import CrawlConfig, Found
from pipeline.store.bundles import homes, merged, write_bundle
from pipeline.store.files import Files
from pipeline.store.parts import to_arrow
from pipeline.store.relations import Relations
from pipeline.store.snapshots import ALL, Snapshot

BATCH = 1000
"""Places that are looked up and written together."""
COLUMNS = ("id", "source_id", "uri", "etag", "licence", "consent", "extra")


def crawl_into(
    files: Files, snapshot: Snapshot, inputs: list[str], config: CrawlConfig, *, limit: int | None
) -> Snapshot:
    """The snapshot with a location for every file found. A file whose etag is known is not read again."""
    relations = Relations(files, snapshot)
    run = files.local_path("")
    about = About(backend=f"file/{crawl.VERSION}", fingerprint=stage_digest("crawl", crawl.VERSION), seconds=0.0)
    places = _limited(crawl.find(inputs, config), limit, run)
    while batch := {crawl.location_id(found.uri): found for found in islice(places, BATCH)}:
        known = _known(relations, list(batch))
        rows: dict[str, Row] = {}
        for id_, found in batch.items():
            before = known.get(id_, {})
            source_id = before["source_id"] if before.get("etag") == found.etag else crawl.source_id(found.path)
            row = _row(found, source_id)
            if snapshot.removed.get(source_id) != [ALL] and row != before:
                rows[id_] = row
        if rows:
            table = to_arrow("locations", (completed(row, **about) for row in rows.values()))
            older = homes(snapshot, files, "locations", rows)
            snapshot = merged(files, snapshot.with_bundle(*write_bundle(files, {"locations": table}), older))
    return _without_lost(files, snapshot)


def _known(relations: Relations, ids: list[str]) -> dict[str, Row]:
    """Those of these locations that the run has, as `_row` gives them."""
    relations.connection.register("batch", pa.table({"id": ids}))
    cursor = relations.connection.execute(f"SELECT {', '.join(COLUMNS)} FROM locations JOIN batch USING (id)")
    return {row[0]: dict(zip(COLUMNS, row, strict=True)) for row in cursor.fetchall()}


def _without_lost(files: Files, snapshot: Snapshot) -> Snapshot:
    """Without sources that are found nowhere any more: another file lies in their place, and no licence is known."""
    query = "SELECT id FROM ledger WHERE id NOT IN (SELECT source_id FROM locations WHERE source_id IS NOT NULL)"
    lost = {source for (source,) in Relations(files, snapshot).connection.execute(query).fetchall()}
    return snapshot.dropping(homes(snapshot, files, "ledger", lost)) if lost else snapshot


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
