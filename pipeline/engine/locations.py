"""Crawling into the store: which sources there are, where each was found, under which licence."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from pipeline.crawl.download import forget
from pipeline.crawl.fetch import Asked, Failed, Fetched, Keeping, Outcome, Unchanged, Unwanted
from pipeline.crawl.place import Place
from pipeline.crawl.places import find
from pipeline.crawl.window import fetch_all
from pipeline.engine.fetching import fetching_folder
from pipeline.engine.fingerprint import stage_digest
from pipeline.engine.progress import Progress, silent
from pipeline.engine.rows import About, completed, unmeasured
from pipeline.stage import Row
from pipeline.stages import crawl
from pipeline.stages.crawl import NO_VERSION
from pipeline.stages.options.crawl import VERSION, CrawlConfig
from pipeline.store.bundles import homes, merged, write_bundle
from pipeline.store.files import Files
from pipeline.store.media import media_path
from pipeline.store.parts import to_arrow
from pipeline.store.relations import Relations, quoted
from pipeline.store.snapshots import ALL, Snapshot, commit

BATCH = 1000
"""Places that are looked up, written and committed together."""
COMMIT_EVERY_S = 60.0
"""Fewer are committed where they take longer. What a kill leaves uncommitted is found in the marks of downloads."""
ABOUT = About(backend=f"crawl/{VERSION}", fingerprint=stage_digest("crawl", VERSION), seconds=0.0)
COLUMNS = ("id", "status", "error", "source_id", "uri", "etag", "bytes", "licence", "consent", "extra")


@dataclass(frozen=True, kw_only=True)
class Known(Asked):
    """A place with the row that the run has of it; an empty one where it has none."""

    row: dict[str, Any] = field(default_factory=dict)

    @property
    def fetched(self) -> bool:
        """Whether it was fetched before."""
        return self.row.get("status") == "ok"


def crawl_into(
    files: Files,
    snapshot: Snapshot,
    inputs: list[str],
    config: CrawlConfig,
    *,
    limit: int | None,
    progress: Progress = silent,
    tell_stale: Callable[[str], None] = lambda _line: None,
) -> Snapshot:
    """The snapshot with a location for every place that the inputs name, committed as the crawl goes on.

    What is here in the same version is not read again. Files from elsewhere are stored in the run. A place that cannot
    be fetched is a failed row, unless it could be before: `tell_stale` is told of these. Without inputs, places that
    failed before are tried again.
    """
    scratch = files.scratch()
    crawling = _Crawl(files, snapshot)
    done = asked = 0

    def places() -> Iterator[Known]:
        nonlocal asked
        found = _outside(files, find(inputs, config, scratch=scratch)) if inputs else _failed(files, snapshot)
        for known in _looked_up(files, snapshot, islice(found, limit)):
            asked += 1
            yield known

    try:
        for known, outcome in fetch_all(places(), config, crawling.keeping):
            crawling.take(known, outcome)
            if isinstance(outcome, Failed) and known.fetched:
                tell_stale(f"{known.place.uri} could not be looked at again: {outcome.error}")
            done += 1
            progress("places", done, asked)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        # Also where a list turns out to be broken half-way: what was fetched until then counts.
        crawling.commit()
    return commit(files, crawling.snapshot, without_lost(files, crawling.snapshot))


class _Crawl:
    """Rows on their way into commits. `snapshot`: the newest."""

    def __init__(self, files: Files, base: Snapshot) -> None:
        self.snapshot = base
        self.keeping = Keeping(
            folder=fetching_folder(files),
            keep=self._keep,
            unwanted_etag=lambda uri, etag: crawl.version_id(uri, etag) in base.removed,
            unwanted=lambda sha256: base.removed.get(crawl.source_id(sha256)) == [ALL],
        )
        self._files = files
        self._removed = base.removed
        self._rows: dict[str, Row] = {}
        self._last = time.monotonic()

    def take(self, known: Known, outcome: Outcome) -> None:
        """Take what came of a place."""
        row = _row(known, outcome)
        if isinstance(outcome, Unwanted) and outcome.etag:
            removed = {crawl.version_id(known.place.uri, outcome.etag): [ALL]}
            self.snapshot = replace(self.snapshot, removed={**self.snapshot.removed, **removed})
        elif row is not None and _said(row) != known.row:
            self._rows[row["id"]] = row
        if len(self._rows) >= BATCH or time.monotonic() - self._last > COMMIT_EVERY_S:
            self.commit()

    def commit(self) -> None:
        """Commit what was taken."""
        self._last = time.monotonic()
        rows, self._rows = self._rows, {}
        base = replace(self.snapshot, removed=self._removed)
        new = self.snapshot
        if rows:
            bundle = write_bundle(self._files, {"locations": to_arrow("locations", rows.values())})
            new = merged(self._files, new.with_bundle(*bundle, homes(new, self._files, "locations", rows)))
        self.snapshot = commit(self._files, base, new)
        self._removed = self.snapshot.removed
        for id_, row in rows.items():
            if row["status"] == "ok":
                forget(self.keeping.folder, id_)

    def _keep(self, path: Path, sha256: str) -> None:
        """Store a fetched file, unless something of it was taken down, which it would still show."""
        source_id = crawl.source_id(sha256)
        if source_id not in self._removed:
            self._files.create_from(media_path("sources", source_id), path)
        path.unlink(missing_ok=True)


def _row(known: Known, outcome: Outcome) -> Row | None:
    """The row of a place; None where its content was taken down."""
    place = known.place
    said = {
        "id": crawl.location_id(place.uri),
        "uri": place.uri,
        "licence": place.licence,
        "consent": place.consent,
        "extra": json.dumps(place.extra, sort_keys=True) if place.extra else None,
    }
    if isinstance(outcome, Fetched):
        of_content = {
            "source_id": crawl.source_id(outcome.sha256),
            "etag": outcome.etag or NO_VERSION,
            "bytes": outcome.bytes,
        }
        return completed({**said, **of_content}, **ABOUT)
    if isinstance(outcome, Unchanged) or (isinstance(outcome, Failed) and known.fetched):
        return completed({**said, **{name: known.row[name] for name in ("source_id", "etag", "bytes")}}, **ABOUT)
    if isinstance(outcome, Failed):
        return {**unmeasured(str(said["id"]), outcome.error, **ABOUT), **said, "attempt": outcome.attempts}
    return None


def _said(row: Row) -> dict[str, Any]:
    return {name: row.get(name) for name in COLUMNS}


def _looked_up(files: Files, snapshot: Snapshot, places: Iterator[Place]) -> Iterator[Known]:
    """Each place with the version that is here, and its row."""
    relations = Relations(files, snapshot)
    while batch := list(islice(places, BATCH)):
        ids = ", ".join(quoted(crawl.location_id(place.uri)) for place in batch)
        query = f"SELECT {', '.join(COLUMNS)} FROM locations WHERE id IN ({ids})"
        rows = {row[0]: dict(zip(COLUMNS, row, strict=True)) for row in relations.connection.execute(query).fetchall()}
        for place in batch:
            row = rows.get(crawl.location_id(place.uri), {})
            yield Known(place=place, etag=row["etag"] if row.get("status") == "ok" else "", row=row)


def _failed(files: Files, snapshot: Snapshot) -> Iterator[Place]:
    query = "SELECT uri, licence, consent, extra FROM locations WHERE status = 'failed' ORDER BY uri"
    cursor = Relations(files, snapshot).connection.execute(query)
    while rows := cursor.fetchmany(BATCH):
        for uri, licence, consent, extra in rows:
            # A place on this machine has its whole path; what else has no "://" came from a list elsewhere.
            path = Path(uri) if Path(uri).is_absolute() else None
            yield Place(uri=uri, path=path, licence=licence, consent=consent, extra=json.loads(extra) if extra else {})


def _outside(files: Files, places: Iterator[Place]) -> Iterator[Place]:
    """Places that do not lie inside the run itself."""
    run = files.local_path("")
    inside = run.absolute() if run is not None else None
    for place in places:
        local = inside is not None and place.path is not None and place.path.is_relative_to(inside)
        if not local and not place.uri.startswith(f"{files.root}/"):
            yield place


def without_lost(files: Files, snapshot: Snapshot) -> Snapshot:
    """Without sources that are found nowhere any more: another file lies in their place, and no licence is known."""
    query = "SELECT id FROM ledger WHERE id NOT IN (SELECT source_id FROM locations WHERE source_id IS NOT NULL)"
    lost = {source for (source,) in Relations(files, snapshot).connection.execute(query).fetchall()}
    return snapshot.dropping(homes(snapshot, files, "ledger", lost)) if lost else snapshot
