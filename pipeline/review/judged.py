"""What each rule said of a clip: as its decision has it, beside the values as they are now."""

from dataclasses import dataclass
from typing import Any, Literal

from pipeline.decide.config import DecideConfig
from pipeline.decide.funnel import UNSAID, rule_order
from pipeline.decide.grammar import parse_rule
from pipeline.decide.rules import Rule, quoted
from pipeline.decide.verdicts import NEEDED, REVIEWED, clip_rows
from pipeline.review.session import Session
from pipeline.store.relations import quoted as text_of
from schemas.tables import CLIP_TABLES

Result = Literal["passed", "failed", "unknown", "set aside", "not judged"]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A rule and what it said. `values`: what it saw, in words; empty where it sees no measurement."""

    tier: str
    rule: str
    result: Result
    values: str


def judged(session: Session, config: DecideConfig, key: str, decision: dict[str, Any] | None) -> list[Judged]:
    """The rules in their order; what a sample must have, and what reviewers say, only where the clip missed it.

    The decision has the word: it alone knows of copies and caps, and of verdicts that it heard. Before the first
    decision the rules are tried on the measurements.
    """
    missed = _missed(decision)
    every = list(dict.fromkeys([*rule_order(config), *missed]))
    seen = _seen(session, config, key)
    found: list[Judged] = []
    for tier, rule in every:
        result, values = missed.get((tier, rule)) or _not_missed(decision, seen.get((tier, rule)))
        if rule not in UNSAID or result != "passed":
            found.append(Judged(tier=tier, rule=rule, result=result, values=values))
    return found


def _missed(decision: dict[str, Any] | None) -> dict[tuple[str, str], tuple[Result, str]]:
    results: dict[str, Result] = {"failed_rules": "failed", "unknown_rules": "unknown", "overruled": "set aside"}
    return {
        (rule["tier"], rule["rule"]): (result, rule["values"] or "")
        for name, result in results.items()
        for rule in (decision or {}).get(name) or []
    }


def _not_missed(decision: dict[str, Any] | None, seen: tuple[bool | None, str] | None) -> tuple[Result, str]:
    if seen is None:
        # Among how many copies, and under which cap: asked only of clips that passed everything before.
        return ("passed" if decision is not None and decision["outcome"] == "keep" else "not judged"), ""
    if decision is not None:
        return "passed", seen[1]
    results: dict[bool | None, Result] = {True: "passed", False: "failed", None: "unknown"}
    return results[seen[0]], seen[1]


def _seen(session: Session, config: DecideConfig, key: str) -> dict[tuple[str, str], tuple[bool | None, str]]:
    """(tier, rule) -> what it says of the measurements, captions by reviewers among them, and their values."""
    rules: list[tuple[str, Rule]] = []
    for tier in ("subject", "sync"):
        parsed = [parse_rule(text) for text in getattr(config, tier)]
        rules += [(tier, rule) for rule in (*parsed, *NEEDED[tier], *REVIEWED[tier])]
    shown = ", ".join(f"{rule.sql} AS r{place}, {_values(rule)} AS v{place}" for place, (_, rule) in enumerate(rules))
    within = f"id = {text_of(key)}"
    joins = " ".join(
        f'LEFT JOIN {clip_rows(table, within, reviewed=True)} AS "{table}" ON "{table}".id = "clips".id'
        for table in CLIP_TABLES
    )
    row = session.query(
        f"""SELECT {shown} FROM (SELECT * FROM clips WHERE {within}) AS "clips" {joins}
            LEFT JOIN uses AS "locations" ON "locations".id = "clips".source_id
            LEFT JOIN (SELECT * FROM standing WHERE {within}) AS "review" ON "review".id = "clips".id"""
    )[0]
    return {(tier, rule.text): (row[f"r{place}"], row[f"v{place}"]) for place, (tier, rule) in enumerate(rules)}


def _values(rule: Rule) -> str:
    shown = [f"'{name} = ' || coalesce(CAST({quoted(name)} AS VARCHAR), 'unknown')" for name in rule.columns]
    return " || ', ' || ".join(shown)
