"""Retrieval and clustering of many faces: `python tests/benchmarks/vectors.py --faces 1000000`.

The faces are synthetic, 512 numbers each, in clusters as identities are: their sizes follow a power law, and two faces
of one person are about 0.6 alike, those of two people about 0. Printed are the time to build the index, the time of a
query, recall@10 against exact search, the peak memory, and the time of clustering for each number asked for.

Measured with OMP_NUM_THREADS=1 on cores of 2.5 GHz that others used too, so in processor seconds, 24 probes; the time
of clustering includes that of making the faces, some 80 us each:

       faces  partitions  built  recall@10  a query  clustering  people, identities
      10,000          39                                    5 s        305, 305
      50,000         195                                   28 s      1389, 1411
     100,000         391    8 s      0.983  0.28 ms        56 s      2816, 2927
   1,000,000        3906  124 s      0.967  0.41 ms       786 s    26559, 30881

The million took 4.7 GB at most, a part of it pages of files.

No identity held two people. Comparing all of 8192 faces takes 21 ns a pair, 13 ns with 128 numbers a face.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.backends.vector_index import PROBING, VectorIndex
from pipeline.stages.identities import IdentitiesConfig, cluster

DIMENSION = 512
WITHIN = 0.6
"""Similarity of two faces of one person."""
LARGEST = 2000
BLOCK = 8192
TOP = 10
LEAST = 0.4

Vectors = NDArray[np.float32]


def people(count: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """Whose each face is, in a random order: of every person 1 to LARGEST faces, by a power law."""
    sizes: list[int] = []
    while sum(sizes) < count:
        sizes += np.minimum(rng.zipf(1.6, 4096), LARGEST).tolist()
    return np.asarray(rng.permutation(np.repeat(np.arange(len(sizes)), sizes)[:count]), dtype=np.int32)


def blocks(owners: NDArray[np.int32]) -> Iterator[tuple[int, Vectors]]:
    """First place and faces, some at a time: each person's own direction, and noise."""
    rng = np.random.default_rng(1)
    for first in range(0, len(owners), BLOCK):
        own = owners[first : first + BLOCK]
        mean = np.stack([np.random.default_rng([7, int(each)]).normal(size=DIMENSION) for each in own])
        noise = rng.normal(size=mean.shape)
        faces = WITHIN**0.5 * mean + (1 - WITHIN) ** 0.5 * noise
        yield first, (faces / np.linalg.norm(faces, axis=1, keepdims=True)).astype(np.float32)


def exact(vectors: Vectors, queries: NDArray[np.int64]) -> list[set[int]]:
    """The places of the TOP most similar to each, itself among them."""
    asked = vectors[queries]
    best = np.full((len(queries), TOP), -2.0, np.float32)
    where = np.zeros((len(queries), TOP), np.int64)
    for first in range(0, len(vectors), 65_536):
        alike = asked @ vectors[first : first + 65_536].T
        joined = np.hstack([best, alike])
        places = np.hstack([where, np.broadcast_to(np.arange(first, first + alike.shape[1]), alike.shape)])
        top = np.argpartition(-joined, TOP, axis=1)[:, :TOP]
        best, where = np.take_along_axis(joined, top, 1), np.take_along_axis(places, top, 1)
    return [set(row.tolist()) for row in where]


def show_retrieval(count: int, probes: list[int], queries: int) -> None:
    """Build an index, and compare what it finds with what there is."""
    owners = people(count, np.random.default_rng(0))
    with tempfile.TemporaryDirectory() as scratch:
        index = VectorIndex(Path(scratch), dimension=DIMENSION)
        for _, faces in blocks(owners):
            index.add(faces)
        asked = np.random.default_rng(2).permutation(count)[: max(queries, PROBING)]
        start = time.perf_counter()
        truth = exact(index.vectors(), asked[:queries])
        looked = (time.perf_counter() - start) / queries
        for number in probes:
            start, busy = time.perf_counter(), time.process_time()
            index.partition(number, np.arange(count))
            built, cpu = time.perf_counter() - start, time.process_time() - busy
            start, busy = time.perf_counter(), time.process_time()
            found = np.concatenate([near.positions for near in index.neighbours(asked, limit=TOP)]).tolist()
            took, spent = (time.perf_counter() - start) / len(asked), (time.process_time() - busy) / len(asked)
            recall = np.mean([len(t & set(f)) / TOP for t, f in zip(truth, found[:queries], strict=True)])
            print(
                f"{count} faces, {number} probes: built in {built:.0f} s ({cpu:.0f} s of processors), "
                f"{took * 1000:.2f} ms a query of {len(asked)} ({spent * 1000:.2f} ms of processors; "
                f"{queries} by matrix product with all: {looked * 1000:.2f}), "
                f"recall@{TOP} {recall:.4f}; peak memory {_peak_gb():.2f} GB",
                flush=True,
            )


def show_clustering(count: int, index: str) -> None:
    """Time, and whether each person became one identity."""
    owners = people(count, np.random.default_rng(0))

    def tracks() -> Iterator[pa.Table]:
        for first, faces in blocks(owners):
            ids = [f"c{place:08}" for place in range(first, first + len(faces))]
            flat = pa.array(faces.ravel())
            yield pa.table(
                {
                    "id": [f"{clip}_t0" for clip in ids],
                    "clip_id": ids,
                    "track": [0] * len(ids),
                    "first_frame": [0] * len(ids),
                    "last_frame": [96] * len(ids),
                    "embedding": pa.FixedSizeListArray.from_arrays(flat, DIMENSION).cast(pa.list_(pa.float32())),
                }
            )

    config = IdentitiesConfig(sface=LEAST, index=index)  # type: ignore[arg-type]
    start, busy = time.perf_counter(), time.process_time()
    joined: dict[str, set[int]] = {}
    owner = iter(owners.tolist())
    with tempfile.TemporaryDirectory() as scratch:
        for piece in cluster(tracks(), descriptor="sface", folder=Path(scratch), config=config):
            for row in piece.rows:
                joined.setdefault(row["identity"], set()).add(next(owner))
    took, cpu = time.perf_counter() - start, time.process_time() - busy
    mixed = sum(len(found) > 1 for found in joined.values())
    print(
        f"clustering {count} ({index}): {took:.0f} s ({cpu:.0f} s of processors), {len(set(owners.tolist()))} people, "
        f"{len(joined)} identities, {mixed} of them mixed; peak memory {_peak_gb():.2f} GB",
        flush=True,
    )


def _peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main() -> None:
    """Print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=int, nargs="*", default=[1_000_000])
    parser.add_argument("--probes", type=int, nargs="+", default=[24])
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--cluster", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--index", choices=["exact", "ivf"], default="ivf")
    asked = parser.parse_args()
    for count in asked.faces:
        show_retrieval(count, asked.probes, asked.queries)
    for count in asked.cluster:
        show_clustering(count, asked.index)


if __name__ == "__main__":
    main()
