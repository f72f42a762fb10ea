"""The review's pages: each from a few queries and a template."""

import json
from importlib.resources import files as package_files
from typing import Any
from urllib.parse import urlencode

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from pipeline.decide.funnel import rule_order
from pipeline.report.measurements import measurements
from pipeline.report.people import count_people, people
from pipeline.report.words import count, duration
from pipeline.review.clip import clip_facts
from pipeline.review.gallery import PAGE, SAID, SHOWN, Wanted, count_query, page_query
from pipeline.review.session import Session
from pipeline.review.what_if import sliders
from pipeline.store.media import media_path
from pipeline.verdicts.agreement import agreements
from pipeline.verdicts.audit import POPULATIONS, count_of, result, sample_size

PEOPLE = 20
"""Identities of a page."""
ASSETS = (
    "report.css",
    "funnel.css",
    "player.js",
    "review.css",
    "review.js",
    "clip.js",
    "people.js",
    "what_if.js",
    "audits.js",
)


class Pages:
    """Pages of a session."""

    def __init__(self, session: Session, name: str) -> None:
        self._session = session
        self._environment = Environment(
            loader=ChoiceLoader([PackageLoader("pipeline.review"), PackageLoader("pipeline.report")]),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters["from_json"] = json.loads
        self._environment.globals.update(
            count=count, duration=duration, media_path=media_path, query=urlencode, run=name, file_of=_file_of
        )

    def overview(self) -> str:
        """Where the run stands: funnel, histograms, hours, cost, failures."""
        opened = self._session.opened
        return self._render("review_overview.html", overview=opened.overview, histograms=opened.histograms)

    def clips(self, wanted: Wanted) -> str:
        """A page of the gallery."""
        rows = self._session.query(*page_query(wanted))
        number = self._session.query(*count_query(wanted))[0]["number"]
        clips, more = rows[:PAGE], len(rows) > PAGE
        return self._render(
            "gallery.html",
            wanted=wanted,
            clips=clips,
            number=number,
            after=clips[-1]["id"] if more else None,
            shown=SHOWN,
            said=SAID,
            measurements=measurements(),
            rules=[f"{tier}: {rule}" for tier, rule in rule_order(self._session.opened.config.decide)],
        )

    def clip(self, key: str, wanted: Wanted) -> str | None:
        """Everything about a clip, among those of a gallery; None where there is none."""
        facts = clip_facts(self._session, key, wanted)
        return None if facts is None else self._render("review_clip.html", **facts)

    def people(self, page: int) -> str:
        """Identities with their tracks, to be merged and split."""
        relations = self._session.relations
        with_faces = people(relations, limit=PEOPLE, offset=(page - 1) * PEOPLE, faces=200)
        edits = [row for row in self._standing() if row["kind"] in ("merge", "split")]
        pages = max(1, -(-count_people(relations) // PEOPLE))
        return self._render("people.html", people=with_faces, page=page, pages=pages, edits=edits)

    def what_if(self) -> str:
        """The sliders."""
        opened = self._session.opened
        found = sliders(opened.config.decide, opened.config.faces.descriptor, opened.histograms)
        by_column = {one.measurement.column: one for one in opened.histograms}
        return self._render("what_if.html", sliders=found, histograms=by_column, state=opened.state)

    def audits(self) -> str:
        """Audits with their estimates, and how far reviewers agree."""
        relations = self._session.relations
        made = [(row, result(relations, row)) for row in self._standing() if row["kind"] == "audit"]
        populations = {name: count_of(relations, name) for name in POPULATIONS}
        sizes = {
            name: sample_size(half_width=0.02, expected=0.95, population=number) for name, number in populations.items()
        }
        reviewers: dict[str, int] = {}
        for row in self._session.verdicts():
            if row["clip_id"]:
                reviewers[row["reviewer"]] = reviewers.get(row["reviewer"], 0) + 1
        return self._render(
            "audits.html",
            audits=made,
            populations=populations,
            sizes=sizes,
            agreements=agreements(relations),
            reviewers=reviewers,
        )

    def _standing(self) -> list[dict[str, Any]]:
        undone = self._session.undone()
        return [row for row in reversed(self._session.verdicts()) if (row["id"], row["reviewer"]) not in undone]

    def _render(self, template: str, **facts: Any) -> str:
        about = {
            "snapshot": self._session.opened.snapshot.number,
            "verdicts_said": self._session.count_verdicts(),
            "run_id": self._session.run,
        }
        return self._environment.get_template(template).render(**facts, **about)


def asset(name: str) -> bytes:
    """A file of ours: of the review, or one that it shares with the report."""
    for package in ("pipeline.review", "pipeline.report"):
        path = package_files(package).joinpath("assets", name)
        if path.is_file():
            return path.read_bytes()
    raise FileNotFoundError(name)


def _file_of(clip: dict[str, Any]) -> str:
    return str(clip["uri"]).rsplit("/", 1)[-1] if clip["uri"] else str(clip["source_id"])
