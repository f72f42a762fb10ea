"""What a re-run would do, and why: from the ledger and from names alone."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pipeline.config import CurateConfig
from pipeline.engine.fingerprint import fingerprints
from pipeline.engine.jobs import grouped
from pipeline.engine.plan import Terms, stale_stages, terms_of
from pipeline.engine.set_parts import set_parts
from pipeline.flow import STAGE, STAGES, downstream
from pipeline.store.relations import Relations

CHANGED = "its options, its code or a package it uses changed"


@dataclass(frozen=True, kw_only=True)
class Redo:
    """A stage that would be done again: for how many sources (1 for a set stage), and for which reasons."""

    sources: int
    why: list[str]


def redo(relations: Relations, config: CurateConfig) -> dict[str, Redo]:
    """Stage -> what a re-run with this configuration would do there; stages that are up to date are left out."""
    prints = fingerprints(config)
    reasons: dict[str, Counter[str]] = defaultdict(Counter)
    for have, want, sources in _groups(relations, prints):
        stale = stale_stages(have, want)
        for name in stale:
            if STAGE[name].per != "set":
                reasons[name][_reason(name, have, want, stale)] += sources
    again = downstream(set(reasons))
    for stage in (stage for stage in STAGES if stage.per == "set"):
        wanted = set_parts(stage.name, relations, config)
        there = {table: relations.snapshot.sets.get(table) for table in wanted}
        if stage.name in again or there != wanted:
            again = downstream({*again, stage.name})
            reasons[stage.name][_reason_of_set(stage.name, there, prints[stage.name], again)] += 1
    return {
        stage.name: Redo(sources=reasons[stage.name].total(), why=[why for why, _ in reasons[stage.name].most_common()])
        for stage in STAGES
        if stage.name in reasons
    }


def _groups(relations: Relations, prints: Mapping[str, str]) -> Iterator[tuple[Terms | None, Terms, int]]:
    """Sources by what they were computed with, and what they should be computed with; how many each."""
    for have, special, others in grouped(relations):
        for source_id in special:
            yield have, terms_of(source_id, relations.snapshot, prints), 1
        if others:
            yield have, terms_of("", relations.snapshot, prints), others


def _reason(stage: str, have: Terms | None, want: Terms, stale: set[str]) -> str:
    if have is None:
        return "new sources"
    if have.fingerprints.get(stage) != want.fingerprints[stage]:
        return CHANGED
    if have.retries.get(stage) != want.retries.get(stage):
        return "failed rows were asked for again"
    if stage == "clips" and have.removed != want.removed:
        return "part of the source was taken down"
    return f"follows {' and '.join(need for need in STAGE[stage].needs if need in stale)}"


def _reason_of_set(stage: str, there: Mapping[str, str | None], fingerprint: str, again: set[str]) -> str:
    if None in there.values():
        return "not done yet"
    if {str(path).split("/")[2] for path in there.values()} != {fingerprint}:
        return CHANGED
    upstream = [need for need in STAGE[stage].needs if need in again]
    return f"follows {' and '.join(upstream)}" if upstream else "sources or their licences changed"
