"""What the rules say of each clip, as SQL over the tables of one snapshot."""

from dataclasses import dataclass
from functools import lru_cache

import duckdb
import pyarrow as pa

from pipeline.decide.config import DecideConfig
from pipeline.decide.rules import Rule, rule_columns
from pipeline.decide.rules import quoted as column
from schemas.errors import UserError
from schemas.tables import CLIP_TABLES, TABLES


def _known(name: str) -> Rule:
    return Rule(text=f"{name} is known", sql=f"CASE WHEN {column(name)} IS NOT NULL THEN true END", columns=(name,))


NEEDED = {
    "subject": (_known("captions.text"), _known("faces.boxes_sha256")),
    "sync": (_known("sync.speaker_track"), _known("clips.audio_sha256")),
}
"""What a sample of a tier is made of, whatever the rules say."""


def _said(text: str, sql: str) -> Rule:
    return Rule(text=f"review: {text}", sql=sql, columns=("review.verdict",))


REVIEWED = {
    "subject": (
        _said("nobody rejects it", 'CASE WHEN "review".rejected THEN false ELSE true END'),
        _said(
            "the caption is right",
            'CASE WHEN "review".wants_caption AND "review".caption IS NULL THEN NULL ELSE true END',
        ),
    ),
    "sync": (_said("nobody calls the sync bad", 'CASE WHEN "review".bad_sync THEN false ELSE true END'),),
}
"""Verdicts of reviewers as rules. They stand after the measured ones."""

NOT_FOR_REVIEWERS = ("locations", "references")
"""Who accepts a clip sets aside what was measured of it, but neither a licence nor the want of a reference."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The rules of both tiers, checked."""

    subject: tuple[Rule, ...]
    sync: tuple[Rule, ...]


def parse_rules(config: DecideConfig) -> Rules:
    """Raises UserError for a rule that cannot be used, such as one that compares a number with a word."""
    return _parsed(config.subject, config.sync)


@lru_cache(8)
def _parsed(subject: tuple[str, ...], sync: tuple[str, ...]) -> Rules:
    # Here alone: most commands need no parser, and it takes long to load.
    from pipeline.decide.grammar import parse_rule

    rules = Rules(subject=tuple(map(parse_rule, subject)), sync=tuple(map(parse_rule, sync)))
    columns = rule_columns()
    with duckdb.connect() as connection:
        for rule in (*rules.subject, *rules.sync):
            tables = sorted({name.split(".")[0] for name in rule.columns})
            samples = {
                table: ", ".join(f'{_sample(table, name)} AS "{name}"' for name in columns[table]) for table in tables
            }
            rows = ", ".join(f'(SELECT {sample}) AS "{table}"' for table, sample in samples.items())
            try:
                connection.execute(f"SELECT {rule.sql} FROM {rows}").fetchall()
            except duckdb.Error as error:
                raise UserError(f"the rule {rule.text!r} cannot be used: {str(error).splitlines()[0]}") from error
    return rules


def _sample(table: str, name: str) -> str:
    """A value of a column's type, in SQL."""
    type_ = pa.string() if table == "locations" else TABLES[table].schema.field(name).type
    if pa.types.is_floating(type_):
        return "0::DOUBLE"
    if pa.types.is_integer(type_):
        return "0"
    if pa.types.is_boolean(type_):
        return "false"
    return "[]::VARCHAR[]" if pa.types.is_list(type_) else "''::BLOB" if pa.types.is_binary(type_) else "''"


def columns_named(rules: Rules) -> dict[str, list[str]]:
    """Clip-level table -> its columns that the rules name, those of `NEEDED` among them."""
    names = sorted({name for _, rule in every_rule(rules, False) for name in rule.columns})
    parted = [name.split(".") for name in names]
    return {table: [column for of, column in parted if of == table] for table in ("clips", *CLIP_TABLES)}


def only_known(rules: Rules) -> frozenset[str]:
    """Columns of which no rule looks at the value: they must be known."""
    looked_at = {name for rule in (*rules.subject, *rules.sync) for name in rule.columns}
    return frozenset(name for needed in NEEDED.values() for rule in needed for name in rule.columns) - looked_at


def verdicts_query(rules: Rules, *, reviewed: bool = False) -> str:
    """SQL of a row for every row of `measured`, which `pipeline.decide.measured` makes: tier and outcome by the rules
    alone, and what each rule says (`r0`, `r1`, ...), which `pipeline.decide.missed` needs.

    `reviewed`: whether any verdict stands. Then `accepted` and `m0`, ... say what the rules would say without one.
    """
    every, free = every_rule(rules, reviewed), free_rules(rules, reviewed)
    judged = ", ".join(f"{_judged(rule, place in free)} AS r{place}" for place, (_, rule) in enumerate(every))
    judged += "".join(f", {every[place][1].sql} AS m{place}" for place in free)
    judged += ', coalesce("review".accepted, false) AS accepted' if reviewed else ", false AS accepted"
    said = ", ".join([*(f"r{place}" for place in range(len(every))), *(f"m{place}" for place in free)])
    return f"""
        WITH judged AS (
            SELECT id, {judged} FROM measured
        ), passed AS (
            SELECT *, {_all(every, "subject")} AS subject_passed, {_all(every, "sync")} AS sync_passed FROM judged
        )
        SELECT id,
               CASE WHEN NOT subject_passed THEN 'none' WHEN sync_passed THEN 'sync' ELSE 'subject' END AS tier,
               CASE WHEN subject_passed THEN 'keep' WHEN {_any_false(every)} THEN 'reject' ELSE 'unknown' END
                   AS outcome,
               accepted, {said}
        FROM passed"""


def every_rule(rules: Rules, reviewed: bool) -> list[tuple[str, Rule]]:
    """With their tiers, in the order in which a clip meets them."""
    said: dict[str, tuple[Rule, ...]] = REVIEWED if reviewed else dict.fromkeys(REVIEWED, ())
    subject = [("subject", rule) for rule in (*rules.subject, *NEEDED["subject"], *said["subject"])]
    return subject + [("sync", rule) for rule in (*rules.sync, *NEEDED["sync"], *said["sync"])]


def free_rules(rules: Rules, reviewed: bool) -> list[int]:
    """Places of the rules that a reviewer who accepts the clip sets aside."""
    return [place for place, rule in enumerate(rules.subject) if reviewed and _for_reviewers(rule)]


def _for_reviewers(rule: Rule) -> bool:
    return not any(name.startswith(f"{table}.") for table in NOT_FOR_REVIEWERS for name in rule.columns)


def _judged(rule: Rule, free: bool) -> str:
    """SQL of whether a rule is passed. `free`: a reviewer who accepts the clip sets it aside."""
    return f'CASE WHEN "review".accepted THEN true ELSE {rule.sql} END' if free else rule.sql


def clip_rows(table: str, within: str, *, reviewed: bool) -> str:
    """SQL of a clip-level table as rules see it: with the captions that reviewers wrote, where any verdict stands."""
    if table == "captions" and reviewed:
        # A caption that a reviewer wrote stands in the place of the measured one.
        words = "len(string_split_regex(standing.caption, '\\s+'))"
        return f"""(SELECT captions.* REPLACE (coalesce(standing.caption, text) AS text,
                           CASE WHEN standing.caption IS NULL THEN word_count ELSE {words} END AS word_count)
                    FROM (SELECT * FROM captions WHERE {within}) AS captions LEFT JOIN standing USING (id))"""
    return f'(SELECT * FROM "{table}" WHERE {within})'


def _all(every: list[tuple[str, Rule]], tier: str) -> str:
    return " AND ".join(f"r{place} IS TRUE" for place, (of, _) in enumerate(every) if of == tier)


def _any_false(every: list[tuple[str, Rule]]) -> str:
    return " OR ".join(f"r{place} IS FALSE" for place, (of, _) in enumerate(every) if of == "subject")
