"""Set stages go on from what they found before, and end exactly as if they had begun anew; they do what is touched."""

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.backends import copy_search
from pipeline.backends.signature import LOOKS_SIDE, MOVES_SIDE
from pipeline.stage import Row, SetRows
from pipeline.stages.candidates import CandidatesConfig, retrieve
from pipeline.stages.duplicates import DuplicatesConfig, find_duplicates
from pipeline.stages.identities import IdentitiesConfig, cluster
from tests.pipeline.stages.test_candidates import PICTURES, _track, people_of
from tests.pipeline.stages.test_identities import table

OPTIONS = IdentitiesConfig(classical=0.9, neighbours=4)

# Clip, person, seed: the same triple is the same track, another seed another picture of the person.
places = st.integers(0, 7), st.integers(0, 3), st.integers(0, 2)
tracks = st.lists(st.tuples(*places), min_size=1, max_size=14, unique_by=lambda found: found[0])


def rows_of(found: Iterable[tuple[int, int, int]]) -> list[Row]:
    """Two clips a shot, two shots a source."""
    return [_track(f"s{clip // 4}_{clip // 2}_{clip}", 0, person, seed) for clip, person, seed in found]


def whole(found: Iterable[SetRows], earlier: list[Row] | None = None) -> SetRows:
    """All pieces as one, with the rows that are kept, in order."""
    pieces = list(found)
    kept = {one for piece in pieces for one in piece.kept}
    rows = [row for piece in pieces for row in piece.rows] + [row for row in earlier or [] if row["inputs"] in kept]
    return SetRows(rows=sorted(rows, key=lambda row: str(row["id"])), computed=sum(piece.computed for piece in pieces))


def joined(rows: list[Row], before: Iterable[Row] = ()) -> SetRows:
    earlier = pa.Table.from_pylist(list(before)) if before else None
    with TemporaryDirectory() as folder:
        return whole(
            cluster([table(rows)], descriptor="classical", folder=Path(folder), config=OPTIONS, before=earlier)
        )


def retrieved(rows: list[Row], before: Iterable[Row] = ()) -> SetRows:
    people = {row["id"]: row["identity"] for row in joined(rows).rows}
    earlier = list(before)
    inputs = {row["inputs"] for row in earlier}
    config = CandidatesConfig(limit=3)
    found = retrieve(people_of(rows, people), (), read=PICTURES.__getitem__, config=config, before=inputs)
    return whole(found, earlier)


@settings(max_examples=60, deadline=None)
@given(tracks, tracks)
def test_identities_go_on_as_if_they_had_begun_anew(earlier: Any, now: Any) -> None:
    before = joined(rows_of(earlier)).rows
    again = joined(rows_of(now), before)
    assert again.rows == joined(rows_of(now)).rows
    assert joined(rows_of(now), again.rows).computed == 0


@settings(max_examples=40, deadline=None)
@given(tracks, tracks)
def test_candidates_go_on_as_if_they_had_begun_anew(earlier: Any, now: Any) -> None:
    before = retrieved(rows_of(earlier)).rows
    again = retrieved(rows_of(now), before)
    assert again.rows == retrieved(rows_of(now)).rows


def test_a_new_track_redoes_the_person_that_it_shows_and_nobody_else() -> None:
    old = [(clip, clip % 2, clip) for clip in range(8)]
    before = joined(rows_of(old)).rows
    more = rows_of([*old, (8, 1, 99)])
    assert joined(more, before).computed == 5
    assert joined(rows_of([*old, (8, 3, 99)]), before).computed == 1
    candidates = retrieved(rows_of(old)).rows
    assert retrieved(rows_of(old), candidates).computed == 0
    assert retrieved(more, candidates).computed == 5


def quality(clip: int, picture: int, noise: int) -> Row:
    """A clip that looks and moves like every other of the same picture, but for noise."""
    rng = np.random.default_rng(picture)
    looks = rng.integers(0, 256, LOOKS_SIDE**2).astype(np.float32)
    cells = rng.integers(-127, 128, (40, MOVES_SIDE**2)).astype(np.float32)
    shake = np.random.default_rng([picture, noise])
    looks = np.clip(looks + shake.normal(0, 4, looks.shape), 0, 255).astype(np.uint8)
    cells = np.clip(cells + shake.normal(0, 4, cells.shape), -127, 127).astype(np.int8)
    signature = looks.tobytes() + np.float32(1).astype("<f4").tobytes() + cells.tobytes()
    return {
        "id": f"c{clip}",
        "status": "ok",
        "signature": signature,
        "sharpness": 0.5 + clip / 100,
        "width": 832,
        "height": 480,
    }


pictures = st.integers(0, 9), st.integers(0, 3), st.integers(0, 2)
clips = st.lists(st.tuples(*pictures), min_size=1, max_size=10, unique_by=lambda found: found[0])


def stored(rows: list[Row]) -> list[Row]:
    """As a table gives distances back."""
    return [{**row, "apart": [float(np.float32(one)) for one in row.get("apart") or []]} for row in rows]


def rounded(rows: list[Row]) -> list[Row]:
    distances = [row["distance"] for row in rows]
    single = [None if distance is None else float(np.float32(distance)) for distance in distances]
    return [{**row, "distance": distance} for row, distance in zip(stored(rows), single, strict=True)]


def compared(rows: list[Row], before: Iterable[Row] = (), elsewhere: Iterable[Row] = ()) -> SetRows:
    ordered = sorted(rows, key=lambda row: str(row["id"]))
    with TemporaryDirectory() as folder:
        return whole(
            find_duplicates(ordered, DuplicatesConfig(), folder=Path(folder), before=before, elsewhere=elsewhere)
        )


@pytest.mark.parametrize("most", [2, copy_search.MOST])
@settings(max_examples=40, deadline=None)
@given(clips, clips)
def test_duplicates_go_on_as_if_they_had_begun_anew(most: int, earlier: Any, now: Any) -> None:
    with patch.object(copy_search, "MOST", most):
        before = stored(compared([quality(*clip) for clip in earlier]).rows)
        rows = [quality(*clip) for clip in now]
        again = compared(rows, before)
        assert rounded(again.rows) == rounded(compared(rows).rows)
        assert again.computed == len([clip for clip in now if clip not in earlier])
        assert compared(rows, again.rows).computed == 0


def test_copies_are_found_at_all() -> None:
    rows = compared([quality(1, 0, 0), quality(2, 0, 1), quality(3, 1, 0)]).rows
    assert [row["group"] for row in rows] == ["c1", "c1", "c3"]


def test_the_larger_copy_is_kept_though_shrinking_sharpens() -> None:
    small = {**quality(1, 0, 0), "width": 416, "height": 240, "sharpness": 0.8}
    large = {**quality(2, 0, 1), "sharpness": 0.6}
    first, second = compared([small, large]).rows
    assert (first["is_duplicate"], first["duplicate_of"]) == (True, "c2")
    assert (second["is_duplicate"], second["duplicate_of"]) == (False, None)


def test_what_another_run_keeps_is_a_duplicate_however_good() -> None:
    there = {**quality(7, 0, 1), "sharpness": 0.1, "run": "runs/old"}
    first, second = compared([quality(1, 0, 0), quality(2, 1, 0)], elsewhere=[there]).rows
    assert (first["is_duplicate"], first["duplicate_of"], first["duplicate_run"]) == (True, "c7", "runs/old")
    assert (second["is_duplicate"], second["duplicate_run"]) == (False, None)


def test_rows_that_are_not_in_order_are_refused() -> None:
    with TemporaryDirectory() as folder, pytest.raises(ValueError, match="sorted by id"):
        list(find_duplicates([quality(2, 0, 0), quality(1, 0, 0)], DuplicatesConfig(), folder=Path(folder)))
