"""The page in a real browser: in step, by keyboard, votes saved; and the server that keeps them."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web
from playwright.sync_api import Browser, Page

from humo.video import AUDIO_RATE, write_video
from schemas.command_line import run
from training.evaluation.folder import read_evaluation
from training.evaluation.page.serve import application
from training.evaluation.page.votes import Tally, count_votes, make_pairs, read_pairs, read_votes, save_vote
from training.evaluation.page.write import write_page
from training.evaluation.summary import compare

TOKEN = "a-token-of-the-test"
FRAME_S = 1 / 25


def long_video(path: Path, level: int) -> None:
    """Four seconds, with sound."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ramp = np.linspace(0, 200, 97).astype(np.uint8)
    frames = np.full((97, 64, 64, 3), level, np.uint8)
    frames[:, :8] = ramp[:, None, None, None]
    write_video(path, frames, (0.1 * np.sin(np.arange(4 * AUDIO_RATE) / 20)).astype(np.float32))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models on three cases, with a text that would run if it were taken for HTML."""
    folder = tmp_path_factory.mktemp("page")
    texts = {"a": "<img src=x onerror=alert(1)>", "b": "second", "c": "third"}
    (folder / "cases.json").write_text(json.dumps({name: {"prompt": text} for name, text in texts.items()}))
    for number, model in enumerate(("plain", "tuned")):
        for place, name in enumerate("abc"):
            long_video(folder / model / f"{name}.mp4", 40 + 60 * number + 10 * place)
        arguments = ["--cases", str(folder / "cases.json"), "--out", str(folder / f"eval-{model}")]
        assert run(["evaluate", "--videos", str(folder / model), *arguments]) == 0
    assert (
        run(
            [
                "compare",
                f"plain={folder / 'eval-plain'}",
                f"tuned={folder / 'eval-tuned'}",
                "--out",
                str(folder / "page"),
            ]
        )
        == 0
    )
    return folder / "page"


@pytest.fixture
def served(page: Path) -> Iterator[str]:
    """The page's address without the token; its votes are gone afterwards."""
    loop = asyncio.new_event_loop()
    ready, address = threading.Event(), []

    async def begin() -> web.AppRunner:
        listening = socket.create_server(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        runner = web.AppRunner(application(page, TOKEN, port))
        await runner.setup()
        await web.SockSite(runner, listening).start()
        address.append(f"http://127.0.0.1:{port}")
        ready.set()
        return runner

    def work() -> None:
        runner = loop.run_until_complete(begin())
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())

    thread = threading.Thread(target=work)
    thread.start()
    assert ready.wait(20)
    yield address[0]
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
    (page / "votes.jsonl").unlink(missing_ok=True)


@pytest.fixture
def browser_page(browser: Browser) -> Iterator[Page]:
    """A page of a real Chromium, on which nothing may go wrong unseen."""
    opened = browser.new_page()
    opened.set_default_timeout(90_000)
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    yield opened
    assert errors == []
    opened.close()


def until(opened: Page, condition: str) -> None:
    """Wait; Playwright's own waiting evaluates text in the page, which the page's policy forbids."""
    last = time.monotonic() + 90
    while not opened.evaluate(condition):
        assert time.monotonic() < last, condition
        time.sleep(0.05)


APART = """async (article) => {
  const videos = [...document.querySelector(article).querySelectorAll('video')];
  const shown = videos.map(() => null);
  videos.forEach((video, place) => {
    const see = (_, frame) => {
      shown[place] = frame.mediaTime;
      video.requestVideoFrameCallback(see);
    };
    video.requestVideoFrameCallback(see);
  });
  const apart = {clocks: [], frames: []};
  const spread = (times) => Math.max(...times) - Math.min(...times);
  while (apart.frames.length < 60 && !videos[0].paused) {
    await new Promise((resolve) => requestAnimationFrame(resolve));
    apart.clocks.push(spread(videos.map((video) => video.currentTime)));
    // What is on the screen: of all videos the new frames have been told by now.
    if (!shown.includes(null)) apart.frames.push(spread(shown));
  }
  return [apart, videos[0].currentTime];
}"""


def test_cases_play_in_step_within_a_frame_and_with_one_sound(browser_page: Page, served: str) -> None:
    opened = browser_page
    opened.goto(f"{served}/?token={TOKEN}")
    for _ in range(5):
        opened.goto(f"{served}/index.html")
        opened.click("#case-1 .play")
        until(opened, "document.querySelector('#case-1 video').currentTime > 0.3")
        apart, reached = opened.evaluate(APART, "#case-1")
        clocks, frames = sorted(apart["clocks"]), sorted(round(seconds / FRAME_S) for seconds in apart["frames"])
        # A browser that gets no processor for a moment tells of the machine, not of the page: it is looked at again.
        if len(frames) > 20 and clocks[int(0.95 * len(clocks))] < FRAME_S and frames[int(0.75 * len(frames))] <= 1:
            break
    assert len(frames) > 20
    assert reached > 0.6
    assert clocks[int(0.95 * len(clocks))] < FRAME_S, clocks
    # The frames that are seen are the same, or neighbours; a browser that gets no processor paints some too late.
    assert frames[int(0.75 * len(frames))] <= 1, frames
    heard = "() => [...document.querySelectorAll('#case-1 video')].map((v) => !v.muted)"
    assert opened.evaluate(heard) == [True, False]
    opened.keyboard.press("2")
    assert opened.evaluate(heard) == [False, True]
    opened.keyboard.press(" ")
    until(opened, "document.querySelector('#case-1 video').paused")
    opened.keyboard.press(".")
    until(opened, "[...document.querySelectorAll('#case-1 video')].every((v) => !v.seeking)")
    times = opened.evaluate(
        "() => [...document.querySelectorAll('#case-1 video')].map((v) => Math.floor(v.currentTime / 0.04))"
    )
    assert len(set(times)) == 1
    assert "<img src=x" in opened.inner_text("#case-1 .text")


def test_votes_by_keyboard_are_saved_blind_and_taken_up_after_a_reload(
    browser_page: Page, served: str, page: Path
) -> None:
    opened = browser_page
    opened.goto(f"{served}/?token={TOKEN}")
    content = opened.content()
    assert "plain" not in content
    assert "tuned" not in content
    _, pairs = read_pairs(page)

    def shown() -> str:
        return str(opened.get_attribute(".pair:not([hidden])", "data-pair"))

    def saved(count: int) -> None:
        until(opened, f"document.getElementById('progress').textContent.startsWith('{count} of 3')")

    saved(0)
    wanted = {}
    for count, key, choice in ((1, "ArrowLeft", "left"), (2, "ArrowDown", "tie")):
        wanted[shown()] = choice
        opened.keyboard.press(key)
        saved(count)
    opened.reload()
    saved(2)
    wanted[shown()] = "right"
    opened.keyboard.press("ArrowRight")
    saved(3)
    opened.wait_for_selector("#done", state="visible")
    assert set(wanted) == {pair.id for pair in pairs}
    assert {pair: choice for (_, pair), choice in read_votes(page).items()} == wanted


def test_only_who_has_the_token_is_served_and_never_who_is_who(served: str, page: Path) -> None:
    import aiohttp

    pair = read_pairs(page)[1][0].id
    good = {"pair": pair, "choice": "left", "voter": "v"}

    async def ask() -> dict[str, int]:
        found: dict[str, int] = {}
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
            port = served.rpartition(":")[2]
            cookie = {"Cookie": f"humo_review_{port}={TOKEN}", "Origin": served}

            async def get(name: str, path: str, **given: object) -> None:
                async with session.get(served + path, allow_redirects=False, **given) as answer:  # type: ignore[arg-type]
                    found[name] = answer.status
                    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]

            async def post(name: str, body: bytes, kind: str = "application/json", **given: object) -> None:
                headers = {**cookie, "Content-Type": kind, **given.get("headers", {})}  # type: ignore[dict-item]
                async with session.post(f"{served}/votes", data=body, headers=headers) as answer:
                    found[name] = answer.status

            await get("no token", "/blind.html")
            await get("wrong token", "/?token=guess")
            await get("other host", "/blind.html", headers={**cookie, "Host": "evil.example"})
            await get("page", "/blind.html", headers=cookie)
            await get("who is who", "/pairs.json", headers=cookie)
            await get("votes file", "/votes.jsonl", headers=cookie)
            await get("above", "/media/..%2fpairs.json", headers=cookie)
            await post("other site", json.dumps(good).encode(), headers={"Origin": "http://evil.example"})
            await post("form", json.dumps(good).encode(), kind="text/plain")
            await post("no json", b"{")
            await post("unknown pair", json.dumps({**good, "pair": "x"}).encode())
            await post("unknown choice", json.dumps({**good, "choice": "both"}).encode())
            await post("flood", json.dumps({**good, "voter": "v" * 5000}).encode())
            await post("vote", json.dumps(good).encode())
        return found

    # A thread of its own: the browser's loop runs in this one.
    with ThreadPoolExecutor(1) as pool:
        answered = pool.submit(asyncio.run, ask()).result()
    assert answered == {
        "no token": 403,
        "wrong token": 403,
        "other host": 403,
        "page": 200,
        "who is who": 404,
        "votes file": 404,
        "above": 404,
        "other site": 403,
        "form": 403,
        "no json": 400,
        "unknown pair": 400,
        "unknown choice": 400,
        "flood": 413,
        "vote": 200,
    }
    assert read_votes(page) == {("v", pair): "left"}


def test_votes_are_counted_by_who_was_on_which_side(tmp_path: Path) -> None:
    pairs = make_pairs(["one", "two"], [f"case{number}" for number in range(40)], seed="s")
    # Neither model keeps to a side, and the order tells nothing of the cases.
    assert 8 <= sum(pair.left == "one" for pair in pairs) <= 32
    assert [pair.case for pair in pairs] != [f"case{number}" for number in range(40)]
    (tmp_path / "pairs.json").write_text(json.dumps({"names": ["one", "two"], "pairs": [vars(pair) for pair in pairs]}))
    known = frozenset(pair.id for pair in pairs)

    def vote(pair_id: str, choice: str, voter: str = "v") -> None:
        save_vote(tmp_path, json.dumps({"pair": pair_id, "choice": choice, "voter": voter}).encode(), known)

    for number, pair in enumerate(pairs):
        two = "left" if pair.left == "two" else "right"
        one = "right" if two == "left" else "left"
        vote(pair.id, one)  # taken back below
        vote(pair.id, "tie" if number < 10 else two if number < 36 else one)
    with (tmp_path / "votes.jsonl").open("a") as file:
        file.write('{"pair": "cut o')
    (tally,) = count_votes(tmp_path)
    assert tally == Tally("one", "two", for_first=4, for_second=26, ties=10)
    assert tally.interval == pytest.approx((0.7032, 0.9469), abs=1e-3)
    assert tally.words().endswith("10 ties: two is preferred")
    assert "no vote" in Tally("one", "two", 0, 0, 3).words()


def test_a_page_is_written_anew_and_keeps_its_votes(page: Path, tmp_path: Path) -> None:
    made = {name: read_evaluation(page.parent / f"eval-{name}") for name in ("plain", "tuned")}
    (page / "votes.jsonl").write_text("")
    before = read_pairs(page)
    write_page(made, compare(made), page)
    assert read_pairs(page) == before
    assert (page / "votes.jsonl").exists()
    (page / "votes.jsonl").unlink()
    (tmp_path / "mine.txt").write_text("x")
    from schemas.errors import UserError

    with pytest.raises(UserError, match="holds no page"):
        write_page(made, compare(made), tmp_path)
