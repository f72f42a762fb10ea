"""Snapshots: which rows are current. Creating the next number is the commit."""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace

from pipeline.store.claims import refuse_overdue
from pipeline.store.files import Files
from schemas.errors import UserError

FORMAT = "humo.snapshot/2"
ALL = [0, 2**62]
"""A span that covers any source."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """Rows that lie together: all rows of some sources, or some locations; in each table one part, sorted by id.

    `keys`: how many sources (or locations) have rows in it. `dropped`: those whose rows here count no more, because
    they were computed again or lie in another bundle now; readers leave them out. `rows`: of its largest table.
    """

    parts: dict[str, str]
    keys: int
    rows: int
    dropped: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The committed state of a run.

    `bundles`: name -> rows of the item tables. A source is committed in one piece, so that every clip-level table has
    a row for every committed clip.
    `sets`: table -> the part of a set stage, which covers all sources.
    `work`: counters since the run began (decodes by pass, seconds by stage); they take no part in any hash.
    `retries`: source -> item stage -> how often its failed rows were asked for again.
    `removed`: source -> spans (start_us, end_us) that were taken down and must not come back; `ALL` covers everything.
    """

    number: int = 0
    bundles: dict[str, Bundle] = field(default_factory=dict)
    sets: dict[str, str] = field(default_factory=dict)
    work: dict[str, float] = field(default_factory=dict)
    retries: dict[str, dict[str, int]] = field(default_factory=dict)
    removed: dict[str, list[list[int]]] = field(default_factory=dict)

    def holding(self, table: str) -> list[tuple[str, Bundle]]:
        """The bundles that have rows of an item table, by name, in order."""
        return [(name, bundle) for name, bundle in sorted(self.bundles.items()) if table in bundle.parts]

    def held(self, table: str) -> list[tuple[str, list[str]]]:
        """The parts of a table, and of each the keys whose rows there count no more."""
        parts = [(bundle.parts[table], bundle.dropped) for _, bundle in self.holding(table)]
        return [*parts, (self.sets[table], [])] if table in self.sets else parts

    def paths(self) -> set[str]:
        """Every part that this commit needs."""
        return {path for bundle in self.bundles.values() for path in bundle.parts.values()} | set(self.sets.values())

    def with_bundle(self, name: str, bundle: Bundle, without: Mapping[str, Collection[str]]) -> "Snapshot":
        """A copy with one more bundle. `without`: bundle -> keys whose rows there count no more."""
        return replace(self.dropping(without), bundles={**self.dropping(without).bundles, name: bundle})

    def dropping(self, without: Mapping[str, Collection[str]]) -> "Snapshot":
        """A copy without the rows of these keys. A bundle of which nothing is left goes."""
        bundles: dict[str, Bundle] = {}
        for name, bundle in self.bundles.items():
            dropped = sorted({*bundle.dropped, *without.get(name, ())})
            if len(dropped) < bundle.keys:
                bundles[name] = replace(bundle, dropped=dropped)
        return replace(self, bundles=bundles)

    def with_set(self, parts: dict[str, str]) -> "Snapshot":
        """A copy in which these set tables have these parts."""
        return replace(self, sets={**self.sets, **parts})

    def with_work(self, work: dict[str, float]) -> "Snapshot":
        """A copy with counters added."""
        total = {key: self.work.get(key, 0) + work.get(key, 0) for key in sorted({*self.work, *work})}
        return replace(self, work=total)


def snapshot_path(number: int) -> str:
    """Where a commit lies."""
    return f"snapshots/{number:08d}.json"


def newest_number(files: Files) -> int:
    """The number of the newest commit; 0 where there is none."""
    return max(
        (int(name.removesuffix(".json")) for name in files.names("snapshots") if name.endswith(".json")), default=0
    )


def latest(files: Files) -> Snapshot:
    """The newest commit; an empty snapshot 0 where there is none."""
    number = newest_number(files)
    if not number:
        return Snapshot()
    raw = json.loads(files.read(snapshot_path(number)))
    if raw.pop("format", None) != FORMAT:
        raise UserError(f"{files.root} was written by another version of humo, whose runs this one cannot read")
    return Snapshot(**{**raw, "bundles": {name: Bundle(**bundle) for name, bundle in raw["bundles"].items()}})


def commit(files: Files, base: Snapshot, new: Snapshot) -> Snapshot:
    """Make `new` the current snapshot, next after `base`. Returns it with its number; `base` where nothing changed.

    Raises UserError where another writer committed since `base`.
    """
    if replace(new, work=base.work) == base:
        return base
    number = base.number + 1
    body = {"format": FORMAT, **asdict(replace(new, number=number))}
    refuse_overdue(files)
    # Older numbers may have been deleted since, and could be created again.
    if newest_number(files) != base.number:
        raise _too_late(files)
    path, said = snapshot_path(number), json.dumps(body, sort_keys=True).encode()
    # Of a request whose answer was lost the store says that the file is there: it may be this very commit.
    if not files.create(path, said) and files.read(path) != said:
        raise _too_late(files)
    if newest_number(files) != number:
        # Others came between the look and the creation: nobody reads this one.
        raise _too_late(files)
    return replace(new, number=number)


def _too_late(files: Files) -> UserError:
    return UserError(f"another command wrote to {files.root} meanwhile; give the same command again")
