"""The measurements that a clip has, as the schemas say: what each is called, what it means, how its values lie."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.decide.config import DecideConfig
from pipeline.decide.grammar import parse_rule
from pipeline.decide.licences import create_uses
from pipeline.decide.rules import rule_columns
from pipeline.decide.thresholds import Threshold, thresholds
from pipeline.report.meanings import MEANINGS
from pipeline.report.words import TOPICS
from pipeline.store.relations import Relations
from schemas.tables import CLIP_TABLES, TABLES

BINS = 30
WIDTH, HEIGHT = 300.0, 80.0
"""Of a histogram, in pixels of its picture."""
TAIL = 0.005
"""Share of the clips at either end that may lie beyond the picture; the bars at its ends count them."""


NAMES = ("sync.speaker_track",)
"""Numbers that count nothing, but name something."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A number that is measured of clips. `column`: as rules name it."""

    column: str
    title: str
    label: str
    meaning: str


@dataclass(frozen=True, kw_only=True)
class Bar:
    """Clips whose value lies in a bin: in all, and kept ones. Places and lengths in pixels; y grows downwards."""

    x: float
    width: float
    every: int
    kept: int
    every_y: float
    kept_y: float


@dataclass(frozen=True, kw_only=True)
class Line:
    """A threshold, or both of its sides where it bounds an absolute value, and what a rule does with all clips."""

    rule: str
    tier: str
    xs: list[float]
    passed: int
    failed: int
    unknown: int


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """How the values of a measurement lie. `low` and `high`: ends of the picture."""

    measurement: Measurement
    low: float
    high: float
    known: int
    unknown: int
    bars: list[Bar]
    lines: list[Line]


def measurements() -> list[Measurement]:
    """Every numeric column of the clip-level tables, in the order of the tables."""
    named = {f"{topic.table}.{one.column}": (topic.title, one.label) for topic in TOPICS for one in topic.measures}
    found: list[Measurement] = []
    for table, columns in rule_columns().items():
        if table not in CLIP_TABLES:
            continue
        for name in columns:
            type_ = TABLES[table].schema.field(name).type
            if pa.types.is_floating(type_) or pa.types.is_integer(type_):
                column = f"{table}.{name}"
                if column in NAMES:
                    continue
                title, label = named.get(column, (table.capitalize(), name.replace("_", " ")))
                found.append(Measurement(column=column, title=title, label=label, meaning=MEANINGS[column]))
    return found


def values_of(one: Measurement) -> str:
    """SQL of a row for every clip: the value, and whether the decisions in force keep it."""
    table, column = one.column.split(".")
    return f"""(SELECT "{column}"::DOUBLE AS value, coalesce(outcome = 'keep', false) AS kept
                FROM "{table}" LEFT JOIN decisions USING (id))"""


def histograms(
    relations: Relations, config: DecideConfig, *, values: Callable[[Measurement], str] = values_of
) -> list[Histogram]:
    """One for each measurement that any clip has. `values`: as `values_of` gives them, maybe from a faster table."""
    rules = [(tier, rule, thresholds(rule)) for tier in ("subject", "sync") for rule in getattr(config, tier)]
    found = (_histogram(relations, one, values(one), rules) for one in measurements())
    return [histogram for histogram in found if histogram is not None]


def _histogram(
    relations: Relations, one: Measurement, values: str, rules: list[tuple[str, str, list[Threshold]]]
) -> Histogram | None:
    query = relations.connection.execute
    known, unknown, low, high, least, most = query(
        f"""SELECT count(value), count(*) - count(value), quantile_cont(value, {TAIL}),
                   quantile_cont(value, {1 - TAIL}), min(value), max(value) FROM {values}"""
    ).fetchall()[0]
    if not known:
        return None
    if known < 1 / TAIL:
        low, high = least, most
    marks = [(tier, rule, [t for t in found if t.column == one.column]) for tier, rule, found in rules]
    every_mark = [x for _, _, found in marks for t in found for x in _sides(t.value, t.absolute)]
    low, high = min([low, *every_mark]), max([high, *every_mark])
    if low == high:
        low, high = min(low, 0.0), max(high, 0.0) or 1.0
    counts: dict[int, tuple[int, int]] = {}
    for place, every, kept in query(
        f"""SELECT least(greatest(floor((value - $low) / ($high - $low) * {BINS}), 0), {BINS - 1})::INTEGER AS place,
                   count(*), count(*) FILTER (kept) FROM {values} WHERE value IS NOT NULL GROUP BY place""",
        {"low": low, "high": high},
    ).fetchall():
        counts[place] = (every, kept)
    tallest = max(every for every, _ in counts.values())
    width = WIDTH / BINS
    bars = [
        Bar(
            x=round(place * width, 2),
            width=round(width - 1, 2),
            every=every,
            kept=kept,
            every_y=_y(every, tallest),
            kept_y=_y(kept, tallest),
        )
        for place, (every, kept) in sorted(counts.items())
    ]
    lines = [
        Line(
            rule=rule,
            tier=tier,
            xs=[round((x - low) / (high - low) * WIDTH, 2) for t in found for x in _sides(t.value, t.absolute)],
            **_counted(relations, rule),
        )
        for tier, rule, found in marks
        if found
    ]
    return Histogram(measurement=one, low=low, high=high, known=known, unknown=unknown, bars=bars, lines=lines)


def _sides(value: float, absolute: bool) -> list[float]:
    return [-value, value] if absolute else [value]


def _y(number: int, tallest: int) -> float:
    """Top of a bar; one clip among thousands is still seen."""
    return round(HEIGHT - max(HEIGHT * number / tallest, 1.5 if number else 0.0), 2)


def _counted(relations: Relations, text: str) -> dict[str, Any]:
    """Clips on both sides of a rule, and those of which it cannot tell, whatever other rules say."""
    rule = parse_rule(text)
    tables = sorted({name.split(".")[0] for name in rule.columns})
    joins = " ".join(f'LEFT JOIN "{table}" ON "{table}".id = clips.id' for table in tables if table in CLIP_TABLES)
    if "locations" in tables:
        create_uses(relations)
        joins += ' LEFT JOIN uses AS "locations" ON "locations".id = clips.source_id'
    counts = dict(
        relations.connection.execute(
            f"SELECT {rule.sql} AS passed, count(*) FROM clips {joins} WHERE clips.status = 'ok' GROUP BY 1"
        ).fetchall()
    )
    return {"passed": counts.get(True, 0), "failed": counts.get(False, 0), "unknown": counts.get(None, 0)}
