"""The funnel: how many clips pass each rule, in the order of the rules."""

from dataclasses import asdict, dataclass
from typing import Any

from pipeline.decide.config import DecideConfig
from pipeline.decide.decisions import DUPLICATE_RULE
from pipeline.store.relations import Relations


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
        """SELECT tier, count(*), sum(frames) / 25 / 3600 FROM decisions JOIN clips USING (id)
           WHERE outcome = 'keep' GROUP BY tier"""
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


def _steps(relations: Relations, config: DecideConfig) -> list[Step]:
    order = [("subject", rule) for rule in (*config.subject, DUPLICATE_RULE)] + [("sync", rule) for rule in config.sync]
    failed = dict.fromkeys(order, 0)
    unknown = dict.fromkeys(order, 0)
    rows = relations.connection.execute("SELECT failed_rules, unknown_rules FROM decisions").fetchall()
    for row in rows:
        missed = {
            (rule["tier"], rule["rule"]): counts
            for rules, counts in zip(row, (failed, unknown), strict=True)
            for rule in rules
        }
        first = next((rule for rule in order if rule in missed), None)
        if first is not None:
            missed[first][first] += 1
    steps: list[Step] = []
    left = len(rows)
    for tier, rule in order:
        left -= failed[tier, rule] + unknown[tier, rule]
        steps.append(Step(tier=tier, rule=rule, passed=left, failed=failed[tier, rule], unknown=unknown[tier, rule]))
    return steps
