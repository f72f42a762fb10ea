"""Means of one evaluation, and what is different between several."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from schemas.errors import UserError
from training.evaluation.folder import Evaluation
from training.evaluation.metrics.metric import About
from training.evaluation.statistics import LEVEL, Difference, Mean, difference_of, holm, mean_of


@dataclass(frozen=True)
class Line:
    """A metric of one evaluation."""

    about: About
    measured: Mean | None
    missing: int
    """Cases without a value, failed ones included."""
    cause: str | None
    """The most frequent reason why there is none."""


@dataclass(frozen=True)
class Comparison:
    """A metric of one evaluation against the baseline's."""

    about: About
    other: str
    difference: Difference | None
    corrected_p: float | None
    """After Holm, over all comparisons made."""

    @property
    def shown(self) -> bool:
        """Whether there is a difference, as far as these cases can tell."""
        return self.corrected_p is not None and self.corrected_p < LEVEL

    @property
    def verdict(self) -> str:
        """In a word or two."""
        if self.difference is None:
            return "not measured"
        if not self.shown:
            return "not shown"
        rises = self.difference.mean > 0
        if self.about.better == "neither":
            return "more" if rises else "less"
        return "better" if rises == (self.about.better == "higher") else "worse"


@dataclass(frozen=True)
class Table:
    """Evaluations side by side; the first is the baseline."""

    names: list[str]
    lines: dict[str, list[Line]]
    """By evaluation, in the order of the metrics."""
    comparisons: list[Comparison]

    @property
    def about(self) -> list[About]:
        """The metrics."""
        return [line.about for line in self.lines[self.names[0]]]

    def of(self, other: str) -> list[Comparison]:
        """What is different in one of the others."""
        return [comparison for comparison in self.comparisons if comparison.other == other]


def summarise(evaluation: Evaluation) -> list[Line]:
    """A line a metric."""
    lines = []
    for about in evaluation.about:
        values = [value for row in evaluation.rows.values() if (value := row.values.get(about.name)) is not None]
        causes = Counter(
            row.causes.get(about.name) or row.error or ""
            for row in evaluation.rows.values()
            if row.values.get(about.name) is None
        )
        most = causes.most_common(1)
        lines.append(Line(about, mean_of(values), causes.total(), most[0][0] if most else None))
    return lines


def compare(evaluations: Mapping[str, Evaluation]) -> Table:
    """Every evaluation against the first, by the cases that both have a value for.

    Raises UserError where they were not asked the same, or not measured by the same.
    """
    names = list(evaluations)
    baseline = evaluations[names[0]]
    for name in names[1:]:
        _check_alike(names[0], baseline, name, evaluations[name])
    found = [
        Comparison(about, name, _difference(about.name, baseline, evaluations[name]), None)
        for name in names[1:]
        for about in baseline.about
    ]
    tested = [index for index, comparison in enumerate(found) if comparison.difference is not None]
    corrected = holm([found[index].difference.p_value for index in tested])  # type: ignore[union-attr]
    for index, p_value in zip(tested, corrected, strict=True):
        found[index] = replace(found[index], corrected_p=p_value)
    return Table(names, {name: summarise(evaluation) for name, evaluation in evaluations.items()}, found)


def markdown(table: Table) -> str:
    """The table, and beneath it a line for every evaluation that says what is different.

    What no evaluation has a number of is not in it: `not_measured` names that.
    """
    others = [f" {name} | against {table.names[0]} |" for name in table.names[1:]]
    head = f"| metric | better | {table.names[0]} |{''.join(others)}"
    text = [head, "|---|---|---|" + "---|---|" * (len(table.names) - 1)]
    for place, about in enumerate(table.about):
        if all(table.lines[name][place].measured is None for name in table.names):
            continue
        cells = [told_mean(table.lines[table.names[0]][place])]
        for name in table.names[1:]:
            cells += [told_mean(table.lines[name][place]), told_difference(table.of(name)[place])]
        text.append(f"| {about.title} | {about.better} | {' | '.join(cells)} |")
    return "\n".join([*text, "", *(sentence(table, name) for name in table.names[1:])])


def told_mean(line: Line) -> str:
    """A mean with its interval, and of how many cases where some have none."""
    if line.measured is None:
        return "NULL"
    of = f" ({line.measured.count} of {line.measured.count + line.missing})" if line.missing else ""
    return f"{_number(line.measured.mean)} [{_number(line.measured.low)}, {_number(line.measured.high)}]{of}"


def told_difference(comparison: Comparison) -> str:
    """A difference with its interval, and whether it is one."""
    apart = comparison.difference
    if apart is None:
        return "NULL"
    return f"{apart.mean:+.3f} [{apart.low:+.3f}, {apart.high:+.3f}] {comparison.verdict}"


def sentence(table: Table, other: str) -> str:
    """Which differences are significant."""
    own = table.of(other)
    parts = []
    for verdict in ("better", "worse", "more", "less"):
        titles = [comparison.about.title for comparison in own if comparison.verdict == verdict]
        if titles:
            parts.append(
                f"{verdict} in {', '.join(titles)}"
                if verdict in ("better", "worse")
                else f"{verdict} {', '.join(titles)}"
            )
    tests = sum(comparison.difference is not None for comparison in table.comparisons)
    how = f"(5 %, sign flips of paired cases, Holm over {tests} comparisons)"
    if not parts:
        return f"{other} against {table.names[0]}: no difference is significant {how}."
    return f"{other} against {table.names[0]}: significantly {'; '.join(parts)}; nothing else is {how}."


def not_measured(table: Table) -> list[str]:
    """A line for every metric that is NULL throughout, with the reason."""
    lines = []
    for place, about in enumerate(table.about):
        own = [table.lines[name][place] for name in table.names]
        if all(line.measured is None for line in own):
            lines.append(f"{about.title} is NULL: {own[0].cause}")
    return lines


def _number(value: float) -> str:
    return f"{value:.3f}"


def _difference(name: str, baseline: Evaluation, other: Evaluation) -> Difference | None:
    pairs = [
        (mine, theirs)
        for case in baseline.rows
        if (mine := baseline.rows[case].values.get(name)) is not None
        and (theirs := other.rows[case].values.get(name)) is not None
    ]
    return difference_of([mine for mine, _ in pairs], [theirs for _, theirs in pairs])


def _check_alike(first_name: str, first: Evaluation, name: str, other: Evaluation) -> None:
    ours, theirs = first.asked["set"]["fingerprint"], other.asked["set"]["fingerprint"]
    if ours != theirs:
        raise UserError(f"{first_name} and {name} were asked different cases ({ours}, {theirs}): they do not compare")
    measured_by: Sequence[tuple[About, About]] = list(zip(first.about, other.about, strict=False))
    for mine, its in measured_by:
        if mine != its:
            raise UserError(
                f"{first_name} and {name} measured {mine.name} by different backends ({mine.backend} "
                f"{mine.weights or ''}; {its.backend} {its.weights or ''}): measure one of them again"
            )
