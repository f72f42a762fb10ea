"""Rows of places into parts and commits: many places a part, so that 100,000 addresses are no 100,000 files."""

import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.crawl.download import forget
from pipeline.engine.fingerprint import input_digest, stage_digest
from pipeline.stage import Row
from pipeline.stages import crawl
from pipeline.store.files import Files
from pipeline.store.parts import part_path, read_part, write_part
from pipeline.store.snapshots import ALL, Snapshot, commit
from schemas.tables import UNHASHED_COLUMNS

GROUPS = 64
"""A place's group follows from its id: however and in whatever order places came, the same rows are the same parts."""

ROWS_AT_ONCE = 5000
COMMIT_EVERY_S = 60.0
"""A commit is made after so many rows or so long; what a kill leaves uncommitted is found in the marks of downloads."""


def group_of(location_id: str) -> str:
    """The group of a place."""
    return f"places-{int(location_id, 16) % GROUPS:02x}"


class LocationBatches:
    """Collects rows of places and commits them now and then. `snapshot`: the newest commit."""

    def __init__(self, files: Files, base: Snapshot, fetching: Path) -> None:
        self.snapshot = base
        self._files = files
        self._fetching = fetching
        self._rows: dict[str, Row] = {}
        self._removed: dict[str, list[list[int]]] = {}
        self._last = time.monotonic()

    def add(self, row: Row) -> None:
        """Take a row; one with the same id gives way to it."""
        self._rows[row["id"]] = row
        self._commit_if_due()

    def drop(self, location_id: str, version_id: str | None) -> None:
        """The place holds what must not come back: in this version, where versions can be told apart."""
        self._rows.pop(location_id, None)
        if version_id is not None:
            self._removed[version_id] = [ALL]
        self._commit_if_due()

    def commit(self) -> Snapshot:
        """Commit what was taken."""
        by_group: dict[str, dict[str, Row]] = defaultdict(dict)
        for id_, row in self._rows.items():
            by_group[group_of(id_)][id_] = row
        groups = self._by_group(set(self._rows))
        for group, rows in by_group.items():
            groups[group] = self._part(groups.get(group, []), rows)
        new = replace(
            self.snapshot,
            parts={**self.snapshot.parts, "locations": groups} if groups else self.snapshot.parts,
            removed={**self.snapshot.removed, **self._removed},
        )
        self.snapshot = commit(self._files, self.snapshot, new)
        for id_, row in self._rows.items():
            if row["status"] == "ok":
                forget(self._fetching, id_)
        self._rows, self._removed = {}, {}
        self._last = time.monotonic()
        return self.snapshot

    def _commit_if_due(self) -> None:
        if len(self._rows) + len(self._removed) >= ROWS_AT_ONCE or time.monotonic() - self._last > COMMIT_EVERY_S:
            self.commit()

    def _by_group(self, coming: set[str]) -> dict[str, list[str]]:
        """The current groups, without those that earlier versions made for one place, where that place comes anew."""
        return {
            group: paths for group, paths in self.snapshot.parts.get("locations", {}).items() if group not in coming
        }

    def _part(self, paths: list[str], rows: dict[str, Row]) -> list[str]:
        """The part of a group with these rows laid over its current ones; the current one where nothing changes."""
        now = {row["id"]: row for path in paths for row in read_part(self._files, path).to_pylist()}
        new = {**now, **rows}
        if now and all(_said(now.get(id_, {})) == _said(row) for id_, row in rows.items()):
            return paths
        said = [str(_said(new[id_])) for id_ in sorted(new)]
        path = part_path("locations", stage_digest("crawl", crawl.VERSION), input_digest(*said))
        write_part(self._files, "locations", path, new.values())
        return [path]


def _said(row: Row) -> list[tuple[str, Any]]:
    """What a row says, whoever found it out, and how long that took."""
    return sorted((name, value) for name, value in row.items() if value is not None and name not in UNHASHED_COLUMNS)
