"""What a reviewer says is neither lost nor given to another run, nor taken back by anybody else; in a real browser."""

import csv
import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.pipeline.report.report_run import BLURRED, KEPT, write_run
from tests.pipeline.review.browser import browser
from tests.pipeline.review.served import Served, served

__all__ = ["browser"]


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """Tabs of one browser; a script that fails, fails the test."""
    context = browser.new_context()
    wrong: list[str] = []
    context.on("weberror", lambda error: wrong.append(str(error.error)))
    yield context
    context.close()
    assert wrong == []


def until(true: Callable[[], Any]) -> None:
    started = time.monotonic()
    while not true():
        assert time.monotonic() - started < 60
        time.sleep(0.05)


def opened(tab: Page, server: Served, path: str) -> None:
    tab.goto(server.address)
    tab.goto(server.base + path)


def said(server: Served) -> list[tuple[str, str]]:
    rows = csv.DictReader(io.StringIO(server.ask("/verdicts.csv").text))
    return [(row["reviewer"], row["kind"]) for row in rows]


def waiting(tab: Page, server: Served | None = None) -> list[str]:
    """Kinds of the verdicts that wait in the browser for the run that the tab shows."""
    kept = tab.evaluate("localStorage.getItem(`humo.waiting.${document.documentElement.dataset.run}`)")
    return [one["kind"] for one in json.loads(kept or "[]")]


def test_verdicts_wait_for_their_run_through_kills_and_restarts(context: BrowserContext, tmp_path: Path) -> None:
    write_run(tmp_path / "one")
    write_run(tmp_path / "other")
    old = context.new_page()
    with served(tmp_path / "one") as first:
        port = first.port
        opened(old, first, f"/clips/{KEPT.key}?show=keep")
        old.locator("#reviewer").fill("Bob")
        old.locator("h1").click()
        with old.expect_navigation():
            old.keyboard.press("s")
        assert said(first) == [("Bob", "bad_sync")]
        first.process.kill()
        first.process.wait()
        # The last word is taken back, not the one before it that the server knows; a held key says nothing twice.
        old.keyboard.down("a")
        old.keyboard.down("a")
        old.keyboard.up("a")
        old.keyboard.press("u")
        old.keyboard.press("r")
        until(lambda: "3 verdicts wait here" in old.locator("#told").inner_text())
        assert waiting(old) == ["accept", "undo", "reject"]
    with served(tmp_path / "other", port=port) as wrong:
        new = context.new_page()
        opened(new, wrong, "/clips")
        # The old tab goes on sending, now with the cookie of the other run's server.
        until(lambda: "another run" in old.locator("#told").inner_text())
        assert said(wrong) == []
        assert (waiting(old), waiting(new)) == (["accept", "undo", "reject"], [])
        new.close()
    with served(tmp_path / "one", port=port) as second:
        # Its token is a new one, which the old tab has not.
        until(lambda: "open the new address" in old.locator("#told").inner_text())
        assert waiting(old) == ["accept", "undo", "reject"]
        new = context.new_page()
        opened(new, second, f"/clips/{KEPT.key}")
        until(lambda: not waiting(new))
        assert said(second) == [("Bob", kind) for kind in ("bad_sync", "accept", "undo", "reject")]
        _refused_verdicts_are_listed(new, second)
        _only_ones_own_is_taken_back(new, second)


def _refused_verdicts_are_listed(tab: Page, server: Served) -> None:
    """One that can never be taken in stands in nobody's way, and is shown until somebody has read it."""
    gone = {"kind": "reject", "clip_id": f"{'9' * 16}_0_1", "media_sha256": "0" * 64, "note": "a long thought"}
    assert not tab.evaluate("fields => say(fields)", gone)
    tab.reload()
    assert "reject: a long thought (this run does not hold the clip" in tab.locator("#refused").inner_text()
    assert waiting(tab) == []
    tab.locator("#refused button").click()
    tab.reload()
    assert tab.locator("#refused").is_hidden()


def _only_ones_own_is_taken_back(tab: Page, server: Served) -> None:
    takes_back = tab.locator("#said-list button")
    tab.locator("#reviewer").fill("")
    assert takes_back.evaluate_all("all => all.map(one => one.hidden)") == [True, True]
    tab.locator("#reviewer").fill("Ann")
    assert takes_back.evaluate_all("all => all.map(one => one.hidden)") == [True, True]
    tab.locator("h1").click()
    tab.keyboard.press("u")
    assert "nothing of yours" in tab.locator("#told").inner_text()
    tab.locator("#reviewer").fill("Bob")
    # On another clip: told what it was, and where.
    tab.goto(f"{server.base}/clips/{BLURRED.key}")
    tab.locator("h1").click()
    with tab.expect_navigation():
        tab.keyboard.press("u")
    assert tab.locator("#told").inner_text() == "Took back: reject. see it"
    assert tab.locator("#told a").get_attribute("href") == f"/clips/{KEPT.key}"
    tab.goto(f"{server.base}/clips/{KEPT.key}")
    with tab.expect_navigation():
        tab.locator("#said-list button:visible").click()
    assert said(server)[-2:] == [("Bob", "undo"), ("Bob", "undo")]
    assert "Nothing stands" in tab.locator("#said-list").inner_text()


def test_keys_leave_the_page_its_own_and_ticks_outlive_a_page(context: BrowserContext, tmp_path: Path) -> None:
    write_run(tmp_path)
    tab = context.new_page()
    with served(tmp_path) as server:
        opened(tab, server, f"/clips/{KEPT.key}?sort=quality.sharpness")
        tab.locator("#boxes").focus()
        tab.keyboard.press("Space")
        assert not tab.locator("#boxes").is_checked()
        tab.locator("summary").first.focus()
        tab.keyboard.press("Space")
        assert tab.locator("details").first.get_attribute("open") is not None
        tab.locator("video").focus()
        tab.keyboard.press("ArrowRight")
        tab.locator("h1").click()
        after = tab.locator("#after").get_attribute("href")
        with tab.expect_navigation():
            tab.keyboard.press("ArrowRight")
        assert tab.url == f"{server.base}{after}"
        assert tab.url.endswith("?sort=quality.sharpness")
        tab.goto(f"{server.base}/people")
        people = tab.locator(".person")
        assert people.count() > 1
        ticked = [people.nth(number).locator("input").first for number in range(2)]
        tracks = [one.get_attribute("data-track") for one in ticked]
        ticked[0].check()
        tab.goto(f"{server.base}/people?page=2")
        assert tab.locator("#ticked").inner_text() == "1 faces of 1 people, 1 of them on other pages"
        tab.goto(f"{server.base}/people")
        assert ticked[0].is_checked()
        ticked[1].check()
        tab.locator("#reviewer").fill("Bob")
        with tab.expect_navigation():
            tab.locator("#merge").click()
        assert said(server) == [("Bob", "merge")]
        (row,) = csv.DictReader(io.StringIO(server.ask("/verdicts.csv").text))
        assert sorted(row["tracks"].split()) == sorted(map(str, tracks))
        assert tab.locator("#ticked").inner_text() == ""
        # Too large to outlive its page, and sent all the same.
        assert tab.evaluate(
            "fields => say(fields)",
            {"kind": "split", "tracks": tracks[:1] * 2000, "seen": [f"what {KEPT.key} shows"] * 2000},
        ) in (True, False)
        assert waiting(tab) == []
