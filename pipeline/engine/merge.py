"""Runs into one: rows, media and what was taken down are taken over; only what spans runs is computed.

Item tables are taken as they are, because parts are named by their content and sources by theirs. Set stages, decisions
and shards follow from all rows, as after a curation of all the footage in one run.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import CurateConfig
from pipeline.engine.curate import run_sets
from pipeline.engine.locations import without_lost
from pipeline.engine.plan import Terms
from pipeline.engine.progress import Progress
from pipeline.engine.run_file import read_run, resolve, write_run
from pipeline.engine.state import refuse_unfinished
from pipeline.engine.takedown import without_spans
from pipeline.engine.takeover import take_all, take_media
from pipeline.flow import CUT, MEASURE, SETS, STAGE
from pipeline.store.bundles import homes, merged
from pipeline.store.files import Files
from pipeline.store.relations import Relations
from pipeline.store.snapshots import ALL, Bundle, Snapshot, commit, latest
from pipeline.verdicts.fold import all_verdicts, settled
from pipeline.verdicts.journal import record
from pipeline.verdicts.verdict import Verdict
from schemas.configuration import differing
from schemas.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Merged:
    """What a merge came to.

    `taken`: run -> sources whose rows are from it. `displaced`: sources left out, because where they lay another
    run found another file. `stale`: sources that were computed otherwise than the first run's, by run and stage.
    `options`: run -> options (name -> here, there) that differ and do not hold in the merged run.
    """

    snapshot: Snapshot
    taken: dict[str, int]
    files: int
    displaced: list[str]
    stale: list[str]
    options: dict[str, dict[str, tuple[Any, Any]]]


@dataclass(frozen=True, kw_only=True)
class _Side:
    """A run that goes in."""

    files: Files
    snapshot: Snapshot
    relations: Relations

    def ids(self, table: str) -> pa.Array:
        found = self.relations.connection.execute(f"SELECT id FROM {table}").to_arrow_table()["id"]
        return found.combine_chunks()


def merge(out: Files, runs: Sequence[Files], *, accept_stale: bool, progress: Progress) -> Merged:
    """Bring `out` to hold what it holds already and all of `runs`. The caller holds the writer's lock of each.

    Where a source is in several runs, its rows are taken from one: that which lacks nothing that was taken down since,
    has the fewest failures, or is named first. Where they disagree on what lies in a place, the first has the word.
    What was taken down in one of the runs is in none of the result.

    Raises UserError for a run that is none or named twice, that is in the middle of a takedown, or (unless
    `accept_stale`) whose sources were computed with other options or versions than the first run's.
    """
    if len({run.root for run in runs}) < len(runs):
        raise UserError("a run is named twice")
    base = latest(out)
    others = [run for run in runs if run.root != out.root]
    sides = [_side(files) for files in ([out, *others] if base.number else others)]
    stale = _stale(sides)
    if stale and not accept_stale:
        raise UserError(
            f"{stale[0]}. Bring the runs to the same options with 'humo curate --out RUN' first, or give "
            "--accept-stale: the next 'humo curate' does these sources again"
        )
    config = resolve(sides[0].files, {})
    removed = _removed(sides)
    kept = _choose(sides, removed)
    snapshot = _combined(kept, removed, base.number)
    first = {table: part for table, part in sides[0].snapshot.sets.items() if table in _set_tables()}
    # What the first run's set stages found is where the merged run's go on from.
    snapshot = snapshot.with_set({**first, **base.sets})
    parts = sorted(snapshot.paths())
    count = take_all(out, others, parts, lambda done: progress("parts", done, len(parts)))
    snapshot = merged(out, without_spans(out, snapshot, _cut_short(out, snapshot)), every_dropped=True)
    displaced = _displaced(out, snapshot)
    snapshot = merged(out, without_lost(out, snapshot), every_dropped=True)
    count += take_media(out, others, snapshot, progress)
    write_run(out, config)
    for side in sides:
        # What people said of the clips, as it is on record; the decisions take it into their table.
        for row in all_verdicts(side.files, side.snapshot, removed=removed) if side.files.root != out.root else []:
            record(out, Verdict.model_validate(row))
    new = run_sets(out, commit(out, base, snapshot), config)
    # Rows that were left out, above all those that were taken down elsewhere, lie in parts that no commit names.
    for path in {*(set(parts) - base.paths() - new.paths()), *settled(out, new)}:
        out.remove(path)
    return Merged(
        snapshot=new,
        taken={side.files.root: len(side.ids("ledger")) for side in kept},
        files=count,
        displaced=displaced,
        stale=stale,
        options=_options(sides, config),
    )


def _side(files: Files) -> _Side:
    snapshot = latest(files)
    if snapshot.number == 0:
        raise UserError(f"{files.root} is no run folder")
    refuse_unfinished(files)
    return _Side(files=files, snapshot=snapshot, relations=Relations(files, snapshot))


def _set_tables() -> set[str]:
    return {table for stage in SETS for table in STAGE[stage].tables}


def _stale(sides: Sequence[_Side]) -> list[str]:
    """A line for each run and kind of difference: sources computed otherwise than the first run's options say."""
    wanted = read_run(sides[0].files)["fingerprints"]
    lines: list[str] = []
    for side in sides:
        for text, count, *_ in side.relations.ledger_sums:
            have = Terms.from_json(text).fingerprints
            stages = [name for name in (*CUT, *MEASURE) if have.get(name) != wanted.get(name)]
            if stages:
                query = "SELECT id FROM ledger WHERE terms = ? ORDER BY id LIMIT 3"
                ids = [id_ for (id_,) in side.relations.connection.execute(query, [text]).fetchall()]
                named = ", ".join(ids) + (", ..." if count > len(ids) else "")
                lines.append(
                    f"{count} sources of {side.files.root} ({named}) were computed with other options, code or "
                    f"packages than those of {sides[0].files.root}, in {', '.join(stages)}"
                )
    return lines


def _removed(sides: Sequence[_Side]) -> dict[str, list[list[int]]]:
    """What is taken down in any of the runs."""
    found: dict[str, list[list[int]]] = {}
    for side in sides:
        for key, spans in side.snapshot.removed.items():
            known = found.setdefault(key, [])
            known.extend(span for span in spans if span not in known)
    return {key: [ALL] if ALL in spans else sorted(spans) for key, spans in found.items()}


def _choose(sides: Sequence[_Side], removed: Mapping[str, list[list[int]]]) -> list[_Side]:
    """The runs without the rows that another is to give, or that nobody may."""
    gone = [key for key, spans in removed.items() if spans == [ALL]]
    sources, places = (_given(sides, table, removed) for table in ("ledger", "locations"))
    kept: list[_Side] = []
    for number, side in enumerate(sides):
        away = [id_ for id_, giver in sources.items() if giver != number]
        query = "SELECT id FROM locations WHERE list_contains(?, source_id)"
        hidden = [id_ for (id_,) in side.relations.connection.execute(query, [gone]).fetchall()]
        moved = [id_ for id_, giver in places.items() if giver != number]
        left = side.snapshot.dropping(homes(side.snapshot, side.files, "ledger", [*away, *gone]))
        left = left.dropping(homes(left, side.files, "locations", [*moved, *hidden]))
        kept.append(_Side(files=side.files, snapshot=left, relations=Relations(side.files, left)))
    return kept


def _given(sides: Sequence[_Side], table: str, removed: Mapping[str, list[list[int]]]) -> dict[str, int]:
    """Id of a source (or place) that several runs have -> the number of the run that gives its rows."""
    ids = [side.ids(table) for side in sides]
    counts = pc.value_counts(pa.concat_arrays(ids))
    shared = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    best: dict[str, tuple[bool, int, int]] = {}
    for number, side in enumerate(sides):
        here = shared.filter(pc.is_in(shared, ids[number]))
        for id_, rank in _ranks(side, table, here, removed):
            best[id_] = min(best.get(id_, (True, 2**62, 2**62)), (*rank, number))
    return {id_: number for id_, (_, _, number) in best.items()}


def _ranks(
    side: _Side, table: str, ids: pa.Array, removed: Mapping[str, list[list[int]]]
) -> Iterator[tuple[str, tuple[bool, int]]]:
    """How little one would like to take each from this run: whether something is to be cut out, and failures."""
    shared = pa.table({"id": ids})
    side.relations.connection.register("shared", shared)
    if table == "locations":
        query = "SELECT id, (status <> 'ok')::INTEGER FROM locations JOIN shared USING (id)"
        yield from ((id_, (False, failed)) for id_, failed in side.relations.connection.execute(query).fetchall())
        return
    tables = [name for stage in (*CUT, *MEASURE) for name in STAGE[stage].tables]
    failed = " UNION ALL ".join(
        f"SELECT split_part(id, '_', 1) AS id FROM \"{name}\" WHERE status = 'failed'" for name in tables
    )
    query = f"""SELECT id, terms, coalesce(failures, 0) FROM ledger JOIN shared USING (id)
                LEFT JOIN (SELECT id, count(*) AS failures FROM ({failed}) GROUP BY id) USING (id)"""
    for id_, terms, failures in side.relations.connection.execute(query).fetchall():
        yield id_, (Terms.from_json(terms).removed != removed.get(id_, []), failures)


def _combined(sides: Sequence[_Side], removed: dict[str, list[list[int]]], number: int) -> Snapshot:
    """One snapshot of what is left of each. No source and no place is in two of them any more."""
    bundles: dict[str, Bundle] = {}
    retries: dict[str, dict[str, int]] = {}
    result = Snapshot(number=number, removed=removed)
    for side in sides:
        for name, bundle in side.snapshot.bundles.items():
            # Equal bundles of two runs have the same rows; those count that count in one of them.
            twin = bundles.get(name)
            dropped = bundle.dropped if twin is None else sorted(set(bundle.dropped) & set(twin.dropped))
            bundles[name] = replace(bundle, dropped=dropped)
        ids = side.ids("ledger")
        held = set(ids.filter(pc.is_in(ids, pa.array([*side.snapshot.retries], pa.string()))).to_pylist())
        retries |= {id_: again for id_, again in side.snapshot.retries.items() if id_ in held}
        if side.snapshot.bundles:
            result = result.with_work(side.snapshot.work)
    return replace(result, bundles=bundles, retries=retries)


def _cut_short(out: Files, snapshot: Snapshot) -> dict[str, list[list[int]]]:
    """Sources of which more was taken down than their rows know."""
    parts = {key: spans for key, spans in snapshot.removed.items() if spans != [ALL]}
    query = "SELECT id, terms FROM ledger WHERE list_contains(?, id)"
    rows = Relations(out, snapshot).connection.execute(query, [list(parts)]).fetchall()
    return {id_: parts[id_] for id_, terms in rows if Terms.from_json(terms).removed != parts[id_]}


def _displaced(out: Files, snapshot: Snapshot) -> list[str]:
    left = without_lost(out, snapshot)
    before, after = (set(Relations(out, one).arrow("ledger")["id"].to_pylist()) for one in (snapshot, left))
    return sorted(before - after)


def _options(sides: Sequence[_Side], config: CurateConfig) -> dict[str, dict[str, tuple[Any, Any]]]:
    here = config.model_dump(mode="json")
    found = {side.files.root: differing(here, read_run(side.files)["configuration"]) for side in sides}
    return {root: options for root, options in found.items() if options}
