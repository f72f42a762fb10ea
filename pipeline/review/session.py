"""A run under review: its newest commit, and everything that was said since."""

import copy
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from pipeline.config import CurateConfig
from pipeline.engine.run_file import resolve
from pipeline.review.gallery import create_gallery
from pipeline.store.bundles import write_rows
from pipeline.store.files import Files
from pipeline.store.parts import to_arrow
from pipeline.store.relations import Relations
from pipeline.store.snapshots import Snapshot, latest
from pipeline.verdicts.fold import COLUMNS, all_verdicts, as_table_rows
from pipeline.verdicts.journal import journal, record
from pipeline.verdicts.standing import create_standing
from pipeline.verdicts.verdict import Verdict

LOOK_EVERY_S = 1.0
"""Other reviewers' verdicts and new commits are looked for so often at most."""


class Session:
    """Thread-safe. `relations` has the tables `gallery`, `verdicts`, `standing` beside the run's own."""

    def __init__(self, files: Files, *, look_every_s: float = LOOK_EVERY_S) -> None:
        self.files = files
        self.snapshot = Snapshot()
        self.config = CurateConfig()
        self._relations: Relations
        self._lock = threading.RLock()
        self._look_every_s = look_every_s
        self._looked = 0.0
        self._last_us = 0
        self._rows: dict[str, dict[str, Any]] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="humo-review-")
        self._look()

    def close(self) -> None:
        """Remove the tables made for the pages."""
        with self._lock:
            self._relations.connection.close()
            self._folder.cleanup()

    @property
    def relations(self) -> Relations:
        """The tables, by a connection of the caller's own: one is for one thread."""
        with self._lock:
            own = copy.copy(self._relations)
            own.connection = self._relations.connection.cursor()
        return own

    def refresh(self) -> None:
        """Take in what others did, unless that was looked at just now."""
        with self._lock:
            if time.monotonic() - self._looked > self._look_every_s:
                self._look()

    def now_us(self) -> int:
        """The time, later than any given before."""
        with self._lock:
            self._last_us = max(time.time_ns() // 1000, self._last_us + 1)
            return self._last_us

    def say(self, verdict: Verdict) -> None:
        """Write a verdict down. When this returns it is on the disk; one sent again is there once."""
        record(self.files, verdict)
        with self._lock:
            self._take(verdict)

    def verdicts(self) -> list[dict[str, Any]]:
        """Rows of all verdicts, by time."""
        with self._lock:
            return sorted(self._rows.values(), key=lambda row: (row["at_us"], row["id"]))

    def verdict(self, id_: str) -> dict[str, Any] | None:
        """One of them."""
        with self._lock:
            return self._rows.get(id_)

    def query(self, sql: str, parameters: Any = None) -> list[dict[str, Any]]:
        """Rows by column name."""
        with self.relations.connection as cursor:
            cursor.execute(sql, parameters)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def _look(self) -> None:
        found = latest(self.files)
        if found.number != self.snapshot.number:
            self._open(found)
        else:
            new = list(journal(self.files, but=self._rows))
            for verdict in new:
                self._take(verdict, stands=False)
            if new:
                create_standing(self._relations)
        self._looked = time.monotonic()

    def _open(self, snapshot: Snapshot) -> None:
        self.config = resolve(self.files, {})
        relations = Relations(self.files, snapshot)
        create_gallery(relations, Path(self._folder.name) / f"{snapshot.number}.duckdb")
        self._rows = {row["id"]: row for row in all_verdicts(self.files, snapshot)}
        rows = to_arrow("verdicts", as_table_rows(list(self._rows.values())))
        made = Path(self._folder.name) / "verdicts"
        write_rows(made, [rows], rows.schema)
        relations.connection.execute("DROP VIEW verdicts")
        relations.connection.execute("CREATE TABLE verdicts AS SELECT * FROM read_parquet(?)", [str(made)])
        create_standing(relations)
        self._relations, self.snapshot = relations, snapshot

    def _take(self, verdict: Verdict, *, stands: bool = True) -> None:
        if verdict.id in self._rows:
            return
        row = {**dict.fromkeys(COLUMNS), **verdict.row()}
        self._rows[verdict.id] = row
        names = ", ".join(f'"{name}"' for name in row)
        marks = ", ".join("?" for _ in row)
        with self._relations.connection.cursor() as cursor:
            cursor.execute(f"INSERT INTO verdicts ({names}) VALUES ({marks})", list(row.values()))
        if stands:
            create_standing(self._relations)
