"""What other thresholds would change: the sliders, and the answer, which is that of `humo decide --dry-run`."""

from dataclasses import asdict, dataclass
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from pipeline.config import CurateConfig
from pipeline.decide.config import DecideConfig
from pipeline.decide.thresholds import thresholds, with_value
from pipeline.decide.verdicts import parse_rules
from pipeline.engine.decide_again import decide_again
from pipeline.report.measurements import Histogram
from pipeline.review.requests import Outdated
from pipeline.review.session import Opened
from pipeline.store.files import Files
from pipeline.store.relations import Relations
from schemas.configuration import merged, validated
from schemas.errors import UserError

STEPS = 200
"""Places of a slider."""


@dataclass(frozen=True, kw_only=True)
class Slider:
    """A threshold that can be moved. `name` is what a request calls it."""

    name: str
    tier: str
    rule: str
    column: str
    value: float
    low: float
    high: float
    step: float


class Moved(BaseModel):
    """Sliders by name, and where they were moved to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    values: dict[str, FiniteFloat] = Field(max_length=200)
    state: str = Field(max_length=80, description="The commit and the rules that the sliders were made of")


def sliders(config: DecideConfig, descriptor: str, found: list[Histogram]) -> list[Slider]:
    """One for each number in a rule, and for the bounds of references, over the range of what was measured."""
    ranges = {one.measurement.column: (one.low, one.high) for one in found}
    made: list[Slider] = []
    for tier in ("subject", "sync"):
        for number, rule in enumerate(getattr(config, tier)):
            for one in thresholds(rule):
                low, high = ranges.get(one.column, (0.0, max(1.0, 2 * abs(one.value))))
                if one.absolute:
                    low, high = 0.0, max(abs(low), abs(high))
                low, high = min(low, one.value), max(high, one.value)
                step = 1.0 if one.whole and high - low > 3 else _step(high - low)
                made.append(
                    Slider(
                        name=f"{tier}.{number}.{one.place}", tier=tier, rule=rule, column=one.column, value=one.value,
                        low=_down(low, step), high=_down(high, step) + step, step=step,
                    )
                )  # fmt: skip
    lower, upper = config.references.similarity(descriptor)
    for name, value, low in (("lower", lower, -1.0), ("upper", upper, -1.0), ("size", config.references.size, 0.0)):
        made.append(
            Slider(
                name=f"references.{name}", tier="references", rule=name, column=f"references.{name}", value=value,
                low=low, high=1.0, step=0.005,
            )
        )  # fmt: skip
    return made


def moved(opened: Opened, moved: Moved) -> dict[str, Any]:
    """The section `decide` that these sliders stand for: only what differs.

    Raises Outdated where the run was decided anew since the sliders were made, UserError for an unknown slider.
    """
    if moved.state != opened.state:
        raise Outdated("the run was decided anew meanwhile; load the page again")
    config = opened.config.decide
    rules = {tier: list(getattr(config, tier)) for tier in ("subject", "sync")}
    references: dict[str, float] = {}
    for name, value in moved.values.items():
        tier, _, rest = name.partition(".")
        if tier == "references" and rest in ("lower", "upper", "size"):
            references[rest] = value
            continue
        number, _, place = rest.partition(".")
        try:
            rules[tier][int(number)] = with_value(rules[tier][int(number)], int(place), value)
        except (KeyError, ValueError, IndexError) as error:
            raise UserError(f"there is no threshold {name!r}") from error
    section: dict[str, Any] = {
        tier: found for tier, found in rules.items() if tuple(found) != tuple(getattr(config, tier))
    }
    return {**section, **({"references": references} if references else {})}


def answer(files: Files, opened: Opened, section: dict[str, Any]) -> dict[str, Any]:
    """Funnel and changes, as `humo decide --dry-run --json` gives them. Raises UserError for what it would refuse."""
    raw = merged(opened.config.model_dump(mode="json"), {"decide": section})
    config = validated(CurateConfig, raw, where="configuration")
    parse_rules(config.decide)
    return asdict(decide_again(Relations(files, opened.snapshot), config, dry_run=True))


def as_yaml(section: dict[str, Any]) -> str:
    """A configuration for `humo decide --config`."""
    return str(yaml.safe_dump({"decide": section}, sort_keys=True, allow_unicode=True))


def _step(span: float) -> float:
    """A round number of which some hundred make the span."""
    step = 1e-6
    for factor in (2, 2.5, 2) * 8:
        if span / step <= STEPS:
            break
        step *= factor
    return round(step, 9)


def _down(value: float, step: float) -> float:
    return round(value // step * step, 9)
