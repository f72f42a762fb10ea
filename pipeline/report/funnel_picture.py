"""The funnel as a picture: what is drawn where. The markup stands in `templates/funnel.svg.html`."""

from dataclasses import dataclass

from pipeline.decide.funnel import Funnel
from pipeline.report.words import count, duration

GAP = 2.0
"""Pixels between the parts of a bar, so that they stay apart without colour."""

LEAST = 3.0
"""Pixels of a part that counts at all, so that one clip among thousands is still seen."""

KINDS = ("passed", "failed", "unknown")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where things lie, in pixels of the picture.

    `beside`: label, bar and counts stand in one line; else above one another, for narrow screens.
    """

    name: str
    width: int
    beside: bool
    bar_x: float
    bar_width: float
    bar_height: float
    row_height: float
    heading_height: float
    letters: int
    """Letters of a label that fit; longer ones are cut, and whole in the table beside the picture."""


WIDE = Layout(
    name="wide",
    width=960,
    beside=True,
    bar_x=300,
    bar_width=310,
    bar_height=16,
    row_height=28,
    heading_height=46,
    letters=42,
)
NARROW = Layout(
    name="narrow",
    width=360,
    beside=False,
    bar_x=0,
    bar_width=360,
    bar_height=14,
    row_height=58,
    heading_height=58,
    letters=48,
)


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a bar; `kind` is one of KINDS."""

    kind: str
    number: int
    x: float
    width: float


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One step. `top` is where its row begins; `full_label` is the label where it was not cut."""

    label: str
    full_label: str
    counts: str
    parts: list[Part]
    top: float


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading with the steps under it."""

    title: str
    result: str
    top: float
    bars: list[Bar]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """Everything the template draws."""

    layout: Layout
    height: float
    summary: str
    sections: list[Section]


def draw(found: Funnel, layout: Layout) -> Picture:
    """Bars of rules are in proportion to all clips; those of sources and shots each to their own number."""
    top = 0.0
    sections: list[Section] = []
    for title, result, lines in _sections(found):
        heading = top
        top += layout.heading_height
        bars = [_bar(line, layout, top + number * layout.row_height) for number, line in enumerate(lines)]
        top += len(lines) * layout.row_height
        sections.append(Section(title=title, result=result, top=heading, bars=bars))
    return Picture(layout=layout, height=top, summary=_summary(found), sections=sections)


@dataclass(frozen=True, kw_only=True)
class _Line:
    """A step before it is laid out: (passed, failed, unknown), what a full bar stands for, the counts in words."""

    label: str
    counts: tuple[int, int, int]
    whole: int
    said: str


def _sections(found: Funnel) -> list[tuple[str, str, list[_Line]]]:
    readable = found.sources - found.failed_sources
    footage = [
        _Line(
            label="sources",
            counts=(readable, found.failed_sources, 0),
            whole=found.sources,
            said=f"{readable:,} read" + (f" · {found.failed_sources:,} failed" if found.failed_sources else ""),
        ),
        _Line(label="shots", counts=(found.shots, 0, 0), whole=found.shots, said=f"{found.shots:,}"),
        _Line(label="clips", counts=(found.clips, 0, 0), whole=found.clips, said=f"{found.clips:,}"),
    ]
    return [
        ("Footage", duration(found.clip_hours * 3600) + " in clips", footage),
        (
            "Subject tier: text and a reference image",
            _kept(found, "subject", "kept in it alone"),
            _rules(found, "subject"),
        ),
        ("Sync tier: speech in step as well", _kept(found, "sync", "kept in it"), _rules(found, "sync")),
    ]


def _rules(found: Funnel, tier: str) -> list[_Line]:
    lines: list[_Line] = []
    for step in found.steps:
        if step.tier == tier:
            counts = (step.passed, step.failed, step.unknown)
            said = _said(counts) or "no clip came this far"
            lines.append(_Line(label=step.rule, counts=counts, whole=found.clips, said=said))
    return lines


def _said(counts: tuple[int, int, int]) -> str:
    return " · ".join(f"{number:,} {kind}" for number, kind in zip(counts, KINDS, strict=True) if number)


def _kept(found: Funnel, tier: str, verb: str) -> str:
    length = duration(found.kept_hours[tier] * 3600)
    return f"{count(found.kept[tier], 'clip')} {verb}, {length}"


def _bar(line: _Line, layout: Layout, top: float) -> Bar:
    parts: list[Part] = []
    x = layout.bar_x
    for kind, number, width in zip(KINDS, line.counts, _widths(line, layout), strict=True):
        if number:
            parts.append(Part(kind=kind, number=number, x=round(x, 2), width=round(width, 2)))
            x += width + GAP
    short = line.label if len(line.label) <= layout.letters else line.label[: layout.letters - 1] + "…"
    return Bar(label=short, full_label=line.label, counts=line.said, parts=parts, top=top)


def _widths(line: _Line, layout: Layout) -> list[float]:
    """In proportion, each at least LEAST; the largest gives way for that and for the gaps."""
    scale = layout.bar_width / max(line.whole, 1)
    widths = [max(LEAST, number * scale) if number else 0.0 for number in line.counts]
    gaps = GAP * (sum(width > 0 for width in widths) - 1)
    too_wide = sum(widths) + max(gaps, 0.0) - sum(line.counts) * scale
    widths[widths.index(max(widths))] -= min(too_wide, max(widths) - LEAST) if too_wide > 0 else 0.0
    return widths


def _summary(found: Funnel) -> str:
    return (
        f"Of {count(found.clips, 'clip')} from {count(found.sources, 'source')}, {found.kept['sync']:,} are kept in "
        f"the sync tier and {found.kept['subject']:,} in the subject tier alone."
    )
