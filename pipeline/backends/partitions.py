"""Partitions of vectors by directions: k-means on the sphere, and which of its means are nearest."""

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Places = NDArray[np.int64]

ROUNDS = 8
"""Of k-means. More move few vectors."""
BLOCK = 4096
"""Vectors compared with the means at once."""


def mean_directions(sample_nd: Vectors, count: int) -> Vectors:
    """Means of length 1 of so many groups of a sample (at least as large), shape (count, d): the same each time."""
    means = sample_nd[np.linspace(0, len(sample_nd) - 1, count).astype(np.int64)].copy()
    for _ in range(ROUNDS):
        nearest = nearest_means(sample_nd, means, 1)[:, 0]
        order = np.argsort(nearest, kind="stable")
        held, first = np.unique(nearest[order], return_index=True)
        sums = np.add.reduceat(sample_nd[order], first, axis=0)
        # A group that has lost all of its vectors stays where it was.
        means[held] = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    return means


def nearest_means(vectors_nd: Vectors, means_kd: Vectors, count: int) -> Places:
    """For each vector the nearest means, shape (n, count), in no order."""
    nearest = np.empty((len(vectors_nd), count), np.int64)
    for start in range(0, len(vectors_nd), BLOCK):
        similar = vectors_nd[start : start + BLOCK] @ means_kd.T
        few = slice(start, start + len(similar))
        if count == 1:
            nearest[few, 0] = similar.argmax(axis=1)
        else:
            nearest[few] = np.argpartition(similar, len(means_kd) - count, axis=1)[:, -count:]
    return nearest
