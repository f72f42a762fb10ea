"""A run under review: what is shown follows what is said and decided, and nothing stays of what went."""

import html
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.config import CurateConfig
from pipeline.engine.decide_again import decide_again
from pipeline.engine.takedown import take_down
from pipeline.review.gallery import Wanted
from pipeline.review.pages import Pages
from pipeline.review.requests import Outdated
from pipeline.review.session import Session
from pipeline.review.what_if import Moved, moved
from pipeline.store.files import Files
from pipeline.store.relations import Relations
from pipeline.store.snapshots import latest
from pipeline.verdicts.standing import create_standing
from pipeline.verdicts.verdict import OF_CLIPS, Verdict
from tests.pipeline.report import report_run
from tests.pipeline.synthetic_run import FakeClip
from tests.pipeline.verdicts.verdict_run import BLURRED, CONFIG, GOOD, OTHER, decide_now, media_of, say, write_run

PICTURE = f"media/references/00/{'0' * 64}.png"


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    found = Session(write_run(tmp_path), look_every_s=0)
    yield found
    found.close()


def test_nothing_is_left_of_a_commit_that_was_followed_by_another(session: Session, tmp_path: Path) -> None:
    said = say(session.files, "reject", GOOD, note="a secret of this person")
    session.refresh()
    before = session.relations
    take_down(session.files, latest(session.files), CONFIG, sample=GOOD.key)
    # From a page that was open all the while, through another server.
    late = say(session.files, "reject", note="a late secret", clip_id=GOOD.key, media_sha256="0" * 64)
    session.follow()
    session.refresh()
    assert session.query("SELECT * FROM gallery WHERE id = ?", [GOOD.key]) == []
    assert (session.verdict(said), session.verdict(late), session.said_of(GOOD.key)) == (None, None, [])
    left = [path.name for path in Path(session._folder.name).iterdir()]
    assert left == [f"{latest(session.files).number}.duckdb"]
    # Whoever was in the middle of a query ends it.
    assert before.connection.execute("SELECT count(*) FROM gallery").fetchall() == [(4,)]


def test_a_clip_is_shown_from_memory_whatever_the_journal_holds(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in ("accept", "bad_sync"):
        say(session.files, kind, GOOD)
    session.refresh()
    read = Files.read
    asked: list[str] = []

    def noted(files: Files, path: str) -> bytes:
        asked.append(path)
        return read(files, path)

    monkeypatch.setattr(Files, "read", noted)
    page = Pages(session, "run").clip(GOOD.key, Wanted())
    assert page is not None
    assert page.count(" by <bdi>Ann</bdi>") == 2
    assert asked
    assert [path for path in asked if path.startswith(("journal/", "snapshots/"))] == []


SAID = st.tuples(
    st.sampled_from([*OF_CLIPS, "undo"]), st.sampled_from([GOOD, OTHER, BLURRED]), st.sampled_from(["Ann", "Bob"])
)


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(said=st.lists(SAID, max_size=6))
def test_what_stands_after_each_verdict_is_what_stands_of_all(
    session: Session, said: list[tuple[str, object, str]]
) -> None:
    numbers = itertools.count(len(session.verdicts()) + 1)
    media = {clip.key: media_of(session.files, clip) for clip in (GOOD, OTHER, BLURRED)}
    for kind, clip, reviewer in said:
        earlier = [row["id"] for row in session.verdicts() if row["reviewer"] == reviewer]
        about = {"clip_id": clip.key, "media_sha256": media[clip.key]}  # type: ignore[attr-defined]
        if kind == "undo":
            if not earlier:
                continue
            about = {"undoes": earlier[-1]}
        more = {"reference": PICTURE} if kind == "bad_reference" else {}
        id_ = f"{next(numbers):032x}"
        given_now = {"id": id_, "at_us": session.now_us(), "kind": kind, "reviewer": reviewer, **about, **more}
        session.say(Verdict.model_validate(given_now))
    found = [session.query(f"SELECT * FROM {table} ORDER BY ALL") for table in ("standing", "bad_references")]
    create_standing(session.relations)
    assert found == [session.query(f"SELECT * FROM {table} ORDER BY ALL") for table in ("standing", "bad_references")]


def test_a_decision_is_followed_with_its_thresholds(session: Session) -> None:
    before = Moved(values={"subject.0.0": 0.1}, state=session.opened.state)
    assert moved(session.opened, before)["subject"][0] == "quality.sharpness >= 0.1"
    said = say(session.files, "reject", GOOD)
    decide_now(session.files)
    session.refresh()
    assert session.opened.heard == {said}
    with pytest.raises(Outdated, match="load the page again"):
        moved(session.opened, before)
    # As a look between the commit and the thresholds of a decision sees it, and the one after that.
    between = session.opened
    run = session.files.read("run.json")
    session.files.replace("run.json", run.replace(b'"quality.sharpness >= 0.2"', b'"quality.sharpness >= 0.3"'))
    session.refresh()
    assert between.config.decide.subject[0] == "quality.sharpness >= 0.2"
    assert session.opened.config.decide.subject[0] == "quality.sharpness >= 0.3"
    assert any("0.3" in line.rule for one in session.opened.histograms for line in one.lines)
    with pytest.raises(Outdated):
        moved(session.opened, Moved(values={}, state=between.state))


def test_a_clip_shows_what_its_decision_says_of_every_rule(tmp_path: Path) -> None:
    report_run.write_run(tmp_path)
    copies, known = "duplicates: a better copy is kept", "quality.luma &lt;= 0.9"
    files = Files(str(tmp_path))
    session = Session(files, look_every_s=0)
    pages = Pages(session, "run")

    def page(clip: FakeClip) -> str:
        session.refresh()
        return str(pages.clip(clip.key, Wanted()))

    try:
        for clip, rule, expected in (
            (report_run.COPY, copies, "failed"),
            (report_run.KEPT, copies, "passed"),
            (report_run.BLURRED, copies, "not-judged"),
            (report_run.UNLIT, known, "unknown"),
            (report_run.KEPT, known, "passed"),
            (report_run.KEPT, "review: nobody rejects it", None),
        ):
            assert rule_of(page(clip), rule) == expected, (clip.key, rule)
        say(files, "fix_caption", report_run.KEPT, caption="a lamp in a room, and nobody speaks")
        say(files, "reject", report_run.KEPT, note="dull")
        found = page(report_run.KEPT)
        assert '"in_decisions": false' in html.unescape(found)
        assert re.search(r"<textarea[^>]*>a lamp in a room, and nobody speaks</textarea>", found)
        assert rule_of(found, "review: nobody rejects it") is None
        decide_again(Relations(files, latest(files)), CurateConfig(decide=report_run.RULES), dry_run=False)
        found = page(report_run.KEPT)
        assert '"in_decisions": true' in html.unescape(found)
        assert rule_of(found, "review: nobody rejects it") == "failed"
    finally:
        session.close()


def rule_of(page: str, rule: str) -> str | None:
    """The mark that stands beside a rule; None where the rule is not shown."""
    found = re.search(rf"<code>{re.escape(rule)}</code></th>.*?<span class=\"mark ([a-z-]+)", page)
    return found and found[1]
