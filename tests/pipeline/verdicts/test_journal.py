"""The journal: nothing lost, nothing twice, nothing taken in that is no verdict; gone with what is taken down."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from pipeline.engine.clean import leftovers
from pipeline.engine.takedown import take_down
from pipeline.store.files import Files
from pipeline.store.media import media_path
from pipeline.store.relations import Relations
from pipeline.store.snapshots import latest
from pipeline.trace import trace
from pipeline.verdicts.fold import all_verdicts
from pipeline.verdicts.journal import journal, record
from pipeline.verdicts.verdict import Verdict
from schemas.errors import UserError
from tests.pipeline.verdicts.verdict_run import (
    BLURRED,
    CONFIG,
    GOOD,
    LONELY,
    OTHER,
    decide_now,
    follow_and_pack,
    say,
    write_run,
)

ID = "0" * 31 + "a"
GIVEN: dict[str, Any] = {
    "id": ID,
    "at_us": 1,
    "kind": "reject",
    "reviewer": "Ann",
    "clip_id": f"{1:016x}_0_1",
    "media_sha256": "f" * 64,
}


NO_CLIP: dict[str, Any] = {"clip_id": None, "media_sha256": None}
TRACK = f"{1:016x}_0_1_t0"
SAMPLE = {
    "population": "kept", "half_width": 0.02, "expected": 0.95, "of": 1, "snapshot": 1, "clips": [GIVEN["clip_id"]],
}  # fmt: skip


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
        {"clip_id": f"{1:016x}_0_{'1' * 5000}"},
        {"media_sha256": "f" * 63 + "g"},
        {**NO_CLIP, "kind": "merge", "tracks": ["x"], "seen": [""]},
        {**NO_CLIP, "kind": "merge", "tracks": [TRACK, TRACK]},
        {**NO_CLIP, "kind": "split", "tracks": [TRACK], "seen": ["a", "b"]},
        {**NO_CLIP, "kind": "split", "tracks": [f"{1:016x}_0_1_t{'1' * 5000}"], "seen": ["a"]},
        {**NO_CLIP, "kind": "audit", "details": "x"},
        {**NO_CLIP, "kind": "audit", "details": '{"clips": []}'},
        {**NO_CLIP, "kind": "audit", "details": json.dumps({**SAMPLE, "clips": ["x"]})},
        {**NO_CLIP, "kind": "audit", "details": json.dumps({**SAMPLE, "of": 0})},
    ],
)
def test_what_is_no_verdict_is_refused(change: dict[str, Any]) -> None:
    assert Verdict.model_validate(GIVEN)
    assert Verdict.model_validate({**GIVEN, **NO_CLIP, "kind": "merge", "tracks": [TRACK], "seen": ["a"]})
    assert Verdict.model_validate({**GIVEN, **NO_CLIP, "kind": "audit", "details": json.dumps(SAMPLE)})
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
    say(files, "bad_sync", GOOD, reviewer="Bob")
    say(files, "reject", GOOD, reviewer="Bob")
    story = trace(Relations(files, latest(files)), GOOD.key)["verdicts"]
    assert [(row["kind"], row["stands"], row["in_decisions"]) for row in story] == [
        ("reject", "no: taken back", True),
        ("accept", "no: a later word of theirs counts", False),
        ("accept", "no: it was given on other pixels", False),
        ("bad_sync", "yes", False),
        ("reject", "yes", False),
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
    connection = Relations(files, latest(files)).connection
    pictures = dict(connection.execute("SELECT clip_id, reference_sha256 FROM tracks").fetchall())
    shown = media_path("references", pictures[GOOD.key])
    tracks = {clip.key: f"{clip.key}_t0" for clip in (GOOD, OTHER, BLURRED)}
    say(files, "reject", GOOD, note="a secret of this person")
    kept = [say(files, "reject", OTHER)]
    follow_and_pack(files)
    said = say(files, "fix_caption", GOOD, caption="another secret")
    # What speaks of the clip without being about it.
    say(files, "bad_reference", OTHER, reference=shown, note="a secret in a picture")
    kept.append(say(files, "bad_reference", OTHER, reference=media_path("references", pictures[BLURRED.key])))
    say(files, "merge", tracks=[tracks[GOOD.key], tracks[OTHER.key]], seen=["a", "b"], note="a secret of two")
    cut = say(files, "split", tracks=[tracks[GOOD.key], tracks[OTHER.key]], seen=["a", "b"], note="a secret of one")
    kept.append(cut)
    say(files, "undo", undoes=said, note="a secret taken back")
    drawn = {"population": "kept", "half_width": 0.02, "expected": 0.95, "of": 9, "snapshot": 1}
    clips = {"clips": [GOOD.key, OTHER.key]}
    kept.append(say(files, "audit", details=json.dumps({**drawn, **clips}), note="a secret sample"))
    take_down(files, latest(files), CONFIG, sample=GOOD.key)
    left = {row["id"]: row for row in all_verdicts(files, latest(files))}
    assert sorted(left) == sorted(kept)
    assert (left[cut]["tracks"], left[cut]["seen"]) == ([tracks[OTHER.key]], ["b"])
    for path in Path(files.root).rglob("*"):
        if path.is_file():
            found = path.read_bytes()
            if path.suffix == ".parquet":
                found += str(pq.read_table(path).to_pylist()).encode()
            assert b"secret" not in found, path
    assert files.names("journal") == []
    # What comes after it, from a page that was open, is not taken in either.
    say(files, "reject", note="a late secret", clip_id=GOOD.key, media_sha256="0" * 64)
    assert sorted(row["id"] for row in all_verdicts(files, latest(files))) == sorted(kept)


def test_a_person_is_not_taken_down_by_a_name_that_is_about_to_change(tmp_path: Path) -> None:
    files = write_run(tmp_path)
    say(files, "reject", GOOD)
    merged = say(files, "merge", tracks=[f"{GOOD.key}_t0", f"{LONELY.key}_t0"], seen=["a", "b"])
    with pytest.raises(UserError, match="give 'humo decide"):
        take_down(files, latest(files), CONFIG, identity="p_one")
    decide_now(files)
    say(files, "undo", undoes=merged)
    with pytest.raises(UserError, match="give 'humo decide"):
        take_down(files, latest(files), CONFIG, identity="p_one")
    assert files.names("takedowns") == []
