"""Nearest vectors of length 1 among many: all compared, or for millions those of the nearest partitions, from LanceDB.

Queries are compared in blocks by matrix products, since each partition is near to many of them: one query alone costs
reading all the rows that it looks at.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.backends.nearest import Nearest
from pipeline.backends.partitions import ROUNDS, mean_directions, nearest_means

BACKEND = f"lancedb {version('lancedb')}"

PARTITIONS = 4
"""Times the root of the number of vectors: the more there are, the fewer rows are looked at for the same answers."""
PARTITION_ROWS = 256
"""Vectors of a partition at least: those of one person should not fill more partitions than are looked at."""
TRAINED_ON = 32
"""Vectors of each partition that its mean is found by."""
QUERIES = 4096
"""Vectors that are compared with all others at once."""
PROBING = 131_072
"""Vectors that are compared with partitions at once: these are read again for each such block."""
ROWS = 4096
"""Vectors read at once, to be compared with queries or written."""

Vectors = NDArray[np.float32]
Places = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Near:
    """The vectors most similar to some, each itself among them."""

    places: Places
    """Positions of the vectors asked for, shape (q,)."""
    positions: Places
    """Shape (q, limit), the most similar first, then in order of position; -1 where no more are found."""
    similar: Vectors
    """Cosine similarities, rounded to six digits."""


class VectorIndex:
    """Vectors in the order in which they were added, each with a position from 0.

    They are in a memory-mapped file in `folder`, and once partitioned also in a table of LanceDB.
    """

    def __init__(self, folder: Path, *, dimension: int) -> None:
        """Begin an empty index in an empty folder."""
        self._folder = folder
        self._file = folder / "vectors.f32"
        self._dimension = dimension
        self._count = 0
        self._partitions: _Partitions | None = None

    def __len__(self) -> int:
        return self._count

    def add(self, vectors_nd: Vectors) -> None:
        """Add vectors, shape (n, dimension) and of length 1."""
        with self._file.open("ab") as file:
            file.write(np.ascontiguousarray(vectors_nd, dtype=np.float32).tobytes())
        self._count += len(vectors_nd)

    def partition(self, probes: int, order: Places) -> None:
        """Index the vectors, once all are added: a search then looks at the partitions of the nearest `probes` means.

        `order`: all positions, in an order that what is found may depend on.
        """
        vectors = self.vectors()
        count = partitions_of(self._count)
        sample = order[np.linspace(0, self._count - 1, min(self._count, TRAINED_ON * count)).astype(np.int64)]
        means = mean_directions(np.asarray(vectors[sample]), count)
        cells = np.concatenate(
            [nearest_means(vectors[start : start + ROWS], means, 1)[:, 0] for start in range(0, self._count, ROWS)]
        )
        rank = np.empty(self._count, np.int64)
        rank[order] = np.arange(self._count)
        self._partitions = _Partitions(self._folder, vectors, means, cells, np.lexsort((rank, cells)), probes)

    def vectors(self) -> Vectors:
        """All vectors, shape (n, dimension), read from disk as they are touched."""
        if not self._count:
            return np.zeros((0, self._dimension), dtype=np.float32)
        return np.asarray(np.memmap(self._file, dtype=np.float32, mode="r", shape=(self._count, self._dimension)))

    def neighbours(self, places: Places, *, limit: int, least: float = -1.0) -> Iterator[Near]:
        """For each of these positions, some at a time: the most similar vectors, none less similar than `least`."""
        vectors = self.vectors()
        block = PROBING if self._partitions else QUERIES
        for start in range(0, len(places), block):
            few = places[start : start + block]
            queries = np.asarray(vectors[few])
            nearest = Nearest(len(few), limit=limit, least=least)
            if self._partitions:
                self._partitions.search(queries, nearest)
            else:
                asking = np.arange(len(few))
                for first in range(0, self._count, ROWS):
                    similar = queries @ vectors[first : first + ROWS].T
                    nearest.offer(asking, similar, np.arange(first, first + similar.shape[1]))
            positions, similarities = nearest.found()
            yield Near(places=few, positions=positions, similar=similarities)


def partitions_of(vectors: float) -> int:
    """Into how many partitions so many vectors are divided."""
    return max(1, round(min(PARTITIONS * sqrt(vectors), vectors / PARTITION_ROWS)))


def pairs_compared(vectors: float, probes: int) -> float:
    """How often a search of all vectors for each of them compares two, the making of the partitions included."""
    count = partitions_of(vectors)
    means = ROUNDS * TRAINED_ON * count**2
    return float(means + vectors * min(2 * count + probes * vectors / count, vectors))


class _Partitions:
    """Vectors in a table of LanceDB, those of a partition side by side and found by its number."""

    def __init__(
        self, folder: Path, vectors_nd: Vectors, means_kd: Vectors, cells: Places, order: Places, probes: int
    ) -> None:
        """`cells`: of each vector its partition; `order`: the vectors by partition."""
        # Once imported, LanceDB warns at every subprocess that its process starts: not before it is needed.
        import lancedb
        from lancedb.index import BTree

        self._means = means_kd
        self._sizes = np.bincount(cells, minlength=len(means_kd))
        self._probes = min(probes, len(means_kd))
        vector = pa.list_(pa.float32(), vectors_nd.shape[1])
        schema = pa.schema([("cell", pa.int64()), ("position", pa.int64()), ("vector", vector)])

        def rows() -> Iterator[pa.RecordBatch]:
            for start in range(0, len(order), ROWS):
                few = order[start : start + ROWS]
                flat = pa.array(np.asarray(vectors_nd[few]).ravel())
                columns = [pa.array(cells[few]), pa.array(few), pa.FixedSizeListArray.from_arrays(flat, type=vector)]
                yield pa.RecordBatch.from_arrays(columns, schema=schema)

        data = pa.RecordBatchReader.from_batches(schema, rows())
        self._table: Any = lancedb.connect(str(folder)).create_table("vectors", data=data)
        self._table.create_index("cell", config=BTree())

    def search(self, queries_qd: Vectors, nearest: Nearest) -> None:
        """Offer each query the vectors of the partitions whose means are nearest to it."""
        probed = nearest_means(queries_qd, self._means, self._probes).astype(np.int32).ravel()
        by_cell = np.argsort(probed, kind="stable")
        wanted, first = np.unique(probed[by_cell], return_index=True)
        asking = dict(zip(wanted.tolist(), np.split(by_cell // self._probes, first[1:]), strict=True))
        for cells in self._at_once(wanted):
            for cell, positions, vectors in self._read(cells):
                asked = asking[cell]
                for start in range(0, len(asked), QUERIES):
                    few = asked[start : start + QUERIES]
                    nearest.offer(few, queries_qd[few] @ vectors.T, positions)

    def _at_once(self, wanted: NDArray[np.int32]) -> Iterator[list[int]]:
        """Partitions of some `ROWS` rows each."""
        part = (np.cumsum(self._sizes[wanted]) - 1) // ROWS
        for cells in np.split(wanted, np.flatnonzero(np.diff(part)) + 1):
            yield cells.tolist()

    def _read(self, cells: list[int]) -> Iterator[tuple[int, Places, Vectors]]:
        """Of each of these partitions that has rows: its number, the positions and the vectors."""
        query = self._table.search().where(f"cell IN ({', '.join(map(str, cells))})")
        rows = query.select(["cell", "position", "vector"]).to_arrow()
        cell, positions = rows["cell"].to_numpy(), rows["position"].to_numpy()
        vectors = rows["vector"].combine_chunks().flatten().to_numpy().reshape(len(rows), -1)
        order = np.argsort(cell, kind="stable")
        found, first = np.unique(cell[order], return_index=True)
        for number, few in zip(found.tolist(), np.split(order, first[1:]), strict=True):
            yield number, positions[few], vectors[few]
