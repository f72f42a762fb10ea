"""Search against the whole matrix of similarities."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.backends import vector_index
from pipeline.backends.vector_index import VectorIndex

DIMENSION = 24


def _vectors(count: int) -> NDArray[np.float32]:
    vectors = np.random.default_rng(count).normal(size=(count, DIMENSION)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _index(folder: Path, vectors: NDArray[np.float32]) -> VectorIndex:
    index = VectorIndex(folder, dimension=DIMENSION)
    for start in range(0, len(vectors), 7):
        index.add(vectors[start : start + 7])
    return index


def _found(index: VectorIndex, places: list[int], limit: int, least: float = -1.0) -> list[list[tuple[int, float]]]:
    """Of each place in order, who is near."""
    found: list[list[tuple[int, float]]] = []
    asked: list[int] = []
    for near in index.neighbours(np.array(places, np.int64), limit=limit, least=least):
        asked += near.places.tolist()
        for positions, similar in zip(near.positions.tolist(), near.similar.tolist(), strict=True):
            found.append([pair for pair in zip(positions, similar, strict=True) if pair[0] >= 0])
    assert asked == places
    return found


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks and partitions so small that every boundary is crossed."""
    for name, size in {"QUERIES": 16, "PROBING": 20, "ROWS": 12, "PARTITION_ROWS": 5}.items():
        monkeypatch.setattr(vector_index, name, size)


def test_neighbours_are_the_most_similar(tmp_path: Path) -> None:
    vectors = _vectors(50)
    index = _index(tmp_path, vectors)
    assert len(index) == 50
    np.testing.assert_array_equal(index.vectors(), vectors)
    similarity = vectors @ vectors.T
    found = _found(index, list(range(50)), 5)
    assert _found(index, [40, 3], 5) == [found[40], found[3]]
    assert len(found) == 50
    for place, near in enumerate(found):
        assert [position for position, _ in near] == np.argsort(-similarity[place])[:5].tolist()
        assert near[0][0] == place
        assert [value for _, value in near] == pytest.approx(np.sort(similarity[place])[::-1][:5], abs=1e-5)


def test_nobody_less_similar_than_the_least_is_near(tmp_path: Path) -> None:
    vectors = _vectors(50)
    similarity = vectors @ vectors.T
    for place, near in enumerate(_found(_index(tmp_path, vectors), list(range(50)), 50, 0.25)):
        assert {position for position, _ in near} == set(np.flatnonzero(similarity[place] >= 0.25).tolist())


def test_of_equals_the_first_are_near(tmp_path: Path) -> None:
    vectors = np.tile(_vectors(2), (20, 1))
    assert [position for position, _ in _found(_index(tmp_path, vectors), [5], 4)[0]] == [1, 3, 5, 7]


def test_with_all_partitions_an_index_finds_what_comparing_all_does(tmp_path: Path) -> None:
    vectors = _vectors(200)
    index = _index(tmp_path, vectors)
    places = np.random.default_rng(0).permutation(200).tolist()
    exact = _found(index, places, 6, -0.2)
    index.partition(1000, np.arange(200))
    assert _found(index, places, 6, -0.2) == exact


def test_an_index_looks_at_the_nearest_partitions_whatever_the_order_of_adding(tmp_path: Path) -> None:
    vectors = _vectors(200)
    order = np.random.default_rng(1).permutation(200)
    found = []
    for name, added in (("as_they_are", np.arange(200)), ("shuffled", order)):
        (tmp_path / name).mkdir()
        index = _index(tmp_path / name, vectors[added])
        index.partition(4, np.argsort(added))
        places = np.argsort(added).tolist()
        near = _found(index, places, 5)
        found.append([[(int(added[position]), similar) for position, similar in row] for row in near])
    assert found[0] == found[1]
    top = np.argsort(-(vectors @ vectors.T), axis=1)[:, :5]
    recall = np.mean(
        [len({place for place, _ in row} & set(true)) / 5 for row, true in zip(found[0], top, strict=True)]
    )
    assert 0.3 < recall < 1
    assert all(row[0][0] == place for place, row in enumerate(found[0]))


def test_an_empty_index(tmp_path: Path) -> None:
    index = VectorIndex(tmp_path, dimension=DIMENSION)
    assert list(index.neighbours(np.zeros(0, np.int64), limit=3)) == []
    assert index.vectors().shape == (0, DIMENSION)
