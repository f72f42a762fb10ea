"""Exact search against the whole matrix of similarities."""

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


def test_neighbours_are_the_most_similar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Small batches, so that both boundaries are crossed.
    monkeypatch.setattr(vector_index, "QUERY_BATCH", 16)
    monkeypatch.setattr(vector_index, "WRITE_BATCH", 20)
    vectors = _vectors(50)
    index = VectorIndex(tmp_path, dimension=DIMENSION)
    for start in range(0, len(vectors), 7):
        index.add(vectors[start : start + 7])
    assert len(index) == 50
    np.testing.assert_array_equal(index.vectors(), vectors)
    similarity = vectors @ vectors.T
    found = list(index.neighbours(range(50), limit=5))
    assert list(index.neighbours([40, 3], limit=5)) == [found[40], found[3]]
    assert list(index.neighbours([3], limit=5)) == [found[3]]
    assert len(found) == 50
    for place, near in enumerate(found):
        assert [position for position, _ in near] == np.argsort(-similarity[place])[:5].tolist()
        assert near[0][0] == place
        assert [value for _, value in near] == pytest.approx(np.sort(similarity[place])[::-1][:5], abs=1e-5)


def test_an_empty_index(tmp_path: Path) -> None:
    index = VectorIndex(tmp_path, dimension=DIMENSION)
    assert list(index.neighbours([], limit=3)) == []
    assert index.vectors().shape == (0, DIMENSION)
