"""Units into commits: a source counts when all of its units are done."""

import time
from collections import defaultdict
from collections.abc import Collection, Mapping

import pyarrow as pa

from pipeline.engine.failure_limit import FailureLimit, TooManyFailures
from pipeline.engine.pending import collected
from pipeline.engine.plan import Terms, pending_folder
from pipeline.engine.unit import Unit
from pipeline.engine.work import TOLD_ONLY
from pipeline.store.bundles import homes, merged, write_bundle
from pipeline.store.files import Files
from pipeline.store.snapshots import Snapshot, commit

COMMIT_EVERY_S = 20.0
"""Between commits while work goes on. What a kill leaves uncommitted is found again by its name."""
COMMIT_CLIPS = 4096
"""Clips that wait for a commit at most: they are in memory while it is made."""


class Commits:
    """Collects units and commits whole sources, now and then and at the end."""

    def __init__(self, files: Files, base: Snapshot, limit: FailureLimit) -> None:
        self._files = files
        self._base = base
        self._limit = limit
        self._waiting: dict[str, list[Unit]] = defaultdict(list)
        self._done: dict[str, tuple[Terms, int]] = {}
        self._clips = 0
        self._work: dict[str, float] = defaultdict(float)
        self._last = time.monotonic()

    def add(self, unit: Unit) -> bool:
        """Take a unit. True where it was the last of its source. Raises TooManyFailures; what is whole is committed."""
        try:
            self._limit.count_clips(unit.work)
        except TooManyFailures:
            self.commit()
            raise
        waiting = self._waiting[unit.source_id]
        waiting.append(unit)
        if len(waiting) < unit.of:
            return False
        del self._waiting[unit.source_id]
        for done in waiting:
            for name, amount in done.work.items():
                if not name.startswith(TOLD_ONLY):
                    self._work[name] += amount
        self._done[unit.source_id] = Terms.from_json(unit.terms), unit.clips
        self._clips += unit.clips
        if stop := self._limit.passed(unit.error):
            self.commit()
            raise TooManyFailures(stop)
        if time.monotonic() - self._last > COMMIT_EVERY_S or self._clips >= COMMIT_CLIPS:
            self.commit()
        return True

    def commit(self) -> Snapshot:
        """Commit what is whole. Its pending parts go: no commit names them, and no later one needs them."""
        new = self._base
        if self._done:
            found = [collected(self._files, id_, terms, clips) for id_, (terms, clips) in self._done.items()]
            tables = {
                name: pa.concat_tables([tables[name] for tables in found if name in tables]) for name in _names(found)
            }
            new = with_sources(self._files, new, tables, self._done)
        self._base = commit(self._files, self._base, new.with_work(dict(self._work)))
        for source_id in self._done:
            self._files.sweep(pending_folder(source_id))
        self._done = {}
        self._clips = 0
        self._work.clear()
        self._last = time.monotonic()
        return self._base


def with_sources(
    files: Files, snapshot: Snapshot, tables: Mapping[str, pa.Table], sources: Collection[str]
) -> Snapshot:
    """The snapshot with these rows for these sources, and no others."""
    older = homes(snapshot, files, "ledger", sources)
    name, bundle = write_bundle(files, dict(tables))
    return merged(files, snapshot.with_bundle(name, bundle, older))


def _names(found: list[dict[str, pa.Table]]) -> list[str]:
    return sorted({name for tables in found for name in tables})
