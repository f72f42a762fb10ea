"""Duplicates: clips that are the same footage, and the best copy of each."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipeline.backends.signature import SIDE, distance, pictures_of
from pipeline.stage import Row
from schemas.configuration import Configuration

VERSION = 1
BACKEND = f"signature {SIDE}x{SIDE}/{VERSION}"

BAND_BITS = 8
BANDS = 8


class DuplicatesConfig(Configuration):
    """What counts as the same footage."""

    distance: float = Field(
        default=0.3, gt=0, lt=1, description="Clips whose signatures are closer than this are copies (0: the same)"
    )


def find_duplicates(quality: Iterable[Row], config: DuplicatesConfig) -> list[Row]:
    """A row of `duplicates` for every clip: its group, whether a better copy exists, and which.

    A group has the name of its smallest clip id; a clip without copies is a group of its own. Only clips whose hashes
    share one of eight bands are compared, so that a million clips are not a trillion pairs. A clip without a signature
    has no group: NULL, with the cause.
    """
    rows = sorted(quality, key=lambda row: str(row["id"]))
    known = [row for row in rows if row["signature"]]
    pictures = [pictures_of(row["signature"]) for row in known]
    edges: dict[tuple[int, int], float] = {}
    for one, other in _pairs(pictures):
        found = distance(pictures[one], pictures[other])
        if found < config.distance:
            edges[one, other] = found
    labels = _labels(len(known), edges)
    groups: dict[int, list[int]] = defaultdict(list)
    for place, label in enumerate(labels):
        groups[label].append(place)
    result = [
        {"id": row["id"], "error": f"no signature: quality {row['status']}"} for row in rows if not row["signature"]
    ]
    for members in groups.values():
        result.extend(_group_rows(members, known, edges))
    return sorted(result, key=lambda row: str(row["id"]))


def _group_rows(members: list[int], known: list[Row], edges: dict[tuple[int, int], float]) -> Iterator[Row]:
    best = min(members, key=lambda place: (-(known[place]["sharpness"] or 0.0), known[place]["id"]))
    for place in members:
        nearest = [value for pair, value in edges.items() if place in pair] if len(members) > 1 else []
        yield {
            "id": known[place]["id"],
            "group": known[members[0]]["id"],
            "is_duplicate": place != best,
            "duplicate_of": known[best]["id"] if place != best else None,
            "distance": min(nearest, default=None),
        }


def _pairs(pictures: list[NDArray[np.float32]]) -> list[tuple[int, int]]:
    """Pairs that share a band of their hashes, each once, in order."""
    bands: dict[tuple[int, int], list[int]] = defaultdict(list)
    for place, picture_pn in enumerate(pictures):
        value = _hash(picture_pn)
        for band in range(BANDS):
            bands[band, (value >> (band * BAND_BITS)) & ((1 << BAND_BITS) - 1)].append(place)
    return sorted({pair for members in bands.values() for pair in combinations(members, 2)})


def _hash(pictures_pn: NDArray[np.float32]) -> int:
    """64 bits: whether the mean picture, at 9 x 8, is brighter to the right (a difference hash)."""
    mean = pictures_pn.mean(axis=0).reshape(SIDE, SIDE)
    rows = np.linspace(0, SIDE - 1, 8).round().astype(int)
    columns = np.linspace(0, SIDE - 1, 9).round().astype(int)
    small = mean[np.ix_(rows, columns)]
    bits = (small[:, 1:] > small[:, :-1]).reshape(-1)
    return int("".join("1" if bit else "0" for bit in bits), 2)


def _labels(count: int, edges: Iterable[tuple[int, int]]) -> list[int]:
    rows, columns = np.array(list(edges), dtype=np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=(count, count))
    return [int(label) for label in connected_components(graph, directed=False)[1]]
