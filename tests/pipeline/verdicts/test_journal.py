"""The journal: nothing lost, nothing twice, nothing taken in that is no verdict; gone with what is taken down."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.engine.clean import leftovers
from pipeline.engine.takedown import take_down
from pipeline.store.files import Files
from pipeline.store.relations import Relations
from pipeline.store.snapshots import latest
from pipeline.trace import trace
from pipeline.verdicts.fold import all_verdicts
from pipeline.verdicts.journal import journal, record
from pipeline.verdicts.verdict import Verdict
from schemas.errors import UserError
from tests.pipeline.verdicts.verdict_run import CONFIG, GOOD, OTHER, decide_now, follow_and_pack, say, write_run

ID = "0" * 31 + "a"
GIVEN: dict[str, Any] = {
    "id": ID,
    "at_us": 1,
    "kind": "reject",
    "reviewer": "Ann",
    "clip_id": f"{1:016x}_0_1",
    "media_sha256": "f" * 64,
}


@pytest.mark.parametrize(
    "change",
    [
        {"id": "../../etc/passwd"},
        {"id": ID + "0"},
        {"kind": "delete"},
        {"reviewer": "  "},
        {"reviewer": "Ann\x1b[2J"},
        {"note": "x" * 2001},
        {"clip_id": "../x"},
        {"clip_id": None},
        {"media_sha256": None},
        {"caption": "a reject has none"},
        {"kind": "bad_reference", "reference": "media/references/../../run.json"},
        {"kind": "bad_reference"},
        {"surprise": 1},
    ],
)
def test_what_is_no_verdict_is_refused(change: dict[str, Any]) -> None:
    assert Verdict.model_validate(GIVEN)
    with pytest.raises(ValidationError):
        Verdict.model_validate({**GIVEN, **change})


def test_a_verdict_sent_again_is_there_once_and_a_broken_file_is_named(tmp_path: Path) -> None:
    files = Files(str(tmp_path))
    verdict = Verdict.model_validate(GIVEN)
    assert record(files, verdict)
    assert not record(files, verdict.model_copy(update={"note": "later"}))
    assert list(journal(files)) == [verdict]
    files.create("journal/broken.json", b'{"id": "x"')
    with pytest.raises(UserError, match=r"journal/broken\.json is no verdict"):
        list(journal(files))


def test_trace_shows_what_was_said_and_whether_it_stands(tmp_path: Path) -> None:
    files = write_run(tmp_path)
    first = say(files, "reject", GOOD, note="dark")
    decide_now(files)
    say(files, "undo", undoes=first)
    say(files, "accept", GOOD, reviewer="Bob")
    say(files, "accept", GOOD, media_sha256="0" * 64)
    story = trace(Relations(files, latest(files)), GOOD.key)["verdicts"]
    assert [(row["kind"], row["stands"], row["in_decisions"]) for row in story] == [
        ("reject", "no: taken back", True),
        ("accept", "yes", False),
        ("accept", "no: it was given on other pixels", False),
    ]
    assert story[0]["note"] == "dark"


def test_clean_removes_only_what_the_table_has(tmp_path: Path) -> None:
    files = write_run(tmp_path)
    said = say(files, "reject", GOOD)
    decide_now(files)
    waiting = say(files, "reject", OTHER)
    gone = [path for path in leftovers(files, latest(files), keep_manifests=1) if path.startswith("journal/")]
    assert gone == [f"journal/{said}.json"]
    files.remove(gone[0])
    assert [row["id"] for row in all_verdicts(files, latest(files))] == [said, waiting]


def test_a_takedown_takes_what_was_said_of_it(tmp_path: Path) -> None:
    files = write_run(tmp_path)
    say(files, "reject", GOOD, note="a secret of this person")
    kept = say(files, "reject", OTHER)
    follow_and_pack(files)
    say(files, "fix_caption", GOOD, caption="another secret")
    take_down(files, latest(files), CONFIG, sample=GOOD.key)
    assert [row["id"] for row in all_verdicts(files, latest(files))] == [kept]
    for path in Path(files.root).rglob("*"):
        assert not path.is_file() or b"secret" not in path.read_bytes(), path
    assert files.names("journal") == []
