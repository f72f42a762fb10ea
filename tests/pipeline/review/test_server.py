"""The server: no token, no entry; other hosts refused; hostile names and texts do nothing; audits, export, sync."""

import csv
import html
import io
import json
import math
import re
import urllib.parse
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import soundfile

from pipeline.config import CurateConfig
from pipeline.engine.decide_again import decide_again
from pipeline.store.files import Files
from pipeline.store.media import media_path, put_media
from pipeline.store.relations import Relations
from pipeline.store.snapshots import latest
from pipeline.verdicts.fold import all_verdicts
from tests.pipeline.report.report_run import (
    BLURRED,
    HOSTILE_CAPTION,
    HOSTILE_ERROR,
    HOSTILE_KEY,
    HOSTILE_NAME,
    KEPT,
    LATE,
    RULES,
    UNLIT,
    write_run,
)
from tests.pipeline.review.served import Answer, Served, served

HOSTILE_NOTE = '=HYPERLINK("http://evil")<script>alert(3)</script>\u202e'
PATHS = ["/", "/clips", f"/clips/{KEPT.key}", "/people", "/what-if", "/audits", "/verdicts.csv", "/assets/review.js"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reviewed")
    write_run(folder)
    return folder


@pytest.fixture(scope="module")
def server(run: Path) -> Iterator[Served]:
    with served(run) as found:
        yield found


def say(server: Served, kind: str, **fields: Any) -> Answer:
    said = {
        "id": f"{abs(hash((kind, str(fields)))):032x}"[-32:],
        "kind": kind,
        "reviewer": "Ann",
        "run": server.run,
        **fields,
    }
    return server.ask("/verdicts", said)


def on(files: Files, key: str) -> dict[str, str]:
    rows = Relations(files, latest(files)).connection.execute("SELECT media_sha256 FROM clips WHERE id = ?", [key])
    return {"clip_id": key, "media_sha256": rows.fetchall()[0][0]}


class Elements(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("path", [*PATHS, "/media/clips/00/x.mp4", "/nothing"])
def test_no_token_no_entry(server: Served, path: str) -> None:
    for cookie in ("", "humo_review=x", server.cookie[:-1], server.cookie.replace(str(server.port), "1")):
        assert server.ask(path, headers={"Cookie": cookie}).status == 403
    assert server.ask(f"{path}?token=wrong").status == 403


def test_the_token_leaves_the_address(server: Served) -> None:
    answer = server.ask(server.address.removeprefix(server.base), headers={"Cookie": ""})
    assert (answer.status, answer.headers["Location"]) == (303, "/")
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "0.0.0.0:{port}"])
def test_other_hosts_are_refused(server: Served, host: str) -> None:
    assert server.ask("/", headers={"Host": host.format(port=server.port)}).status == 403


def test_only_our_own_pages_may_change_anything(server: Served, run: Path) -> None:
    verdict = {"id": "1" * 32, "kind": "reject", "reviewer": "Eve", **on(Files(str(run)), KEPT.key)}
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
    ):
        assert server.ask("/verdicts", verdict, headers=headers).status == 403
    assert "1" * 32 not in {row["id"] for row in all_verdicts(Files(str(run)), latest(Files(str(run))))}


@pytest.mark.parametrize("path", PATHS)
def test_the_policy_allows_nothing_inline_or_remote(server: Served, path: str) -> None:
    answer = server.ask(path)
    assert answer.status == 200
    rules = dict(rule.strip().split(" ", 1) for rule in answer.headers["Content-Security-Policy"].split(";"))
    assert rules["default-src"] == "'none'"
    assert set(rules.values()) == {"'none'", "'self'"}
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    if answer.headers["Content-Type"].startswith("text/html"):
        for tag, attributes in Elements(answer.text).found:
            assert not [name for name in attributes if name.startswith("on") or name == "style"], tag
            for link in (attributes.get("src"), attributes.get("href")):
                assert link is None or link.startswith(("/", "#", "clips")), link


@pytest.mark.parametrize(
    "path",
    [
        "/media/clips/../../../run.json",
        "/media/clips/%2e%2e/run.json",
        "/media/sources/00/" + "0" * 64,
        "/media/clips/00/..%2f..%2f..%2frun.json",
        "/media/clips/ff/" + "0" * 64 + ".mp4",
        "/media/clips/00/" + "0" * 64 + ".mp4",
        "/assets/..%2fserver.py",
        "/assets/review_base.html",
        "/clips/..%2f..%2frun.json",
        "/clips/nothing",
    ],
)
def test_no_path_leads_out(server: Served, path: str) -> None:
    assert server.ask(path).status == 404


@pytest.mark.parametrize("query", ["sort=quality.sharpness;drop", "show=%27", "low=nan%27", "x=1", "order=sideways"])
def test_what_a_page_is_asked_is_checked(server: Served, query: str) -> None:
    answer = server.ask(f"/clips?{query}")
    assert answer.status in (200, 400)
    assert "Traceback" not in answer.text


def test_hostile_text_is_text(server: Served, run: Path) -> None:
    files = Files(str(run))
    assert (
        say(server, "fix_caption", note=HOSTILE_NOTE, caption=HOSTILE_CAPTION, **on(files, HOSTILE_KEY)).status == 200
    )
    gallery = Elements(server.ask(f"/clips?source={HOSTILE_KEY[:16]}").text)
    assert HOSTILE_NAME in gallery.text
    page = Elements(server.ask(f"/clips/{HOSTILE_KEY}").text)
    for text in (HOSTILE_NAME, HOSTILE_CAPTION, HOSTILE_NOTE, HOSTILE_ERROR):
        assert text in page.text, text
    scripts = [found.get("src") for tag, found in page.found if tag == "script"]
    assert scripts == ["/assets/review.js", "/assets/player.js", "/assets/clip.js"]
    # What would turn the direction of the rest of a line is kept apart from it.
    assert [tag for tag, _ in page.found].count("bdi") > 3
    rows = list(csv.DictReader(io.StringIO(server.ask("/verdicts.csv").text)))
    assert [row["note"] for row in rows if row["clip_id"] == HOSTILE_KEY] == [f"'{HOSTILE_NOTE}"]
    assert "Traceback" not in server.ask(f"/clips?person={'%27%20OR%201'}").text


def what_if(server: Served, values: dict[str, float], **more: Any) -> Answer:
    state = server.ask("/what-if").text.split('data-state="')[1].split('"')[0]
    return server.ask("/what-if", {"values": values, "state": state, **more})


def test_what_if_gives_the_numbers_of_a_dry_run_and_a_configuration(server: Served, run: Path) -> None:
    files = Files(str(run))
    answer = what_if(server, {"subject.0.0": 0.55, "references.lower": 0.8})
    assert answer.status == 200
    found = json.loads(answer.body)
    config = CurateConfig(
        decide=RULES.model_copy(
            update={
                "subject": ("quality.sharpness >= 0.55", *RULES.subject[1:]),
                "references": RULES.references.model_copy(update={"lower": 0.8}),
            }
        )
    )
    expected = decide_again(Relations(files, latest(files)), config, dry_run=True).to_dict()
    assert {"funnel": found["funnel"], "changes": found["changes"]} == json.loads(json.dumps(expected))
    assert expected["changes"]
    state = server.ask("/what-if").text.split('data-state="')[1].split('"')[0]
    moved = urllib.parse.quote(json.dumps({"values": {"subject.0.0": 0.55}, "state": state}))
    assert "quality.sharpness >= 0.55" in server.ask(f"/what-if/decide.yaml?moved={moved}").text
    assert what_if(server, {"subject.9.0": 1}).status == 400
    assert what_if(server, {"references.lower": 7}).status == 400
    for number in (math.nan, math.inf):
        assert what_if(server, {"subject.0.0": number}).status == 400
        assert server.ask(f"/clips?measure=quality.luma&low={number}").status == 400


def test_an_audit_draws_and_estimates(server: Served, run: Path) -> None:
    files = Files(str(run))
    wanted = {"id": "a" * 32, "run": server.run, "reviewer": "Ann", "population": "kept", "half_width": 0.02}
    assert json.loads(server.ask("/audits", {**wanted, "expected": 0.95}).body)["clips"] == 3
    # Sent again, there is one all the same.
    server.ask("/audits", {**wanted, "expected": 0.95})
    assert "nothing judged yet" in server.ask("/audits").text
    page = server.ask(f"/clips?audit={'a' * 32}").text
    keys = re.findall(r'data-clip="([^"]+)"', page)
    assert len(keys) == 3
    say(server, "accept", audit="a" * 32, **on(files, keys[0]))
    say(server, "bad_sync", audit="a" * 32, **on(files, keys[1]))
    text = server.ask("/audits").text
    assert text.count('<section class="audit"') == 1
    # Two of three: as sure as four of very many.
    assert "50.0% (15.0% to 85.0%)" in text
    assert len(re.findall("data-clip=", server.ask(f"/clips?audit={'a' * 32}&said=none").text)) == 1
    # Whoever judged nothing yet goes on with all of them.
    assert len(re.findall("data-clip=", server.ask(f"/clips?audit={'a' * 32}&unseen_by=Ann").text)) == 1
    assert len(re.findall("data-clip=", server.ask(f"/clips?audit={'a' * 32}&unseen_by=Bob").text)) == 3


def test_a_verdict_is_seen_at_once_and_taken_back_only_by_who_gave_it(server: Served, run: Path) -> None:
    said = {"id": "b" * 32, "reviewer": "Bob", "note": "too dark", **on(Files(str(run)), BLURRED.key)}
    assert say(server, "reject", **said).status == 200
    assert say(server, "reject", **said).status == 200
    assert server.ask("/verdicts.csv").text.count("too dark") == 1
    # Notes of several reviewers are apart, so that one cannot turn the other's round.
    assert "reject by <bdi>Bob</bdi> (<bdi>too dark</bdi>)" in server.ask("/clips?said=reject").text
    assert say(server, "reject", **{**said, "id": "c" * 32}, undoes="b" * 32).status == 400
    assert say(server, "undo", id="d" * 32, undoes="b" * 32).status == 400
    assert say(server, "undo", id="e" * 32, reviewer="Bob", undoes="b" * 32).status == 200
    assert "too dark" not in server.ask("/clips?said=reject").text


def test_what_the_run_does_not_hold_is_not_written_down(server: Served, run: Path) -> None:
    kept = on(Files(str(run)), KEPT.key)
    other = f"media/references/00/{'0' * 64}.png"
    track = f"{KEPT.key}_t0"
    for kind, fields, status in (
        ("reject", {**kept, "clip_id": f"{'9' * 16}_0_1"}, 400),
        ("reject", {**kept, "media_sha256": "0" * 64}, 400),
        ("reject", {**kept, "clip_id": f"{'9' * 16}_0_{'1' * 5000}"}, 400),
        ("reject", {**kept, "note": "\ud800"}, 400),
        ("bad_reference", {**kept, "reference": other}, 400),
        ("merge", {"tracks": ["x", "y"], "seen": ["", ""]}, 400),
        ("merge", {"tracks": [track, track]}, 400),
        ("split", {"tracks": [track], "seen": ["another face"]}, 400),
        ("audit", {"details": '"x"'}, 400),
        ("audit", {"details": json.dumps(AUDIT)}, 400),
        ("reject", {**kept, "run": "0" * 32}, 409),
    ):
        assert say(server, kind, id="9" * 32, **fields).status == status, (kind, fields)
    assert server.ask("/audits", {**AUDIT_WANTED, "run": "0" * 32}).status == 409
    names = {path.name for path in (run / "journal").iterdir()}
    assert f"{'9' * 32}.json" not in names


AUDIT_WANTED = {"id": "8" * 32, "reviewer": "Ann", "population": "kept", "half_width": 0.02, "expected": 0.95}
AUDIT = {"population": "kept", "half_width": 0.02, "expected": 0.95, "of": 1, "snapshot": 1, "clips": []}


def test_only_two_people_disagree_and_only_while_both_stand_by_it(server: Served, run: Path) -> None:
    unlit = on(Files(str(run)), UNLIT.key)

    def disputed() -> bool:
        return UNLIT.key in server.ask("/clips?said=disputed").text

    for number, (kind, reviewer, expected) in enumerate(
        [("accept", "Ann", False), ("reject", "Ann", False), ("accept", "Bob", True), ("reject", "Bob", False)]
    ):
        say(server, kind, id=f"{number:032x}", reviewer=reviewer, **unlit)
        assert disputed() is expected, (kind, reviewer)
    say(server, "undo", id="6" * 32, reviewer="Bob", undoes=f"{3:032x}")
    say(server, "undo", id="7" * 32, reviewer="Bob", undoes=f"{2:032x}")
    assert not disputed()


def test_the_neighbours_of_a_clip_are_those_of_the_list_it_was_opened_from(server: Served) -> None:
    for query in ("sort=quality.sharpness&order=down", "show=reject", "", "sort=quality.luma"):
        keys = re.findall(r'data-clip="([^"]+)"', server.ask(f"/clips?{query}").text)
        assert len(keys) > 1
        for before, key, after in zip([None, *keys], keys, [*keys[1:], None], strict=False):
            page = server.ask(f"/clips/{key}?{query}").text
            beside = {found[0]: found[1] for found in re.findall(r'id="(before|after)" href="/clips/([^"?]+)', page)}
            assert (beside.get("before"), beside.get("after")) == (before, after), (query, key)
            assert f'id="list" href="/clips{"?" if query else ""}{html.escape(query)}"' in page


def test_pages_follow_each_other_without_gaps_in_any_order(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.review import gallery
    from pipeline.review.gallery import Wanted
    from pipeline.review.session import Session

    monkeypatch.setattr(gallery, "PAGE", 2)
    run = Path(server.process.args[4])  # type: ignore[index]
    session = Session(Files(str(run)))
    try:
        for sort in ("", "quality.luma", "quality.sharpness"):
            for order in ("up", "down"):
                keys: list[str] = []
                while True:
                    wanted = Wanted(sort=sort, order=order, after=keys[-1] if keys else "")  # type: ignore[arg-type]
                    rows = session.query(*gallery.page_query(wanted))
                    keys += [row["id"] for row in rows[:2]]
                    if len(rows) <= 2:
                        break
                assert len(keys) == len(set(keys)) == 7, (sort, order)
    finally:
        session.close()


def test_the_sound_and_the_offset_are_drawn(server: Served, run: Path) -> None:
    files = Files(str(run))
    text = server.ask(f"/clips/{LATE.key}").text
    assert "the sound is 320 ms (8 frames) late" in text
    part = server.ask("/" + media_path("audio", _sound(files)), headers={"Range": "bytes=0-3"})
    assert (part.status, part.body) == (206, b"fLaC")
    # A browser that keeps it would keep what is taken down tomorrow.
    assert part.headers["Cache-Control"] == "no-store"


def _sound(files: Files) -> str:
    sink = io.BytesIO()
    soundfile.write(sink, [0.0] * 640, 16_000, format="FLAC", subtype="PCM_16")
    return put_media(files, "audio", sink.getvalue())
