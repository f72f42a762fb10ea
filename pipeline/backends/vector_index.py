"""Nearest vectors of length 1 with LanceDB: exact, or by an index for millions."""

from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

BACKEND = f"lancedb {version('lancedb')}"

QUERY_BATCH = 256
"""Vectors searched for in one query."""
WRITE_BATCH = 4096
"""Vectors written at a time, however few come at once: each write is a file and a version."""

TRAINED_ON = 64
"""Vectors of each partition that the index is trained on."""

Vectors = NDArray[np.float32]
Found = list[tuple[int, float]]
"""Positions with their cosine similarity (rounded to six digits), most similar first, then in order of position."""


class VectorIndex:
    """Vectors in the order in which they were added, each with a position from 0.

    At most `WRITE_BATCH` of them are held in memory; LanceDB and a memory-mapped file of the vectors are in `folder`.
    """

    def __init__(self, folder: Path, *, dimension: int) -> None:
        """Begin an empty index in an empty folder."""
        vector = pa.list_(pa.float32(), dimension)
        self._schema = pa.schema([pa.field("position", pa.int64()), pa.field("vector", vector)])
        # Once imported, LanceDB warns at every subprocess that its process starts: not before it is needed.
        import lancedb

        self._table = lancedb.connect(str(folder)).create_table("vectors", schema=self._schema)
        self._file = folder / "vectors.f32"
        self._dimension = dimension
        self._waiting: list[pa.Table] = []
        self._count = 0
        self._probes = 0
        """Partitions that a search looks at; 0: all vectors."""

    def __len__(self) -> int:
        return self._count

    def add(self, vectors_nd: Vectors) -> None:
        """Add vectors, shape (n, dimension) and of length 1."""
        positions = pa.array(range(self._count, self._count + len(vectors_nd)), pa.int64())
        flat = np.ascontiguousarray(vectors_nd, dtype=np.float32).ravel()
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(flat), self._dimension)
        self._waiting.append(pa.Table.from_arrays([positions, vectors], schema=self._schema))
        with self._file.open("ab") as file:
            file.write(flat.tobytes())
        self._count += len(vectors_nd)
        if sum(table.num_rows for table in self._waiting) >= WRITE_BATCH:
            self._write()

    def partition(self, probes: int) -> None:
        """Index the vectors, once all are added: a search then looks at the `probes` nearest of sqrt(n) partitions."""
        from lancedb.index import IvfFlat

        self._write()
        partitions = max(1, round(self._count**0.5))
        config = IvfFlat(distance_type="dot", num_partitions=partitions, sample_rate=TRAINED_ON)
        self._table.create_index("vector", config=config)
        self._probes = min(probes, partitions)

    def vectors(self) -> Vectors:
        """All vectors, shape (n, dimension), read from disk as they are touched."""
        if not self._count:
            return np.zeros((0, self._dimension), dtype=np.float32)
        return np.memmap(self._file, dtype=np.float32, mode="r", shape=(self._count, self._dimension))

    def neighbours(self, places: Sequence[int], *, limit: int) -> Iterator[Found]:
        """For each of these positions, in order: the most similar vectors, itself among them."""
        self._write()
        vectors = self.vectors()
        for start in range(0, len(places), QUERY_BATCH):
            queries = np.asarray(vectors[list(places[start : start + QUERY_BATCH])])
            yield from _ranked(_searched(self._table.search(queries), limit, self._probes), len(queries))

    def _write(self) -> None:
        if self._waiting:
            self._table.add(pa.concat_tables(self._waiting))
            self._waiting = []


def _searched(query: Any, limit: int, probes: int) -> pa.Table:
    # Without an index on the vectors the search looks at each of them: exact.
    query = query.nprobes(probes) if probes else query
    found = query.distance_type("dot").limit(limit).select(["position", "_distance"]).to_arrow()
    return found if isinstance(found, pa.Table) else pa.Table.from_batches(found)


def _ranked(found: pa.Table, queries: int) -> list[Found]:
    # One query alone is not numbered.
    owners = found["query_index"].to_pylist() if "query_index" in found.column_names else [0] * found.num_rows
    results: list[Found] = [[] for _ in range(queries)]
    for owner, position, far in zip(owners, found["position"].to_pylist(), found["_distance"].to_pylist(), strict=True):
        results[owner].append((position, round(1.0 - far, 6)))
    for result in results:
        result.sort(key=lambda pair: (-pair[1], pair[0]))
    return results
