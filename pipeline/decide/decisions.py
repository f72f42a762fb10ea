"""Decisions: for every clip its tier, its outcome and the rules that it failed."""

from dataclasses import dataclass

import duckdb
import pyarrow as pa

from pipeline.decide.components import components, split_of
from pipeline.decide.config import DecideConfig
from pipeline.decide.references import choose_references
from pipeline.decide.rules import Rule, parse_rule, quoted
from pipeline.stage import Row
from pipeline.stages.crawl import strictest
from pipeline.store.files import Files
from pipeline.store.parts import to_arrow
from pipeline.store.relations import Relations
from pipeline.store.snapshots import Snapshot
from schemas.errors import UserError
from schemas.tables import CLIP_TABLES

DUPLICATE_RULE = "duplicates: a better copy is kept"


def _known(column: str) -> Rule:
    return Rule(
        text=f"{column} is known", sql=f"CASE WHEN {quoted(column)} IS NOT NULL THEN true END", columns=(column,)
    )


NEEDED = {
    "subject": (_known("captions.text"), _known("faces.boxes_sha256")),
    "sync": (_known("sync.speaker_track"), _known("clips.audio_sha256")),
}
"""What a sample of a tier is made of, whatever the rules say."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The rules of both tiers, checked."""

    subject: tuple[Rule, ...]
    sync: tuple[Rule, ...]


def parse_rules(config: DecideConfig) -> Rules:
    """Raises UserError for a rule that cannot be used."""
    return Rules(subject=tuple(map(parse_rule, config.subject)), sync=tuple(map(parse_rule, config.sync)))


def check_rules(config: DecideConfig) -> None:
    """Raises UserError for a rule that cannot be used, such as one that compares a number with a word."""
    nothing = Relations(Files("memory://humo-no-run"), Snapshot())
    for rule in (*config.subject, *config.sync):
        one = Rules(subject=(parse_rule(rule),), sync=())
        _verdicts(nothing, one, [])


def decide(relations: Relations, config: DecideConfig, descriptor: str) -> tuple[list[Row], list[Row]]:
    """Rows of the tables `references` and `decisions`, from the measurements alone; no model runs.

    `descriptor`: what measured similarity, as `faces.descriptor` names it; bounds that are not given follow from it.
    """
    rules = parse_rules(config)
    query = relations.connection.execute
    clips = [clip for (clip,) in query("SELECT id FROM clips WHERE status = 'ok' ORDER BY id").fetchall()]
    speakers = dict(query("SELECT id, speaker_track FROM sync WHERE speaker_track IS NOT NULL").fetchall())
    references = choose_references(relations.arrow("candidates"), clips, speakers, config.references, descriptor)
    verdicts = _verdicts(relations, rules, references)
    shared = _components(relations, clips)
    rows = [_row(clip, *verdicts[clip], shared[clip], config) for clip in clips]
    _choose_among_duplicates(rows, relations)
    return references, rows


Failures = list[dict[str, str]]


def _verdicts(relations: Relations, rules: Rules, references: list[Row]) -> dict[str, tuple[Failures, Failures]]:
    """Clip -> (failed rules, unknown rules) with tier, rule and the values seen."""
    connection = relations.connection
    connection.register("chosen_references", _references_arrow(references))
    connection.register("chosen_locations", _licences_arrow(relations))
    every = [("subject", rule) for rule in (*rules.subject, *NEEDED["subject"])]
    every += [("sync", rule) for rule in (*rules.sync, *NEEDED["sync"])]
    selected = ["clips.id"]
    for _, rule in every:
        selected.append(rule.sql)
        selected.append("[" + ", ".join(f"CAST({quoted(column)} AS VARCHAR)" for column in rule.columns) + "]")
    sources = " ".join(f'LEFT JOIN {_relation(table)} AS "{table}" ON "{table}".id = clips.id' for table in CLIP_TABLES)
    query = (
        f"SELECT {', '.join(selected)} FROM clips {sources} "
        'LEFT JOIN chosen_locations AS "locations" ON "locations".id = clips.source_id '
        "WHERE clips.status = 'ok' ORDER BY clips.id"
    )
    verdicts: dict[str, tuple[Failures, Failures]] = {}
    try:
        found = connection.execute(query).fetchall()
    except duckdb.Error as error:
        texts = " or ".join(repr(rule.text) for rule in (*rules.subject, *rules.sync))
        raise UserError(f"the rule {texts} cannot be used: {str(error).splitlines()[0]}") from error
    for clip, *values in found:
        failed: Failures = []
        unknown: Failures = []
        for (tier, rule), truth, seen in zip(every, values[::2], values[1::2], strict=True):
            if truth is not True:
                pairs = zip(rule.columns, seen, strict=True)
                shown = ", ".join(f"{column} = {'NULL' if value is None else value}" for column, value in pairs)
                (unknown if truth is None else failed).append({"tier": tier, "rule": rule.text, "values": shown})
        verdicts[clip] = (failed, unknown)
    return verdicts


def _relation(table: str) -> str:
    return "chosen_references" if table == "references" else table


def _references_arrow(references: list[Row]) -> pa.Table:
    return to_arrow(
        "references", [{**row, "status": "ok", "backend": "decide", "fingerprint": ""} for row in references]
    )


def _licences_arrow(relations: Relations) -> pa.Table:
    """The licence and consent that bind each source: the strictest of all places it was found."""
    query = "SELECT source_id, list(licence), list(consent) FROM locations GROUP BY source_id"
    rows = relations.connection.execute(query).fetchall()
    return pa.table(
        {
            "id": pa.array([row[0] for row in rows], pa.string()),
            "licence": pa.array([strictest(row[1]) for row in rows], pa.string()),
            "consent": pa.array([None if None in row[2] else min(row[2]) for row in rows], pa.string()),
        }
    )


def _components(relations: Relations, clips: list[str]) -> dict[str, str]:
    links = relations.connection.execute(
        """SELECT id, 'source ' || source_id FROM clips WHERE status = 'ok'
           UNION ALL SELECT clip_id, 'identity ' || identity FROM identities WHERE identity IS NOT NULL
           UNION ALL SELECT id, 'group ' || "group" FROM duplicates WHERE "group" IS NOT NULL"""
    ).fetchall()
    return components(clips, links)


def _row(clip: str, failed: Failures, unknown: Failures, component: str, config: DecideConfig) -> Row:
    against = {tier: [rule for rule in failed + unknown if rule["tier"] == tier] for tier in ("subject", "sync")}
    if not against["subject"]:
        outcome, tier = "keep", "subject" if against["sync"] else "sync"
    else:
        outcome = "reject" if any(rule["tier"] == "subject" for rule in failed) else "unknown"
        tier = "none"
    return {
        "id": clip,
        "tier": tier,
        "outcome": outcome,
        "split": split_of(component, config.val_fraction),
        "component": component,
        "failed_rules": failed,
        "unknown_rules": unknown,
    }


def _choose_among_duplicates(rows: list[Row], relations: Relations) -> None:
    """Of the copies that are otherwise kept, keep one: the higher tier first, then the sharper, then the smaller id."""
    order = relations.connection.execute(
        """SELECT duplicates.id, duplicates."group", coalesce(quality.sharpness, 0) FROM duplicates
           JOIN quality ON quality.id = duplicates.id WHERE duplicates."group" IS NOT NULL"""
    ).fetchall()
    group_of = {clip: (group, sharpness) for clip, group, sharpness in order}
    best: dict[str, tuple[bool, float, str]] = {}
    kept = [row for row in rows if row["outcome"] == "keep" and row["id"] in group_of]
    for row in kept:
        group, sharpness = group_of[row["id"]]
        rank = (row["tier"] != "sync", -sharpness, row["id"])
        best[group] = min(best.get(group, rank), rank)
    for row in kept:
        winner = best[group_of[row["id"]][0]][2]
        if winner != row["id"]:
            row["outcome"], row["tier"] = "reject", "none"
            row["failed_rules"] = [
                *row["failed_rules"],
                {"tier": "subject", "rule": DUPLICATE_RULE, "values": f"kept copy = {winner}"},
            ]
