"""Writing the report: pages of clips, the first of them with the overview, and the funnel as a picture of its own."""

from collections import Counter
from dataclasses import dataclass
from importlib.resources import files as package_files
from itertools import islice
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pipeline.decide.config import DecideConfig
from pipeline.decide.funnel import Funnel, funnel, rule_order
from pipeline.report.clips import ClipView, Link, clips_in_order, place_clips
from pipeline.report.failures import Failures, failures_by_reason
from pipeline.report.funnel_picture import NARROW, WIDE, Picture, draw
from pipeline.report.hours import Cost, Hours, costs, hours_by_source
from pipeline.report.measurements import histograms
from pipeline.report.people import count_people, people
from pipeline.report.words import count, duration
from pipeline.store.files import Files
from pipeline.store.relations import Relations
from pipeline.store.snapshots import Snapshot

if TYPE_CHECKING:
    from pipeline.config import CurateConfig

CLIPS_A_PAGE = 200
PEOPLE = 100
"""Identities shown, those seen most often; the others are counted."""

ASSETS = ("funnel.css", "report.css", "player.js", "report.js")

RuleKey = tuple[str, str]
"""(tier, rule)."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A number of the overview, with what it means."""

    title: str
    value: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class Overview:
    """What stands above the clips on the first page."""

    figures: list[Figure]
    pictures: list[Picture]
    found: Funnel
    failures: Failures
    hours: list[Hours]
    costs: list[Cost]


@dataclass(frozen=True, kw_only=True)
class RuleFilter:
    """A rule that some clips of a page did not pass. `number` is its place among all rules."""

    number: int
    tier: str
    rule: str
    clips: int


def write_report(files: Files, snapshot: Snapshot, config: "CurateConfig", *, clips_a_page: int = CLIPS_A_PAGE) -> None:
    """Write `report/` of a run. Media are linked to where they lie: what is taken down is gone from here too."""
    relations = Relations(files, snapshot)
    environment = _environment(clips_a_page)
    overview = overview_of_run(relations, config.decide)
    pages = max(1, -(-place_clips(relations) // clips_a_page))
    shared = {"run": _name(files), "snapshot": snapshot.number, "pages": pages}
    for name in ASSETS:
        files.replace(f"report/{name}", _asset(name).encode())
    svg = environment.get_template("funnel.svg.html").render(picture=overview.pictures[0], style=_asset("funnel.css"))
    files.replace("report/funnel.svg", svg.encode())
    measured = environment.get_template("measured.html")
    files.replace(
        "report/measurements.html",
        measured.render(**shared, histograms=histograms(relations, config.decide)).encode(),
    )
    shown = people(relations, limit=PEOPLE)
    listed = {"people": shown, "left_out": count_people(relations) - len(shown)}
    files.replace("report/people.html", environment.get_template("persons.html").render(**shared, **listed).encode())
    template = environment.get_template("page.html")
    views = clips_in_order(relations)
    for page in range(1, pages + 1):
        clips = list(islice(views, clips_a_page))
        rules = _numbered(config.decide, clips)
        facts = {"page": page, "clips": clips, "numbers": rules, "filters": _filters(rules, clips)}
        text = template.render(**shared, **facts, overview=overview if page == 1 else None)
        files.replace(f"report/{page_name(page)}", text.encode())
    _close_old_pages(files, environment, shared)


def page_name(page: int) -> str:
    """File of a page; the first is 1."""
    return "index.html" if page == 1 else f"page-{page}.html"


def _environment(clips_a_page: int) -> Environment:
    def address(link: Link, page: int) -> str:
        """Where a clip is shown, from this page."""
        other = link.place // clips_a_page + 1
        return f"#{link.key}" if other == page else f"{page_name(other)}#{link.key}"

    environment = Environment(
        loader=PackageLoader("pipeline.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(address=address, page_name=page_name, count=count, duration=duration)
    return environment


def _name(files: Files) -> str:
    """The run folder's own name: where it lies is nobody's business who reads the report elsewhere."""
    path = files.local_path("")
    return path.name if path is not None else files.root.rsplit("/", 1)[-1]


def _asset(name: str) -> Markup:
    """A file of ours, which needs no escaping."""
    return Markup(package_files("pipeline.report").joinpath("assets", name).read_text(encoding="utf-8"))


def overview_of_run(relations: Relations, config: DecideConfig) -> Overview:
    """Figures, funnel, hours, cost and failures."""
    found = funnel(relations, config)
    query = "SELECT coalesce(sum(duration_us), 0) / 1e6 FROM sources WHERE status = 'ok'"
    footage = duration(float(relations.connection.execute(query).fetchall()[0][0]))
    failed = f", {found.failed_sources:,} unreadable" if found.failed_sources else ""
    kept = {tier: duration(hours * 3600) for tier, hours in found.kept_hours.items()}
    figures = [
        Figure(title="Footage", value=footage, detail=f"{count(found.sources, 'source')}{failed}"),
        Figure(
            title="In clips",
            value=duration(found.clip_hours * 3600),
            detail=f"{count(found.clips, 'clip')} of {count(found.shots, 'shot')}",
        ),
        Figure(title="Kept, sync tier", value=kept["sync"], detail=count(found.kept["sync"], "clip")),
        Figure(title="Kept, subject tier alone", value=kept["subject"], detail=count(found.kept["subject"], "clip")),
    ]
    return Overview(
        figures=figures,
        pictures=[draw(found, WIDE), draw(found, NARROW)],
        found=found,
        failures=failures_by_reason(relations),
        hours=hours_by_source(relations),
        costs=costs(relations),
    )


def _numbered(config: DecideConfig, clips: list[ClipView]) -> dict[RuleKey, int]:
    """A number for each rule: those in force in their order, then any other that a decision names."""
    keys: list[RuleKey] = rule_order(config)
    keys += [(missed.tier, missed.rule) for clip in clips for missed in clip.missed]
    return {key: number for number, key in enumerate(dict.fromkeys(keys))}


def _filters(numbers: dict[RuleKey, int], clips: list[ClipView]) -> list[RuleFilter]:
    missed = Counter((missed.tier, missed.rule) for clip in clips for missed in clip.missed)
    return [
        RuleFilter(number=number, tier=tier, rule=rule, clips=missed[tier, rule])
        for (tier, rule), number in numbers.items()
        if missed[tier, rule]
    ]


def _close_old_pages(files: Files, environment: Environment, shared: dict[str, Any]) -> None:
    """Pages of an earlier, longer report must show no clip any more; they lead to the first page."""
    wanted = {page_name(page) for page in range(1, shared["pages"] + 1)}
    text = environment.get_template("closed.html").render(**shared)
    for name in files.names("report"):
        if name.startswith("page-") and name.endswith(".html") and name not in wanted:
            files.replace(f"report/{name}", text.encode())
