"""The funnel: how many clips pass each rule, in the order of the rules."""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.decide.config import DecideConfig
from pipeline.decide.surplus import DUPLICATE_RULE, cap_rules
from pipeline.decide.verdicts import NEEDED, REVIEWED
from pipeline.store.relations import SECONDS, Relations

RULE = ("tier", "rule")
UNSAID = {rule.text for group in (NEEDED, REVIEWED) for rules in group.values() for rule in rules}


@dataclass(frozen=True, kw_only=True)
class Step:
    """A rule of a tier: how many of the clips before it pass, fail, or cannot be judged."""

    tier: str
    rule: str
    passed: int
    failed: int
    unknown: int


@dataclass(frozen=True, kw_only=True)
class Funnel:
    """From sources to kept clips. Hours are of clips, at 25 frames a second."""

    sources: int
    failed_sources: int
    shots: int
    clips: int
    clip_hours: float
    steps: list[Step]
    kept: dict[str, int]
    kept_hours: dict[str, float]
    train: int
    val: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON shows it."""
        return asdict(self)


def funnel(relations: Relations, config: DecideConfig) -> Funnel:
    """Read from the decisions in force; a clip leaves the funnel at the first rule that it does not pass."""
    query = relations.connection.execute
    sources = dict(query("SELECT status, count(*) FROM sources GROUP BY status").fetchall())
    ((shots,),) = query("SELECT count(*) FROM shots WHERE status = 'ok'").fetchall()
    ((clips, frames),) = query("SELECT count(*), coalesce(sum(frames), 0) FROM clips WHERE status = 'ok'").fetchall()
    kept = query(
        f"SELECT tier, split, count(*), sum({SECONDS}) / 3600 FROM decisions WHERE outcome = 'keep' GROUP BY ALL"
    ).fetchall()
    tiers, splits, hours = Counter[str](subject=0, sync=0), Counter[str](), {"subject": 0.0, "sync": 0.0}
    for tier, split, number, length in kept:
        tiers[tier] += number
        splits[split] += number
        hours[tier] += length
    return Funnel(
        sources=sources.get("ok", 0) + sources.get("failed", 0),
        failed_sources=sources.get("failed", 0),
        shots=shots,
        clips=clips,
        clip_hours=frames / 25 / 3600,
        steps=_steps(relations, config),
        kept=dict(tiers),
        train=splits["train"],
        val=splits["val"],
        kept_hours=hours,
    )


def rule_order(config: DecideConfig) -> list[tuple[str, str]]:
    """(tier, rule) in the order in which a clip meets them; that is also their order in a decision."""
    said = {tier: [rule.text for rule in (*NEEDED[tier], *REVIEWED[tier])] for tier in NEEDED}
    subject = [*config.subject, *said["subject"], DUPLICATE_RULE, *cap_rules(config.caps)]
    sync = [*config.sync, *said["sync"]]
    return [("subject", rule) for rule in subject] + [("sync", rule) for rule in sync]


def _steps(relations: Relations, config: DecideConfig) -> list[Step]:
    order = rule_order(config)
    place = {rule: number for number, rule in enumerate(order)}
    missed = {"failed": Counter[int](), "unknown": Counter[int]()}
    left = 0
    for firsts, clips in _firsts(relations).items():
        left += clips
        # A surplus clip's rule stands first among those it failed, but comes after all rules of its tier.
        found = [(place[rule], kind) for rule, kind in zip(firsts, missed, strict=True) if rule in place]
        if found:
            number, kind = min(found)
            missed[kind][number] += clips
    steps: list[Step] = []
    for number, (tier, rule) in enumerate(order):
        failed, unknown = (missed[kind][number] for kind in ("failed", "unknown"))
        left -= failed + unknown
        # What every sample must have is named only where it was missed.
        if failed or unknown or rule not in UNSAID:
            steps.append(Step(tier=tier, rule=rule, passed=left, failed=failed, unknown=unknown))
    return steps


def _firsts(relations: Relations) -> Counter[tuple[tuple[str, str], ...]]:
    """Tier and text of the first rule that a clip failed, and of the first that is unknown of it -> how many clips."""
    found: Counter[tuple[tuple[str, str], ...]] = Counter()
    names = [f"{column}.list.element.{part}" for column in ("failed_rules", "unknown_rules") for part in RULE]
    for rows in relations.leaves("decisions", names):
        firsts = [_first(rows[column].combine_chunks()) for column in ("failed_rules", "unknown_rules")]
        parts = pa.Table.from_arrays([first.field(part) for first in firsts for part in RULE], names)
        counted = parts.group_by(names, use_threads=False).aggregate([([], "count_all")])
        for *said, clips in zip(*(column.to_pylist() for column in counted.columns), strict=True):
            found[tuple(said[:2]), tuple(said[2:])] += clips
    return found


def _first(lists: pa.ListArray) -> pa.StructArray:
    """The first item of each list, NULL of an empty one."""
    some = pc.greater(pc.list_value_length(lists), 0)
    return lists.values.take(pc.if_else(some, lists.offsets[:-1], pa.scalar(None, pa.int32())))
