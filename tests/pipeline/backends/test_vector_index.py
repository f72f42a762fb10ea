"""Exact search against the whole matrix of similarities."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from pipeline.backends import vector_index
from pipeline.backends.vector_index import VectorIndex, quoted

DIMENSION = 24


def _vectors(count: int) -> NDArray[np.float32]:
    vectors = np.random.default_rng(count).normal(size=(count, DIMENSION)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _index(folder: Path, vectors: NDArray[np.float32], names: list[str | None], piece: int) -> VectorIndex:
    index = VectorIndex(folder, dimension=DIMENSION, columns=pa.schema([("name", pa.string())]))
    for start in range(0, len(vectors), piece):
        index.add(vectors[start : start + piece], {"name": names[start : start + piece]})
    return index


def test_neighbours_are_the_most_similar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Small batches, so that both boundaries are crossed.
    monkeypatch.setattr(vector_index, "QUERY_BATCH", 16)
    monkeypatch.setattr(vector_index, "WRITE_BATCH", 20)
    vectors = _vectors(50)
    index = _index(tmp_path, vectors, ["x"] * 50, piece=7)
    assert len(index) == 50
    np.testing.assert_array_equal(index.vectors(), vectors)
    similarity = vectors @ vectors.T
    found = list(index.neighbours(range(50), limit=5))
    assert list(index.neighbours([40, 3], limit=5)) == [found[40], found[3]]
    assert len(found) == 50
    for place, near in enumerate(found):
        assert [position for position, _ in near] == np.argsort(-similarity[place])[:5].tolist()
        assert near[0][0] == place
        assert [value for _, value in near] == pytest.approx(np.sort(similarity[place])[::-1][:5], abs=1e-5)


def test_a_filter_is_applied_before_the_limit(tmp_path: Path) -> None:
    vectors = _vectors(40)
    names: list[str | None] = ["it's" if place % 8 == 3 else None if place % 2 else "other" for place in range(40)]
    index = _index(tmp_path, vectors, names, piece=40)
    index.speed_up("name")
    similarity = vectors @ vectors[0]
    wanted = [place for place in np.argsort(-similarity).tolist() if place % 8 == 3]
    found = index.nearest(vectors[0], limit=10, where=f"name = {quoted(names[3] or '')}")
    assert [position for position, _ in found] == wanted
    unnamed = index.nearest(vectors[0], limit=40, where="name IS NULL")
    assert len(unnamed) == 15


def test_an_empty_index(tmp_path: Path) -> None:
    index = VectorIndex(tmp_path, dimension=DIMENSION, columns=pa.schema([]))
    assert list(index.neighbours([], limit=3)) == []
    assert index.vectors().shape == (0, DIMENSION)
