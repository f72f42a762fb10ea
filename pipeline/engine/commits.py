"""Units into commits: a source counts when all of its units are done."""

import time
from collections import Counter, defaultdict

from pipeline.engine.unit import Unit
from pipeline.store.files import Files
from pipeline.store.snapshots import Snapshot, commit
from schemas.errors import WorkFailed

COMMIT_EVERY_S = 20.0
"""Between commits while work goes on. What a kill leaves uncommitted is found again by its name."""


class FailureLimit:
    """Notices where most sources fail: then something other than the footage is wrong, and going on is waste."""

    def __init__(self, *, share: float, seen_first: int) -> None:
        self._share, self._seen_first = share, seen_first
        self._seen = 0
        self._errors: Counter[str] = Counter()

    def passed(self, error: str | None) -> str | None:
        """Count a source with its error or none; what to say where the limit is passed."""
        self._seen += 1
        if error is not None:
            self._errors[error] += 1
        failed = self._errors.total()
        if self._seen < self._seen_first or failed <= self._share * self._seen:
            return None
        often, times = self._errors.most_common(1)[0]
        return (
            f"stopped: {failed} of {self._seen} sources failed, {times} of them with: {often}. What is done is kept; "
            "raise engine.failure_limit to go on"
        )


class Commits:
    """Collects units and commits whole sources, now and then and at the end."""

    def __init__(self, files: Files, base: Snapshot, limit: FailureLimit) -> None:
        self._files = files
        self._base = base
        self._limit = limit
        self._waiting: dict[str, list[Unit]] = defaultdict(list)
        self._done: dict[str, dict[str, list[str]]] = {}
        self._work: dict[str, float] = defaultdict(float)
        self._last = time.monotonic()

    def add(self, unit: Unit) -> bool:
        """Take a unit. True where it was the last of its source. Raises WorkFailed where too many sources fail."""
        waiting = self._waiting[unit.source_id]
        waiting.append(unit)
        if len(waiting) < unit.of:
            return False
        del self._waiting[unit.source_id]
        parts: dict[str, list[str]] = {}
        for done in sorted(waiting, key=lambda done: done.number):
            for table, paths in done.parts.items():
                known = parts.setdefault(table, [])
                known.extend(path for path in paths if path not in known)
            for name, amount in done.work.items():
                self._work[name] += amount
        self._done[unit.source_id] = parts
        if stop := self._limit.passed(unit.error):
            self.commit()
            raise WorkFailed(stop)
        if time.monotonic() - self._last > COMMIT_EVERY_S:
            self.commit()
        return True

    def commit(self) -> Snapshot:
        """Commit what is whole."""
        self._base = commit(self._files, self._base, self._base.with_sources(self._done).with_work(dict(self._work)))
        self._done = {}
        self._work.clear()
        self._last = time.monotonic()
        return self._base
