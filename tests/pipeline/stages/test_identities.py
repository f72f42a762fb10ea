"""Clustering of constructed embeddings."""

import hashlib
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.stage import Row
from pipeline.stages.identities import IdentitiesConfig, cluster
from schemas.tables import TABLES

DIMENSION = 16


def track_row(
    clip: str,
    number: int,
    embedding: NDArray[np.floating] | None,
    *,
    span: tuple[int, int] = (0, 96),
    **more: object,
) -> Row:
    """A row of `tracks` with what the set stages read."""
    source = clip.split("_")[0]
    return {
        "id": f"{clip}_t{number}",
        "status": "ok",
        "backend": "constructed",
        "fingerprint": "0",
        "clip_id": clip,
        "source_id": source,
        "shot_id": clip.rsplit("_", 1)[0],
        "track": number,
        "first_frame": span[0],
        "last_frame": span[1],
        "embedding": None if embedding is None else [float(value) for value in embedding],
        **more,
    }


def table(rows: list[Row]) -> pa.Table:
    """Rows as the table `tracks`."""
    return pa.Table.from_pylist(rows, schema=TABLES["tracks"].schema)


def near(person: int, seed: int, spread: float = 0.05) -> NDArray[np.float64]:
    """An embedding of a person: persons are orthogonal, pictures of one differ a little."""
    vector = np.zeros(DIMENSION)
    vector[person] = 1
    vector += np.random.default_rng([person, seed]).normal(0, spread, DIMENSION)
    return vector / np.linalg.norm(vector)


def clustered(rows: list[Row], pieces: int = 1, **options: float) -> dict[str, str]:
    """Track id -> identity."""
    parts = [table(rows[start::pieces]) for start in range(pieces)]
    with TemporaryDirectory() as folder:
        config = IdentitiesConfig(**options)
        pieces = cluster(iter(parts), descriptor="classical", folder=Path(folder), config=config)
        found = sorted((row for piece in pieces for row in piece.rows), key=lambda row: str(row["id"]))
    assert [row["id"] for row in found] == sorted(row["id"] for row in rows)
    return {row["id"]: row["identity"] for row in found}


def test_two_people_across_shots_and_sources() -> None:
    rows = [
        track_row(f"{source}_{shot}_0", p, near(p, 10 * shot + p))
        for source in "ab"
        for shot in (1, 2, 3)
        for p in (0, 1)
    ]
    found = clustered(rows)
    assert len(set(found.values())) == 2
    assert all((found[row["id"]] == found["a_1_0_t0"]) == (row["track"] == 0) for row in rows)


def test_an_identity_is_named_by_its_smallest_track() -> None:
    found = clustered(
        [track_row("b_1_0", 0, near(0, 1)), track_row("a_1_0", 0, near(0, 2)), track_row("c_1_0", 0, near(3, 1))]
    )
    assert found["b_1_0_t0"] == found["a_1_0_t0"] == "p_" + hashlib.sha256(b"a_1_0_t0").hexdigest()[:12]
    assert found["c_1_0_t0"] == "p_" + hashlib.sha256(b"c_1_0_t0").hexdigest()[:12]


def test_people_seen_together_are_two_however_alike() -> None:
    same = near(0, 1)
    rows = [track_row("a_1_0", 0, same, span=(0, 50)), track_row("a_1_0", 1, same, span=(50, 96))]
    assert len(set(clustered(rows).values())) == 2
    apart = [track_row("a_1_0", 0, same, span=(0, 49)), track_row("a_1_0", 1, same, span=(50, 96))]
    assert len(set(clustered(apart).values())) == 1


def test_a_chain_of_likenesses_does_not_make_strangers_one() -> None:
    # Each is close to the next (15 degrees: 0.966), the ends are at right angles.
    angles = np.radians(np.arange(0, 91, 15))
    rows = [
        track_row(f"{chr(97 + k)}_1_0", 0, np.array([np.cos(a), np.sin(a), *[0.0] * (DIMENSION - 2)]))
        for k, a in enumerate(angles)
    ]
    found = clustered(rows, classical=0.9)
    assert found["a_1_0_t0"] != found["g_1_0_t0"]


def test_a_track_without_a_description_is_a_person_of_its_own() -> None:
    found = clustered([track_row("a_1_0", 0, None), track_row("b_1_0", 0, None), track_row("c_1_0", 0, near(0, 0))])
    assert len(set(found.values())) == 3
    assert len(set(clustered([track_row("a_1_0", 0, None)]).values())) == 1
    assert clustered([]) == {}


def test_more_of_one_person_than_neighbours_are_looked_at() -> None:
    rows = [track_row(f"{source:03d}_1_0", 0, near(source % 2, source)) for source in range(60)]
    assert len(set(clustered(rows, neighbours=8).values())) == 2


@pytest.mark.parametrize("name", ["classical", "sface"])
def test_every_descriptor_has_a_threshold(name: str) -> None:
    assert 0 < IdentitiesConfig().threshold(name) < 1


tracks = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 2), st.integers(0, 3), st.integers(0, 90), st.integers(0, 30)),
    max_size=12,
)


@settings(max_examples=20)
@given(tracks, st.randoms())
def test_order_and_pieces_change_nothing_and_people_seen_together_never_meet(
    drawn: list[tuple[str, int, int, int, int]],
    random: Random,
) -> None:
    rows = [
        track_row(f"{source}_{shot}_0", number, near(person, number, 0.12), span=(first, first + length))
        for number, (source, shot, person, first, length) in enumerate(drawn)
    ]
    found = clustered(rows, classical=0.8)
    shuffled = rows.copy()
    random.shuffle(shuffled)
    assert clustered(shuffled, pieces=3, classical=0.8) == found
    for one in rows:
        for other in rows:
            together = one["first_frame"] <= other["last_frame"] and other["first_frame"] <= one["last_frame"]
            if one is not other and one["clip_id"] == other["clip_id"] and together:
                assert found[one["id"]] != found[other["id"]]
