"""The funnel: how many clips pass each rule, in the order of the rules."""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.decide.config import DecideConfig
from pipeline.decide.surplus import DUPLICATE_RULE, cap_rules
from pipeline.decide.verdicts import NEEDED, REVIEWED
from pipeline.store.relations import SECONDS, Relations

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
    count = {
        table: query(f"SELECT count(*) FROM {table} WHERE status = 'ok'").fetchall()[0][0]
        for table in ("sources", "shots", "clips")
    }
    failed_sources = query("SELECT count(*) FROM sources WHERE status = 'failed'").fetchall()[0][0]
    hours = query("SELECT coalesce(sum(frames), 0) / 25 / 3600 FROM clips WHERE status = 'ok'").fetchall()[0][0]
    kept = query(
        f"SELECT tier, count(*), sum({SECONDS}) / 3600 FROM decisions WHERE outcome = 'keep' GROUP BY tier"
    ).fetchall()
    splits = dict(query("SELECT split, count(*) FROM decisions WHERE outcome = 'keep' GROUP BY split").fetchall())
    return Funnel(
        sources=count["sources"] + failed_sources,
        failed_sources=failed_sources,
        shots=count["shots"],
        clips=count["clips"],
        clip_hours=float(hours),
        steps=_steps(relations, config),
        kept={"subject": 0, "sync": 0, **{tier: number for tier, number, _ in kept}},
        train=splits.get("train", 0),
        val=splits.get("val", 0),
        kept_hours={"subject": 0.0, "sync": 0.0, **{tier: float(length) for tier, _, length in kept}},
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
    rows = relations.connection.execute(
        """SELECT failed_rules[1].tier, failed_rules[1].rule, unknown_rules[1].tier, unknown_rules[1].rule, count(*)
           FROM decisions GROUP BY ALL"""
    ).fetchall()
    for *firsts, clips in rows:
        left += clips
        # A surplus clip's rule stands first among those it failed, but comes after all rules of its tier.
        found = [
            (place[rule], kind)
            for rule, kind in zip((tuple(firsts[:2]), tuple(firsts[2:])), missed, strict=True)
            if rule in place
        ]
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
