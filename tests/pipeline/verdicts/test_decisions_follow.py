"""What reviewers say is what the decisions and the shards do, for the pixels it was said of, until it is taken back."""

import json
import tarfile
from pathlib import Path

import pytest

from pipeline.engine.decide_again import decide_again
from pipeline.pack.manifest import newest_manifest
from pipeline.store.files import Files
from pipeline.store.relations import Relations
from pipeline.store.snapshots import latest
from tests.pipeline.verdicts.verdict_run import (
    BLURRED,
    CONFIG,
    GOOD,
    LONELY,
    OTHER,
    decide_now,
    follow_and_pack,
    say,
    verdict_of,
    write_run,
)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return write_run(tmp_path)


def members(files: Files) -> dict[str, bytes]:
    """Name -> bytes of everything that is packed now."""
    manifest = newest_manifest(files)
    assert manifest is not None
    found: dict[str, bytes] = {}
    for shard in manifest.shards:
        with tarfile.open(f"{files.root}/shards/{shard.url}") as tar:
            for member in tar.getmembers():
                file = tar.extractfile(member)
                assert file is not None
                found[member.name] = file.read()
    return found


def test_a_rejected_clip_leaves_the_shards_and_comes_back_when_that_is_taken_back(files: Files) -> None:
    before = members(files)
    assert f"{GOOD.key}.mp4" in before
    said = say(files, "reject", GOOD, note="the face is cut off")
    follow_and_pack(files)
    found = verdict_of(files, GOOD)
    assert (found["outcome"], found["tier"]) == ("reject", "none")
    assert found["failed_rules"][0]["values"] == "review.verdict = reject by Ann (the face is cut off)"
    after = members(files)
    assert not [name for name in after if name.startswith(GOOD.key)]
    assert f"{OTHER.key}.mp4" in after
    say(files, "undo", undoes=said)
    follow_and_pack(files)
    assert members(files) == before


def test_only_who_said_it_takes_it_back(files: Files) -> None:
    said = say(files, "reject", GOOD, reviewer="Ann")
    say(files, "undo", reviewer="Bob", undoes=said)
    decide_now(files)
    assert verdict_of(files, GOOD)["outcome"] == "reject"


def test_an_accepted_clip_is_kept_and_says_which_rule_was_set_aside(files: Files) -> None:
    assert verdict_of(files, BLURRED)["outcome"] == "reject"
    say(files, "accept", BLURRED)
    follow_and_pack(files)
    found = verdict_of(files, BLURRED)
    assert (found["outcome"], found["tier"], found["failed_rules"]) == ("keep", "sync", [])
    assert [rule["rule"] for rule in found["overruled"]] == ["quality.sharpness >= 0.2"]
    assert json.loads(members(files)[f"{BLURRED.key}.json"])["reviewed"]["accepted"] is True
    # Who rejects prevails over who accepts.
    say(files, "reject", BLURRED, reviewer="Bob")
    decide_now(files)
    assert verdict_of(files, BLURRED)["outcome"] == "reject"


def test_nobody_can_accept_a_clip_without_a_reference(files: Files) -> None:
    say(files, "accept", LONELY)
    decide_now(files)
    assert verdict_of(files, LONELY)["outcome"] == "reject"


def test_a_corrected_caption_is_judged_and_packed_and_one_to_be_corrected_is_not_kept(files: Files) -> None:
    say(files, "fix_caption", GOOD, caption="an old man reads a letter")
    say(files, "fix_caption", OTHER)
    follow_and_pack(files)
    packed = members(files)
    assert packed[f"{GOOD.key}.txt"].decode() == "an old man reads a letter"
    assert json.loads(packed[f"{GOOD.key}.json"])["measurements"]["captions"]["word_count"] == 6
    assert verdict_of(files, OTHER)["outcome"] == "unknown"
    say(files, "fix_caption", GOOD, caption="too short")
    decide_now(files)
    assert verdict_of(files, GOOD)["failed_rules"][0]["rule"] == "captions.word_count >= 3"


def test_bad_sync_leaves_the_sync_tier_and_a_bad_reference_is_chosen_no_more(files: Files) -> None:
    connection = Relations(files, latest(files)).connection
    picture = connection.execute("SELECT file FROM candidates WHERE clip_id = ?", [OTHER.key]).fetchall()[0][0]
    say(files, "bad_sync", GOOD)
    say(files, "bad_reference", OTHER, reference=picture)
    decide_now(files)
    found = verdict_of(files, GOOD)
    assert (found["outcome"], found["tier"]) == ("keep", "subject")
    assert found["failed_rules"][0]["rule"] == "review: nobody calls the sync bad"
    # It was the only picture of that person for this clip.
    assert verdict_of(files, OTHER)["failed_rules"][0]["rule"] == "references.count >= 1"


def test_a_verdict_on_other_pixels_counts_for_nothing(files: Files) -> None:
    say(files, "reject", GOOD, media_sha256="0" * 64)
    decide_now(files)
    assert verdict_of(files, GOOD)["outcome"] == "keep"


def test_a_dry_run_tells_what_deciding_does_and_writes_nothing(files: Files) -> None:
    say(files, "reject", GOOD)
    before = sorted(path for path in Path(files.root).rglob("*") if path.is_file() and path.name != "writer.lock")
    told = decide_again(Relations(files, latest(files)), CONFIG, dry_run=True)
    assert sorted(path for path in Path(files.root).rglob("*") if path.is_file()) == before
    done = decide_again(Relations(files, latest(files)), CONFIG, dry_run=False)
    assert told == done
    assert [(change.before, change.after, change.clips) for change in done.changes] == [("sync", "reject", 1)]
    step = next(step for step in done.funnel.steps if step.rule == "review: nobody rejects it")
    assert step.failed == 1


def test_the_order_in_which_verdicts_reach_the_table_changes_nothing(files: Files, tmp_path: Path) -> None:
    said = say(files, "reject", GOOD)
    decide_now(files)
    say(files, "bad_sync", OTHER)
    decide_now(files)
    in_two = latest(files).sets
    other = write_run(tmp_path / "other")
    for name in files.names("journal"):
        other.create(f"journal/{name}", files.read(f"journal/{name}"))
    assert f"{said}.json" in other.names("journal")
    decide_now(other)
    assert latest(other).sets["verdicts"] == in_two["verdicts"]
    assert latest(other).sets["decisions"] == in_two["decisions"]
