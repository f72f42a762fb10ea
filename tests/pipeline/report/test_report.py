"""The report: every clip once, the funnel's own numbers, hostile text harmless, nothing from elsewhere."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config import CurateConfig
from pipeline.decide.funnel import Funnel, funnel
from pipeline.report.measurements import histograms
from pipeline.report.write import write_report
from pipeline.store.files import Files
from pipeline.store.relations import Relations
from pipeline.store.snapshots import Snapshot, latest
from tests.pipeline.report.report_run import (
    BEST,
    BLURRED,
    CLIPS,
    COPY,
    HOSTILE_CAPTION,
    HOSTILE_ERROR,
    HOSTILE_KEY,
    HOSTILE_NAME,
    KEPT,
    LATE,
    RULES,
    UNLIT,
    UNREADABLE_ERROR,
    Page,
    write_run,
)

A_PAGE = 3


@pytest.fixture(scope="module")
def unreported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unreported")
    write_run(folder)
    return folder


@pytest.fixture(scope="module")
def run(unreported: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Funnel]:
    folder = tmp_path_factory.mktemp("run")
    files, snapshot, config = opened(unreported, folder)
    write_report(files, snapshot, config, clips_a_page=A_PAGE)
    return folder, funnel(Relations(files, snapshot), config.decide)


def opened(unreported: Path, folder: Path) -> tuple[Files, Snapshot, CurateConfig]:
    """A copy of the run, in `folder`."""
    shutil.copytree(unreported, folder, dirs_exist_ok=True)
    files = Files(str(folder))
    return files, latest(files), CurateConfig(decide=RULES)


@pytest.fixture(scope="module")
def pages(run: tuple[Path, Funnel]) -> dict[str, Page]:
    report = run[0] / "report"
    return {name: Page(report / name) for name in ("index.html", "page-2.html", "page-3.html")}


def clip_text(pages: dict[str, Page], key: str) -> str:
    return next(page.clip(key) for page in pages.values() if key in page.clips)


def test_every_clip_stands_once_on_the_pages_by_file_and_time(run: tuple[Path, Funnel], pages: dict[str, Page]) -> None:
    html = {path.name for path in (run[0] / "report").glob("*.html")}
    assert html == {*pages, "measurements.html", "people.html"}
    assert [len(page.clips) for page in pages.values()] == [A_PAGE, A_PAGE, 1]
    shown = [key for page in pages.values() for key in page.clips]
    # The hostile name begins with a sign that sorts after digits. 10 s comes after 4 s, as no sorting of keys has it.
    assert shown == [*(clip.key for clip in CLIPS), HOSTILE_KEY]


def test_outcome_and_rules_with_values_are_told(pages: dict[str, Page]) -> None:
    kinds = {found["id"]: found["data-kind"] for page in pages.values() for found in page.all("article")}
    assert kinds == {
        KEPT.key: "sync",
        BLURRED.key: "reject",
        UNLIT.key: "unknown",
        LATE.key: "subject",
        COPY.key: "reject",
        BEST.key: "sync",
        HOSTILE_KEY: "reject",
    }
    blurred = clip_text(pages, BLURRED.key)
    assert "✕ failed quality.sharpness >= 0.2 measured: quality.sharpness = 0.01" in blurred
    unlit = clip_text(pages, UNLIT.key)
    assert "missing: quality.luma = NULL because: the picture has no light" in unlit
    late = clip_text(pages, LATE.key)
    assert "abs(sync.offset_frames) <= 3 measured: sync.offset_frames = 8" in late
    assert "+8 frames (320 ms): the sound is late" in late
    assert f"kept copy = {BEST.key}" in clip_text(pages, COPY.key)


def test_filters_know_which_clips_missed_a_rule(pages: dict[str, Page]) -> None:
    for page in pages.values():
        numbers = [found["value"] for found in page.all("option") if found["value"]]
        missed = [set((found["data-rules"] or "").split()) for found in page.all("article")]
        assert set(numbers) == set().union(*missed)
        for number in numbers:
            told = re.search(r"\((\d+)\)$", _option(page, number))
            assert told is not None
            assert int(told[1]) == sum(number in rules for rules in missed)


def _option(page: Page, number: str | None) -> str:
    texts = re.findall(r"(?:subject|sync): .+ \(\d+\)", page.text)
    return texts[[found["value"] for found in page.all("option") if found["value"]].index(number)]


def test_chosen_references_are_shown_with_their_similarity(pages: dict[str, Page]) -> None:
    assert "Similarity 0.70 from 0000000000000001.mp4, 10.00 s" in clip_text(pages, KEPT.key)
    assert "Similarity 0.70 from 0000000000000001.mp4, 1.00 s" in clip_text(pages, LATE.key)
    assert f"page-2.html#{LATE.key}" in [found.get("href") for found in pages["index.html"].all("a")]
    assert f"index.html#{KEPT.key}" in [found.get("href") for found in pages["page-2.html"].all("a")]


def test_the_funnel_is_the_funnel_of_the_decisions(run: tuple[Path, Funnel], pages: dict[str, Page]) -> None:
    folder, found = run
    index = pages["index.html"]
    expected = [
        f"{found.sources - found.failed_sources} read · {found.failed_sources} failed",
        str(found.shots),
        str(found.clips),
    ]
    for step in found.steps:
        numbers = ((step.passed, "passed"), (step.failed, "failed"), (step.unknown, "unknown"))
        expected.append(" · ".join(f"{number} {word}" for number, word in numbers if number))
    names = ["sources", "shots", "clips", *(step.rule for step in found.steps)]
    for text in (index.text, (folder / "report" / "funnel.svg").read_text().replace("&gt;", ">").replace("&lt;", "<")):
        for name, counts in zip(names, expected, strict=True):
            assert f"{name}: {counts}" in text
    table = " ".join(index.text.split())
    for step in found.steps:
        assert f"{step.tier} {step.rule} {step.passed} {step.failed} {step.unknown}" in table
    assert found.failed_sources == 1
    assert sum(step.unknown for step in found.steps) > 0


def test_failures_are_counted_by_reason(pages: dict[str, Page]) -> None:
    text = " ".join(pages["index.html"].text.split())
    assert f"1 source in sources: {UNREADABLE_ERROR} broken.mp4" in text
    assert f"1 clip in quality: {HOSTILE_ERROR} {HOSTILE_NAME} at 2.00 s" in text
    assert "there is no sound" not in text


def test_hostile_text_is_text(pages: dict[str, Page]) -> None:
    hostile = clip_text(pages, HOSTILE_KEY)
    for text in (HOSTILE_NAME, HOSTILE_CAPTION, HOSTILE_ERROR):
        assert text in hostile
    for page in pages.values():
        assert [found["src"] for found in page.all("script")] == ["player.js", "report.js"]
        for tag, attributes in page.elements:
            assert not [name for name in attributes if name.startswith("on") or name == "style"], tag
            assert not (attributes.get("href") or "").startswith(("javascript:", "data:"))


def test_the_policy_comes_first_and_allows_nothing_inline_or_remote(pages: dict[str, Page]) -> None:
    for page in pages.values():
        first = next(i for i, (_, found) in enumerate(page.elements) if found.get("http-equiv"))
        assert {tag for tag, _ in page.elements[:first]} == {"html", "head", "meta"}
        policy = page.elements[first][1]["content"] or ""
        rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
        assert rules["default-src"] == "'none'"
        assert set(rules.values()) == {"'none'", "'self'"}


def test_links_lead_to_files_that_are_there(run: tuple[Path, Funnel], pages: dict[str, Page]) -> None:
    report = run[0] / "report"
    media = 0
    for name, page in pages.items():
        ids = [found["id"] for _, found in page.elements if "id" in found]
        assert len(ids) == len(set(ids))
        for _, found in page.elements:
            for link in filter(None, (found.get("src"), found.get("href"))):
                path, _, fragment = link.partition("#")
                target = report / (path or name)
                assert target.is_file(), link
                media += path.startswith("../media/")
                if fragment:
                    assert fragment in [one.get("id") for _, one in pages[target.name].elements]
    # Seven videos, six strips, and the reference images.
    assert media >= 7 + 6 + 6
    assert not [path for path in report.iterdir() if path.suffix in (".mp4", ".jpg", ".png")]


def test_nothing_is_loaded_from_elsewhere(run: tuple[Path, Funnel]) -> None:
    for path in (run[0] / "report").iterdir():
        text = path.read_text(encoding="utf-8").replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert not re.search(r"https?:|@import|url\((?!#)|[\"'(]//", text), path.name


def test_writing_again_gives_the_same_bytes_and_a_shorter_report_closes_old_pages(
    unreported: Path, tmp_path: Path
) -> None:
    files, snapshot, config = opened(unreported, tmp_path)
    write_report(files, snapshot, config, clips_a_page=2)
    report = tmp_path / "report"
    before = {path.name: path.read_bytes() for path in report.iterdir()}
    write_report(files, snapshot, config, clips_a_page=2)
    assert {path.name: path.read_bytes() for path in report.iterdir()} == before
    write_report(files, snapshot, config)
    assert len(Page(report / "index.html").clips) == len(CLIPS) + 1
    for number in (2, 3, 4):
        page = Page(report / f"page-{number}.html")
        assert page.clips == {}
        assert "index.html" in [found["href"] for found in page.all("a")]


def test_a_run_before_its_first_decisions_and_one_without_clips(unreported: Path, tmp_path: Path) -> None:
    files, snapshot, config = opened(unreported, tmp_path)
    undecided = {table: part for table, part in snapshot.sets.items() if table not in ("decisions", "references")}
    write_report(files, replace(snapshot, sets=undecided), config)
    page = Page(tmp_path / "report" / "index.html")
    assert {found["data-kind"] for found in page.all("article")} == {"undecided"}
    assert "Not decided yet" in page.clip(KEPT.key)
    write_report(files, Snapshot(number=1), config)
    assert "There is no clip yet." in Page(tmp_path / "report" / "index.html").text


def test_a_rule_on_licences_is_counted_as_the_decisions_do(unreported: Path, tmp_path: Path) -> None:
    files, snapshot, _ = opened(unreported, tmp_path)
    relations = Relations(files, snapshot)
    # The hostile source has no licence; one of the others is sharp enough.
    rules = ("quality.sharpness >= 0.55 and locations.licence = 'cc0'", "quality.sharpness >= 0.55")
    found = histograms(relations, RULES.model_copy(update={"subject": rules}))
    (sharpness,) = [one for one in found if one.measurement.column == "quality.sharpness"]
    assert [(line.passed, line.failed, line.unknown) for line in sharpness.lines] == [(1, 5, 1), (1, 5, 1)]
