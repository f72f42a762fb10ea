"""A run under review: its newest commit, and everything that was said since."""

import copy
import hashlib
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config import CurateConfig
from pipeline.decide.licences import create_uses
from pipeline.engine.run_file import resolve
from pipeline.report.measurements import Histogram, histograms
from pipeline.report.write import Overview, overview_of_run
from pipeline.review.gallery import create_gallery
from pipeline.review.run_id import run_id
from pipeline.store.bundles import write_rows
from pipeline.store.files import Files
from pipeline.store.parts import to_arrow
from pipeline.store.relations import Relations
from pipeline.store.snapshots import Snapshot, latest
from pipeline.verdicts.fold import all_verdicts, as_table_rows, committed_ids, said_since
from pipeline.verdicts.journal import record
from pipeline.verdicts.standing import create_standing, update_standing
from pipeline.verdicts.verdict import Verdict

LOOK_EVERY_S = 1.0
"""Other reviewers' verdicts and new commits are looked for so often at most."""
FEW = 100
"""Clips whose standing is brought up to date one by one; with more, all of it is made anew."""

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A commit as the pages show it.

    `state`: names the commit and the rules in force. `heard`: verdicts that its decisions know.
    """

    snapshot: Snapshot
    state: str
    config: CurateConfig
    relations: Relations
    heard: frozenset[str]
    overview: Overview
    histograms: list[Histogram]


class Session:
    """Thread-safe. `relations` has the tables `gallery`, `verdicts`, `standing`, `uses` beside the run's own."""

    def __init__(self, files: Files, *, look_every_s: float = LOOK_EVERY_S) -> None:
        self.files = files
        self.run = run_id(files)
        self._opened: Opened
        self._lock = threading.RLock()
        self._look_every_s = look_every_s
        self._looked = 0.0
        self._last_us = 0
        self._rows: dict[str, Row] = {}
        self._ignored: set[str] = set()
        self._of_clip: dict[str, list[str]] = {}
        self._undone: set[tuple[str, str]] = set()
        self._folder = tempfile.TemporaryDirectory(prefix="humo-review-")
        with self._lock:
            self._open(latest(files))

    def close(self) -> None:
        """Remove the tables made for the pages."""
        with self._lock:
            self._opened.relations.connection.close()
            self._folder.cleanup()

    @property
    def opened(self) -> Opened:
        """The commit that the pages show now."""
        with self._lock:
            return self._opened

    @property
    def relations(self) -> Relations:
        """The tables, by a connection of the caller's own: one is for one thread."""
        with self._lock:
            own = copy.copy(self._opened.relations)
            own.connection = self._opened.relations.connection.cursor()
        return own

    def refresh(self) -> None:
        """Take in what others did, unless that was looked at just now."""
        with self._lock:
            if time.monotonic() - self._looked > self._look_every_s:
                self._follow()
                self._hear()
                self._looked = time.monotonic()

    def follow(self) -> None:
        """Open the newest commit, however short ago that was looked at: nothing may be said of what has gone."""
        with self._lock:
            self._follow()

    def now_us(self) -> int:
        """The time, later than any given before."""
        with self._lock:
            self._last_us = max(time.time_ns() // 1000, self._last_us + 1)
            return self._last_us

    def say(self, verdict: Verdict) -> None:
        """Write a verdict down. When this returns it is on the disk; one sent again is there once."""
        record(self.files, verdict)
        with self._lock:
            if verdict.id not in self._rows:
                self._take([verdict.row()])

    def verdicts(self) -> list[Row]:
        """Rows of all verdicts, by time."""
        with self._lock:
            return sorted(self._rows.values(), key=_when)

    def verdict(self, id_: str) -> Row | None:
        """One of them."""
        with self._lock:
            return self._rows.get(id_)

    def count_verdicts(self) -> int:
        """How many there are."""
        with self._lock:
            return len(self._rows)

    def said_of(self, clip: str) -> list[Row]:
        """Verdicts on a clip, by time."""
        with self._lock:
            return sorted((self._rows[id_] for id_ in self._of_clip.get(clip, ())), key=_when)

    def undone(self) -> set[tuple[str, str]]:
        """Id of a verdict, and who took it back."""
        with self._lock:
            return set(self._undone)

    def query(self, sql: str, parameters: Any = None) -> list[Row]:
        """Rows by column name."""
        with self.relations.connection as cursor:
            cursor.execute(sql, parameters)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def _follow(self) -> None:
        found = latest(self.files)
        if found.number != self._opened.snapshot.number:
            self._open(found)
        elif _state(self.files, found) != self._opened.state:
            # A decision commits first, and writes its thresholds down then.
            self._opened = self._described(self._opened.relations, self._opened.heard)

    def _hear(self) -> None:
        """Take in what other servers were told."""
        read = self._rows.keys() | self._ignored
        new = said_since(self.files, self._opened.snapshot, self._rows, read=read)
        self._ignored |= {id_ for id_, row in new.items() if not row}
        self._take([row for row in new.values() if row])

    def _open(self, snapshot: Snapshot) -> None:
        before = self._opened.relations if hasattr(self, "_opened") else None
        relations = Relations(self.files, snapshot)
        folder = Path(self._folder.name)
        create_gallery(relations, _tables(folder, snapshot))
        create_uses(relations)
        found = all_verdicts(self.files, snapshot)
        rows = to_arrow("verdicts", as_table_rows(found))
        made = folder / "verdicts"
        write_rows(made, [rows], rows.schema)
        relations.connection.execute("DROP VIEW verdicts")
        relations.connection.execute("CREATE TABLE verdicts AS SELECT * FROM read_parquet(?)", [str(made)])
        made.unlink()
        create_standing(relations)
        self._opened = self._described(relations, frozenset(committed_ids(self.files, snapshot)))
        self._rows, self._ignored, self._of_clip, self._undone = {}, set(), {}, set()
        for row in found:
            self._index(row)
        if before is not None:
            # Of what was taken down nothing may be left, here neither.
            before.connection.close()
            _tables(folder, before.snapshot).unlink()

    def _described(self, relations: Relations, heard: frozenset[str]) -> Opened:
        state = _state(self.files, relations.snapshot)
        config = resolve(self.files, {})
        return Opened(
            snapshot=relations.snapshot,
            state=state,
            config=config,
            relations=relations,
            heard=heard,
            overview=overview_of_run(relations, config.decide),
            histograms=histograms(relations, config.decide),
        )

    def _index(self, row: Row) -> None:
        self._rows[row["id"]] = row
        if row["clip_id"] is not None:
            self._of_clip.setdefault(row["clip_id"], []).append(row["id"])
        if row["kind"] == "undo":
            self._undone.add((row["undoes"], row["reviewer"]))

    def _take(self, rows: list[Row]) -> None:
        if not rows:
            return
        own = self.relations
        for row in rows:
            self._index(row)
            names = ", ".join(f'"{name}"' for name in row)
            marks = ", ".join("?" for _ in row)
            own.connection.execute(f"INSERT INTO verdicts ({names}) VALUES ({marks})", list(row.values()))
        meant = (self._rows.get(row["undoes"] or "", row) for row in rows)
        clips = {row["clip_id"] for row in meant if row["clip_id"] is not None}
        if len(clips) > FEW:
            create_standing(own)
        elif clips:
            update_standing(own, clips)


def _state(files: Files, snapshot: Snapshot) -> str:
    return f"{snapshot.number}-{hashlib.sha256(files.read('run.json')).hexdigest()[:16]}"


def _tables(folder: Path, snapshot: Snapshot) -> Path:
    """Where the gallery of a commit lies."""
    return folder / f"{snapshot.number}.duckdb"


def _when(row: Row) -> tuple[int, str]:
    return row["at_us"], row["id"]
