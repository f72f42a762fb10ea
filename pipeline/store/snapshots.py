"""Snapshots: which parts are current. Creating the next number is the commit."""

import json
from dataclasses import asdict, dataclass, field, replace

from pipeline.store.files import Files
from schemas.errors import UserError

FORMAT = "humo.snapshot/1"
WHOLE = "*"
"""The group of a set stage's part, which covers all sources."""
ALL = [0, 2**62]
"""A span that covers any source."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The committed state of a run.

    `parts`: table -> group (a source, a location, or `WHOLE`) -> part paths in order. A source is committed in one
    piece, so that every clip-level table has a row for every committed clip.
    `work`: counters since the run began (decodes by pass, seconds by stage); they take no part in any hash.
    `retries`: source -> item stage -> how often its failed rows were asked for again.
    `removed`: source -> spans (start_us, end_us) that were taken down and must not come back; `ALL` covers everything.
    """

    number: int = 0
    parts: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    work: dict[str, float] = field(default_factory=dict)
    retries: dict[str, dict[str, int]] = field(default_factory=dict)
    removed: dict[str, list[list[int]]] = field(default_factory=dict)

    def paths(self, table: str) -> list[str]:
        """The current parts of a table, in group order."""
        groups = self.parts.get(table, {})
        return [path for group in sorted(groups) for path in groups[group]]

    def with_group(self, group: str, parts: dict[str, list[str]]) -> "Snapshot":
        """A copy in which `group` has these parts, and only these, in the tables named."""
        merged = {table: dict(groups) for table, groups in self.parts.items()}
        for table, paths in parts.items():
            merged.setdefault(table, {})[group] = paths
        return replace(self, parts=merged)

    def with_sources(self, done: dict[str, dict[str, list[str]]]) -> "Snapshot":
        """A copy in which each of these sources has these parts (table -> paths), and no others."""
        parts: dict[str, dict[str, list[str]]] = {}
        for table, groups in self.parts.items():
            parts[table] = {group: paths for group, paths in groups.items() if group not in done}
        for source_id, tables in done.items():
            for table, paths in tables.items():
                parts.setdefault(table, {})[source_id] = paths
        return replace(self, parts=parts)

    def with_work(self, work: dict[str, float]) -> "Snapshot":
        """A copy with counters added."""
        total = {key: self.work.get(key, 0) + work.get(key, 0) for key in sorted({*self.work, *work})}
        return replace(self, work=total)


def snapshot_path(number: int) -> str:
    """Where a commit lies."""
    return f"snapshots/{number:08d}.json"


def latest(files: Files) -> Snapshot:
    """The newest commit; an empty snapshot 0 where there is none."""
    names = [name for name in files.names("snapshots") if name.endswith(".json")]
    if not names:
        return Snapshot()
    raw = json.loads(files.read(f"snapshots/{names[-1]}"))
    if raw.get("format") != FORMAT:
        raise UserError(f"{files.root} was written by another version of humo ({raw.get('format')})")
    return Snapshot(
        number=raw["number"],
        parts=raw["parts"],
        work=raw["work"],
        retries=raw.get("retries", {}),
        removed=raw.get("removed", {}),
    )


def commit(files: Files, base: Snapshot, new: Snapshot) -> Snapshot:
    """Make `new` the current snapshot, next after `base`. Returns it with its number; `base` where nothing changed.

    Raises UserError where another writer committed since `base`.
    """
    if (new.parts, new.retries, new.removed) == (base.parts, base.retries, base.removed):
        return base
    number = base.number + 1
    body = {"format": FORMAT, **asdict(replace(new, number=number))}
    if not files.create(snapshot_path(number), json.dumps(body, sort_keys=True).encode()):
        raise UserError(f"another command wrote to {files.root} meanwhile; give the same command again")
    return replace(new, number=number)
