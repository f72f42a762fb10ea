"""The demo's report and review in a real browser, as a person uses them: by mouse, by keyboard, with their ears."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page

from pipeline.engine.run_file import read_run
from pipeline.store.files import Files
from tests.pipeline.direct_run import humo_directly
from tests.pipeline.report.report_run import HOSTILE_CAPTION, HOSTILE_KEY, HOSTILE_NAME, write_run
from tests.pipeline.review.browser import browser, file_address
from tests.pipeline.review.served import Served, served

__all__ = ["browser"]

PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def run(film_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the demo's run, which verdicts may change, with its report."""
    folder = tmp_path_factory.mktemp("demo") / "run"
    shutil.copytree(film_run, folder)
    assert humo_directly("report", folder).code == 0
    return folder


@pytest.fixture(scope="module")
def server(browser: Browser, run: Path) -> Iterator[Served]:
    with served(run) as found:
        yield found


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that fails the test where a script fails, and notes what it asks of the network."""
    context = browser.new_context(viewport=DESKTOP)  # type: ignore[arg-type]
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if failed(message) else None)
    page.on("dialog", lambda dialog: wrong.append(f"a dialog: {dialog.message}"))
    yield page
    context.close()
    assert wrong == []


def failed(message: ConsoleMessage) -> bool:
    """Whether something is wrong with our pages; a request that a test let fail is not."""
    return message.type == "error" and "net::ERR_FAILED" not in message.text


def until(true: Callable[[], Any]) -> None:
    """Look until something is so; the pages' own policy forbids that the browser evaluates it."""
    started = time.monotonic()
    while not true():
        assert time.monotonic() - started < 60
        time.sleep(0.05)


PLAYED = """async (video, again) => {
    const sound = video.nextElementSibling;
    const apart = [];
    const look = setInterval(() => {
        if (video.currentTime > 1.5) apart.push(Math.abs(sound.currentTime - video.currentTime));
    }, 20);
    const end = new Promise((done) => sound.addEventListener("ended", done, {once: true}));
    if (again) {
        video.currentTime = 0;
        await video.play();
    }
    await end;
    clearInterval(look);
    const found = {video: video.ended, sound: sound.currentTime, length: video.duration, muted: sound.muted};
    return {...found, apart: Math.max(...apart), looks: apart.length};
}"""
# Out of step by a fifth of a second would be seen by anybody.
SEEN_S = 0.2


def played(page: Page, video: str) -> dict[str, float]:
    """What was heard and seen, from where it plays to its end.

    It plays again, four times at most, where picture and sound came apart: a machine that stands still for a moment
    stops either of them, and only the page's fault comes again each time.
    """
    found: dict[str, float] = {}
    for again in (False, True, True, True, True):
        found = page.locator(video).evaluate(PLAYED, again)
        if found["apart"] < SEEN_S:
            break
    return found


def test_the_report_opens_from_disk_filters_and_plays_with_sound(page: Page, run: Path) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file_address(run / "report" / "index.html"))
    total = page.locator("article.clip").count()
    page.locator("#filters button[data-kind=sync]").click()
    kept = page.locator("article.clip:not([hidden])").count()
    assert 0 < kept < total
    assert page.locator("#shown").inner_text() == f"{kept} of {total} shown"
    page.locator("#words").fill("no such words")
    assert page.locator("article.clip:not([hidden])").count() == 0
    page.locator("#words").fill("")
    clip = page.locator("article.clip:not([hidden])").first
    clip.locator(".play").click()
    found = played(page, "article.clip:not([hidden]) details[open] video")
    assert found["video"]
    assert found["sound"] == pytest.approx(found["length"], abs=0.05)
    assert found["looks"] > 10
    assert found["apart"] < SEEN_S
    assert not found["muted"]
    for name in ("measurements.html", "people.html"):
        page.goto(file_address(run / "report" / name))
        assert page.locator("svg.histogram, .faces img").count() > 0
        loaded = page.locator("img").evaluate_all("all => all.every(one => one.complete && one.naturalWidth > 0)")
        assert loaded or name == "measurements.html"
    assert [address for address in asked if not address.startswith("file:")] == []


def test_a_moved_threshold_shows_the_numbers_of_a_dry_run(page: Page, server: Served, run: Path) -> None:
    page.goto(server.address)
    page.goto(f"{server.base}/what-if")
    page.wait_for_selector("#answer table")
    slider = page.locator('.slider[data-name="subject.0.0"]')
    slider.locator("input[type=range]").focus()
    page.keyboard.press("Home")
    slider.locator("input[type=number]").fill("0.62")
    until(lambda: page.locator("#state").inner_text().startswith("1 threshold moved"))
    slider.locator("input[type=number]").fill("")
    until(lambda: page.locator("#state").inner_text() == "A field holds no number.")
    slider.locator("input[type=number]").fill("0.62")
    until(lambda: page.locator("#state").inner_text().startswith("1 threshold moved"))
    with page.expect_download() as download:
        page.locator("#save").click()
    assert "- quality.sharpness >= 0.62\n" in download.value.path().read_text()
    dry = json.loads(humo_directly("decide", run, "--config", download.value.path(), "--dry-run", "--json").text)
    assert dry["changes"]
    kept = page.locator("#answer table").first.locator("td").all_inner_texts()
    assert [int(kept[0]), int(kept[2])] == [dry["funnel"]["kept"]["sync"], dry["funnel"]["kept"]["subject"]]
    rows = page.locator("#answer table").last.locator("tbody tr")
    shown = [[int(cell) for cell in row.locator("td").all_inner_texts()] for row in rows.all()]
    assert shown == [[step[name] for name in ("passed", "failed", "unknown")] for step in dry["funnel"]["steps"]]
    changes = sum(change["clips"] for change in dry["changes"])
    assert page.locator("#brief").text_content() == (
        f"kept: {dry['funnel']['kept']['sync']} sync, {dry['funnel']['kept']['subject']} subject alone; "
        f"{changes} clips change"
    )


def packed(run: Path) -> set[str]:
    return set(pq.read_table(run / "shards" / "index.parquet", columns=["key"])["key"].to_pylist())


def test_a_clip_is_watched_rejected_and_taken_back_by_keyboard_and_pack_follows(
    page: Page, server: Served, run: Path
) -> None:
    before = packed(run)
    page.goto(server.address)
    page.goto(f"{server.base}/clips?show=sync")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_selector("#clip")
    key = str(page.locator("#clip").get_attribute("data-clip"))
    assert key in before
    drawn = "document.querySelector('canvas').getContext('2d').getImageData(0, 0, 999, 999).data.some(one => one)"
    until(lambda: page.evaluate(drawn))
    page.keyboard.press("Space")
    found = played(page, "#clip video")
    assert found["sound"] == pytest.approx(found["length"], abs=0.05)
    assert found["looks"] > 10
    assert found["apart"] < SEEN_S
    # Without a name nothing is saved.
    page.keyboard.press("r")
    assert "name" in page.locator("#told").inner_text()
    page.keyboard.type("Ann")
    page.locator("#note").fill("a hand before the face")
    page.locator("h1").click()
    with page.expect_navigation():
        page.keyboard.press("r")
    assert "reject by Ann: a hand before the face" in page.locator("#said-list").inner_text()
    assert humo_directly("pack", run).code == 0
    # A copy of it, of which only one is kept, may take its place.
    assert key not in packed(run)
    assert packed(run) >= before - {key}
    assert "a hand before the face" in humo_directly("trace", run, key).text
    with page.expect_navigation():
        page.keyboard.press("u")
    assert "Nothing stands" in page.locator("#said-list").inner_text()
    assert humo_directly("pack", run).code == 0
    assert packed(run) == before
    assert read_run(Files(str(run)))["configuration"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_accessibility_checker_finds_nothing_serious(
    browser: Browser, server: Served, run: Path, scheme: str
) -> None:
    size = DESKTOP if scheme == "light" else PHONE
    context = browser.new_context(viewport=size, color_scheme=scheme, bypass_csp=True)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(server.address)
    page.goto(f"{server.base}/clips?show=sync")
    clip = page.locator("a[data-clip]").first.get_attribute("href")
    addresses = [f"{server.base}{path}" for path in ("/", "/clips", clip, "/people", "/what-if", "/audits")]
    report = run / "report"
    addresses += [file_address(report / name) for name in ("index.html", "measurements.html", "people.html")]
    axe = Axe()
    for address in addresses:
        page.goto(address)
        page.wait_for_load_state("load")
        checked = axe.run(page).response
        assert len(checked["passes"]) > 5
        found = [one for one in checked["violations"] if one["impact"] in ("serious", "critical")]
        said = [(one["id"], [node["html"][:120] for node in one["nodes"][:3]]) for one in found]
        assert said == [], address
        # Nothing is wider than a phone.
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), address
    context.close()


def test_hostile_names_captions_and_notes_do_nothing_in_a_browser(page: Page, tmp_path: Path) -> None:
    write_run(tmp_path)
    assert humo_directly("report", tmp_path).code == 0
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file_address(tmp_path / "report" / "index.html"))
    assert HOSTILE_CAPTION in page.locator(f'[id="{HOSTILE_KEY}"]').inner_text()
    with served(tmp_path) as one:
        page.goto(one.address)
        for path in ("/clips", "/people", f"/clips?words={HOSTILE_NAME[:4]}"):
            page.goto(one.base + path)
        assert HOSTILE_NAME in page.locator(".tiles").inner_text()
        outside = [address for address in asked if not address.startswith(("file:", one.base))]
    assert outside == []
