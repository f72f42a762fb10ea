"""Retrieval of references on constructed embeddings."""

from collections.abc import Iterator
from functools import cache
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.backends.looks import colour_distance, looks_of
from pipeline.stage import Row
from pipeline.stages.candidates import CandidatesConfig, reference_path, retrieve
from schemas.tables import TABLES
from tests.pipeline.face_pictures import collins, hopper
from tests.pipeline.stages.test_identities import near, table, track_row


@cache
def _png(colour: tuple[int, int, int]) -> bytes:
    return bytes(cv2.imencode(".png", np.full((8, 8, 3), colour, np.uint8))[1])


def _encoded(picture: np.ndarray[Any, Any]) -> bytes:
    return bytes(cv2.imencode(".png", picture)[1])


PICTURES = {reference_path("a" * 64): _png((0, 0, 200)), reference_path("b" * 64): _png((200, 0, 0))}


def _track(clip: str, number: int, person: int, seed: int, **more: Any) -> Row:
    facts = {
        "size": 0.3 + number,
        "sharpness": 0.5,
        "luma": 0.4,
        "yaw_deg": None,
        "reference_frame": 8,
        "reference_box": [0.1, 0.2, 0.3, 0.4],
        "reference_face": [0.16, 0.25, 0.24, 0.32],
        "reference_sha256": "a" * 64,
    }
    return track_row(clip, number, near(person, seed), **{**facts, **more})


def people_of(rows: list[Row], people: dict[str, str]) -> Iterator[pa.Table]:
    """The tracks of each person."""
    ordered = sorted(rows, key=lambda row: (people[row["id"]], str(row["id"])))
    for person, tracks in groupby(ordered, key=lambda row: people[row["id"]]):
        found = table(list(tracks))
        yield found.append_column("identity", pa.array([person] * len(found)))


def copies_of(rows: list[Row], groups: dict[str, str | None]) -> list[tuple[str, str]]:
    """(shot, group) of every clip that is in one."""
    return [(row["shot_id"], group) for row in rows if (group := groups.get(row["clip_id"])) is not None]


def _retrieved(
    rows: list[Row], people: dict[str, str], groups: dict[str, str | None] | None = None, limit: int = 16
) -> list[Row]:
    pieces = retrieve(
        people_of(rows, people),
        copies_of(rows, groups or {}),
        read=PICTURES.__getitem__,
        config=CandidatesConfig(limit=limit),
    )
    found = [row for piece in pieces for row in piece.rows]
    columns = {field.name for field in [TABLES["candidates"].schema.field("id"), *TABLES["candidates"].columns]}
    assert all(set(row) == columns for row in found)
    return found


def test_the_same_source_comes_first_then_others_each_by_similarity() -> None:
    rows = [_track(clip, 0, 0, seed) for seed, clip in enumerate(["a_1_0", "a_2_0", "b_1_0", "a_3_0", "c_1_0"])]
    found = _retrieved(rows, {row["id"]: "p" for row in rows})
    of_first = [row for row in found if row["clip_id"] == "a_1_0"]
    assert [row["rank"] for row in of_first] == [0, 1, 2, 3]
    assert [row["id"] for row in of_first] == [f"a_1_0_t0_c{rank}" for rank in range(4)]
    assert {row["reference_clip_id"] for row in of_first[:2]} == {"a_2_0", "a_3_0"}
    for part in (of_first[:2], of_first[2:]):
        assert part[0]["similarity"] >= part[1]["similarity"]
    vectors = {row["clip_id"]: np.array(row["embedding"]) for row in rows}
    for row in found:
        assert row["similarity"] == pytest.approx(
            float(vectors[row["clip_id"]] @ vectors[row["reference_clip_id"]]), abs=1e-5
        )


def test_limit_and_unfiltered_by_similarity() -> None:
    rows = [_track(f"a_{shot}_0", 0, shot, 0) for shot in range(6)]  # strangers by their vectors
    people = {row["id"]: "p" for row in rows}
    assert len(_retrieved(rows, people)) == 6 * 5
    assert len(_retrieved(rows, people, limit=2)) == 6 * 2


def test_a_person_seen_in_one_shot_alone_has_no_candidates() -> None:
    rows = [_track("a_1_0", 0, 0, 0), _track("a_1_97", 0, 0, 1), _track("b_1_0", 0, 1, 0)]
    people = {"a_1_0_t0": "p", "a_1_97_t0": "p", "b_1_0_t0": "q"}
    assert _retrieved(rows, people) == []
    assert _retrieved([], {}) == []


def test_what_a_candidate_says() -> None:
    rows = [
        _track("a_1_0", 0, 0, 0, luma=0.5, yaw_deg=-20.0),
        _track("b_1_0", 1, 0, 1, luma=0.3, yaw_deg=15.0, reference_sha256="b" * 64),
        _track("c_1_0", 0, 0, 2, luma=None),
    ]
    people = {row["id"]: "p" for row in rows}
    found = {(row["clip_id"], row["reference_clip_id"]): row for row in _retrieved(rows, people)}
    row = found["a_1_0", "b_1_0"]
    assert row["differs"]["pose_deg"] == pytest.approx(35)
    assert row["differs"]["light"] == pytest.approx(0.2)
    assert row["differs"]["background"] == row["differs"]["clothing"] == pytest.approx(1)  # red and blue
    assert row["difference"] == pytest.approx((35 / 45 + 0.2 + 1 + 1) / 4, rel=1e-5)
    assert (row["file"], row["reference_track"]) == (f"media/references/bb/{'b' * 64}.png", 1)
    assert (row["frame"], row["size"]) == (8, pytest.approx(1.3))
    assert row["box"] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    other = found["a_1_0", "c_1_0"]["differs"]
    assert (other["pose_deg"], other["light"], other["clothing"]) == (None, None, pytest.approx(0, abs=1e-3))


places = st.tuples(
    st.sampled_from("ab"), st.integers(0, 3), st.integers(0, 1), st.integers(0, 1), st.sampled_from([None, "g", "h"])
)


def _same_shot(shot: str, rows: list[Row], groups: dict[str, str | None]) -> set[str]:
    """The shot and every other that is linked to it by copies, however many lie between."""
    same = {shot}
    while True:
        copied = {groups[row["clip_id"]] for row in rows if row["shot_id"] in same} - {None}
        more = same | {row["shot_id"] for row in rows if groups[row["clip_id"]] in copied}
        if more == same:
            return same
        same = more


def test_a_copy_of_the_source_lends_no_reference_of_the_same_shot() -> None:
    # One shot in two files, two clips each: the other half of the copy is the same shot too.
    rows = [_track(f"{source}_0_{part}", 0, 0, 0) for source in "ab" for part in (0, 1)]
    groups = {"a_0_0": "g", "b_0_0": "g", "a_0_1": "h", "b_0_1": "h"}
    assert _retrieved(rows, {row["id"]: "p" for row in rows}, groups) == []


@settings(max_examples=25)
@given(st.lists(places, max_size=10, unique_by=lambda place: place[:4]))
def test_no_reference_is_oneself_ones_shot_a_copy_or_somebody_else(
    drawn: list[tuple[str, int, int, int, str | None]],
) -> None:
    # Two people mixed in every source and shot; clips of one shot; groups of copies.
    groups = {f"{source}_{shot}_{part}": group for source, shot, part, _, group in drawn}
    rows = [_track(f"{source}_{shot}_{part}", person, person, shot) for source, shot, part, person, _ in drawn]
    people = {row["id"]: f"p{row['track']}" for row in rows}
    known = {row["id"]: row for row in rows}
    found = _retrieved(rows, people, groups)
    pairs = set()
    for row in found:
        track = known[f"{row['clip_id']}_t{row['track']}"]
        other = known[f"{row['reference_clip_id']}_t{row['reference_track']}"]
        pairs.add((track["id"], other["id"]))
        assert people[track["id"]] == people[other["id"]]
        assert other["shot_id"] not in _same_shot(track["shot_id"], rows, groups)
    assert len(pairs) == len(found)
    # And nothing that would do is left out.
    for track in rows:
        for other in rows:
            elsewhere = other["shot_id"] not in _same_shot(track["shot_id"], rows, groups)
            fits = people[track["id"]] == people[other["id"]] and elsewhere
            assert ((track["id"], other["id"]) in pairs) == fits


def test_two_people_mixed_in_one_source_from_vectors_to_references() -> None:
    from pipeline.stages.identities import IdentitiesConfig, cluster

    rows = [_track(f"a_{shot}_0", person, person, 10 * shot) for shot in range(5) for person in (0, 1)]
    with TemporaryDirectory() as folder:
        clustered = cluster([table(rows)], descriptor="classical", folder=Path(folder), config=IdentitiesConfig())
        people = {row["id"]: row["identity"] for piece in clustered for row in piece.rows}
    found = _retrieved(rows, people)
    assert len(found) == 2 * 5 * 4
    assert all(row["track"] == row["reference_track"] for row in found)


def test_background_and_clothes_are_told_apart() -> None:
    whole, face = (0.0, 0.0, 1.0, 1.0), (0.4, 0.3, 0.6, 0.55)
    picture = np.full((96, 96, 3), (40, 160, 40), np.uint8)
    plain = looks_of(_encoded(picture), whole, face)
    picture[55:] = (200, 60, 40)
    dressed = looks_of(_encoded(picture), whole, face)
    assert colour_distance(plain.background, dressed.background) == pytest.approx(0, abs=1e-3)
    assert colour_distance(plain.clothing, dressed.clothing) == pytest.approx(1, abs=1e-3)
    assert looks_of(_encoded(picture), whole, (0.4, 0.6, 0.6, 0.95)).clothing is None
    with pytest.raises(ValueError, match="cannot be read"):
        looks_of(b"not a picture", whole, face)


def test_real_pictures_differ_and_softness_does_not_matter() -> None:
    box, face = (0.0, 0.0, 1.0, 1.0), (0.35, 0.2, 0.65, 0.6)
    one, other = (looks_of(_encoded(picture[..., ::-1]), box, face) for picture in (collins(), hopper()))
    apart = colour_distance(one.background, other.background)
    soft = looks_of(_encoded(cv2.GaussianBlur(collins()[..., ::-1], (0, 0), 1.5)), box, face)
    near = colour_distance(one.background, soft.background)
    assert apart is not None
    assert near is not None
    assert near < 0.4 * apart
    assert 0.3 < apart < 1


def test_rows_fit_the_table() -> None:
    rows = [_track("a_1_0", 0, 0, 0), _track("b_1_0", 0, 0, 1)]
    found = _retrieved(rows, {row["id"]: "p" for row in rows})
    for name in found[0]:
        pa.array([row[name] for row in found], TABLES["candidates"].schema.field(name).type)
