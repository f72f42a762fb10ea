"""People merged and split by hand: the next identities, references and decisions follow, and go back when undone."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import CurateConfig
from pipeline.decide.config import DecideConfig, ReferenceBounds
from pipeline.engine.curate import run_sets
from pipeline.engine.decide_again import decide_again
from pipeline.stages.duplicates import DuplicatesConfig
from pipeline.store.files import Files
from pipeline.store.relations import Relations
from pipeline.store.snapshots import latest
from pipeline.verdicts.people import Edit, edited
from tests.pipeline.synthetic_run import FakeClip, write_synthetic_run
from tests.pipeline.verdicts.verdict_run import say

# Each in a source, and so in a shot, of its own; the first two look alike.
CLIPS = [
    FakeClip(source=1, start_s=1, embedding=[1.0, 0.0]),
    FakeClip(source=2, start_s=2, embedding=[0.999, 0.04]),
    FakeClip(source=3, start_s=3, embedding=[0.0, 1.0]),
]
CONFIG = CurateConfig(
    decide=DecideConfig(
        subject=("references.count >= 1",),
        sync=("speech.ratio >= 0.5",),
        references=ReferenceBounds(lower=-1, upper=1),
        val_fraction=0.0,
    ),
    duplicates=DuplicatesConfig(),
)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    files = write_synthetic_run(tmp_path, CLIPS, CONFIG)
    made_up = latest(files)
    for path in made_up.sets.values():
        # The stages are to compute them.
        files.remove(path)
    run_sets(files, replace(made_up, sets={}), CONFIG)
    return files


def people(files: Files) -> list[set[int]]:
    """Numbers of the clips of each person."""
    rows = Relations(files, latest(files)).connection.execute("SELECT identity, clip_id FROM identities").fetchall()
    found: dict[str, set[int]] = {}
    for identity, clip in rows:
        found.setdefault(identity, set()).add(int(clip.split("_")[0], 16))
    return sorted(found.values(), key=min)


def seen_of(files: Files, tracks: list[str]) -> list[str]:
    seen = dict(Relations(files, latest(files)).connection.execute("SELECT id, seen FROM identities").fetchall())
    return [seen[track] for track in tracks]


def outcomes(files: Files) -> list[str]:
    rows = Relations(files, latest(files)).connection.execute("SELECT outcome FROM decisions ORDER BY id").fetchall()
    return [outcome for (outcome,) in rows]


def test_merged_people_are_references_of_each_other_until_that_is_undone(files: Files) -> None:
    before = latest(files).sets
    assert people(files) == [{1, 2}, {3}]
    assert outcomes(files) == ["keep", "keep", "reject"]
    tracks = [f"{CLIPS[0].key}_t0", f"{CLIPS[2].key}_t0"]
    merged = say(files, "merge", tracks=tracks, seen=seen_of(files, tracks))
    told = decide_again(Relations(files, latest(files)), CONFIG, dry_run=True)
    assert latest(files).sets == before
    assert told == decide_again(Relations(files, latest(files)), CONFIG, dry_run=False)
    assert people(files) == [{1, 2, 3}]
    assert outcomes(files) == ["keep", "keep", "keep"]
    # A later run of the set stages, from all that is committed, changes nothing of that.
    now = latest(files).sets
    run_sets(files, latest(files), CONFIG)
    assert {**latest(files).sets, "index": ""} == {**now, "index": ""}
    say(files, "undo", undoes=merged)
    decide_again(Relations(files, latest(files)), CONFIG, dry_run=False)
    assert people(files) == [{1, 2}, {3}]
    assert {table: part for table, part in latest(files).sets.items() if table in ("identities", "candidates")} == {
        table: before[table] for table in ("identities", "candidates")
    }


def test_a_split_person_leaves_the_others_without_that_reference(files: Files) -> None:
    tracks = [f"{CLIPS[0].key}_t0"]
    say(files, "split", tracks=tracks, seen=seen_of(files, tracks))
    decide_again(Relations(files, latest(files)), CONFIG, dry_run=False)
    assert people(files) == [{1}, {2}, {3}]
    assert outcomes(files) == ["reject", "reject", "reject"]


def test_an_edit_of_tracks_that_look_otherwise_now_does_nothing(files: Files) -> None:
    say(files, "split", tracks=[f"{CLIPS[0].key}_t0"], seen=["another face"])
    decide_again(Relations(files, latest(files)), CONFIG, dry_run=False)
    assert people(files) == [{1, 2}, {3}]


TRACKS = [f"{number:016x}_0_1_t0" for number in range(6)]
EDITS = st.lists(
    st.builds(
        lambda kind, tracks: Edit(kind=kind, tracks=tracks, seen=["s"] * len(tracks)),
        st.sampled_from(["merge", "split"]),
        st.lists(st.sampled_from(TRACKS), min_size=1, max_size=4, unique=True),
    ),
    max_size=6,
)


@given(groups=st.lists(st.integers(0, 2), min_size=6, max_size=6), edits=EDITS)
def test_edits_part_the_tracks_as_a_plain_model_does(groups: list[int], edits: list[Edit]) -> None:
    rows = [
        {"id": track, "identity": f"p_{group}", "seen": "s", "clustered": None}
        for track, group in zip(TRACKS, groups, strict=True)
    ]
    model = [{track for track, of in zip(TRACKS, groups, strict=True) if of == group} for group in set(groups)]
    for edit in edits:
        meant = set(edit.tracks)
        if edit.kind == "merge":
            joined = set().union(*(group for group in model if group & meant))
            model = [group for group in model if not group & meant] + [joined]
        else:
            model = [group - meant for group in model if group - meant] + [meant]
    found = edited(rows, edits)
    parted: dict[str, set[str]] = {}
    for row in found:
        parted.setdefault(row["identity"], set()).add(row["id"])
    assert sorted(map(sorted, parted.values())) == sorted(map(sorted, model))
    computed = [{**row, "identity": row["clustered"] or row["identity"], "clustered": None} for row in found]
    assert computed == rows, "what was computed can be told from the edited rows"
