"""Duplicates: clips that are the same footage, and the best copy of each."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.backends.signature import LOOKS_SIDE, MOVES_SIDE, Signature, distance, read_signature
from pipeline.stage import Row, SetRows
from schemas.configuration import Configuration

VERSION = 3
BACKEND = f"looks {LOOKS_SIDE}x{LOOKS_SIDE}, moves {MOVES_SIDE}x{MOVES_SIDE}/{VERSION}"

BANDS = 16
BITS = 12
"""Of a band. Each looks at its own choice of differences between cells, so that a few that flip leave others whole."""
BLOCK = 2048
"""Clips compared at once."""
EQUALLY_SHARP = 0.05
"""Copies within this share of the sharpest are as good; the one with the smallest id is kept."""


class DuplicatesConfig(Configuration):
    """What counts as the same footage."""

    distance: float = Field(
        default=0.3, gt=0, lt=1, description="Clips whose signatures are closer than this are copies (0: the same)"
    )


def find_duplicates(quality: Iterable[Row], config: DuplicatesConfig, *, before: Iterable[Row] = ()) -> SetRows:
    """A row of `duplicates` for every clip, sorted by id: its group, whether a better copy exists, and which.

    A group has the name of its smallest clip id; a clip without copies is a group of its own. The best copy is the
    sharpest, and among those equally sharp the one with the smallest id. `distance` is that to the nearest copy. A clip
    without a signature has no group: NULL, with the cause.

    Compared are clips whose looks share one of sixteen hashes: copies share one almost surely (a hash survives with a
    probability of 0.28 where a tenth of its differences flip, as under a crop of 5 %), while of a million clips that
    look different 244 share one. Among those the comparison is exact. Flat clips are nobody's copy.

    Args:
        quality: rows of the table, in any order.
        config: what counts as a copy.
        before: rows that this function gave for an earlier state; clips in them that are as they were are not compared
            with each other again. They change how long it takes, and nothing else.
    """
    rows = sorted(quality, key=lambda row: str(row["id"]))
    known = [row for row in rows if row["signature"]]
    seen = [hashlib.blake2b(row["signature"], digest_size=8).hexdigest() for row in known]
    earlier = {row["id"]: row for row in before if row["seen"]}
    place_of = {row["id"]: place for place, row in enumerate(known)}
    fresh = [earlier.get(row["id"], {}).get("seen") != digest for row, digest in zip(known, seen, strict=True)]
    edges: dict[tuple[int, int], float] = {}
    for place, row in enumerate(known):
        if not fresh[place]:
            for other, apart in zip(earlier[row["id"]]["copies"], earlier[row["id"]]["apart"], strict=True):
                if other in place_of and not fresh[place_of[other]]:
                    edges[min(place, place_of[other]), max(place, place_of[other])] = apart
    edges.update(_edges([read_signature(row["signature"]) for row in known], np.array(fresh, bool), config.distance))
    near: dict[int, list[tuple[str, float]]] = defaultdict(list)
    for (one, other), apart in edges.items():
        near[one].append((known[other]["id"], apart))
        near[other].append((known[one]["id"], apart))
    groups: dict[int, list[int]] = defaultdict(list)
    for place, label in enumerate(_labels(len(known), edges)):
        groups[label].append(place)
    result: list[Row] = [
        {"id": row["id"], "error": f"no signature: quality {row['status']}"} for row in rows if not row["signature"]
    ]
    for members in groups.values():
        sharpness = {place: known[place]["sharpness"] or 0.0 for place in members}
        enough = (1 - EQUALLY_SHARP) * max(sharpness.values())
        best = next(place for place in members if sharpness[place] >= enough)
        for place in members:
            copies = sorted(near[place])
            result.append(
                {
                    "id": known[place]["id"],
                    "group": known[members[0]]["id"],
                    "is_duplicate": place != best,
                    "duplicate_of": known[best]["id"] if place != best else None,
                    "distance": min((apart for _, apart in copies), default=None),
                    "copies": [copy for copy, _ in copies],
                    "apart": [apart for _, apart in copies],
                    "seen": seen[place],
                }
            )
    return SetRows(rows=sorted(result, key=lambda row: str(row["id"])), computed=sum(fresh))


def _edges(
    signatures: list[Signature], fresh: NDArray[np.bool_], limit: float
) -> Iterator[tuple[tuple[int, int], float]]:
    """Pairs of copies, by place, with their distance; pairs of which neither is fresh are left out."""
    if not fresh.any():
        return
    looks = np.stack([signature.looks for signature in signatures])
    for one, other in sorted(_alike(looks, fresh, limit)):
        found = distance(signatures[one], signatures[other])
        if found < limit:
            yield (one, other), found


def _alike(looks: NDArray[np.float32], fresh: NDArray[np.bool_], limit: float) -> set[tuple[int, int]]:
    """Pairs that share a hash and whose looks are close enough, with a fresh one in each."""
    pairs: set[tuple[int, int]] = set()
    for keys in _hashes(looks):
        order = np.argsort(keys, kind="stable")
        starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
        for bucket in np.split(order, starts[1:]):
            members = bucket[np.any(looks[bucket] != 0, axis=1)]
            new = members[fresh[members]]
            for first in range(0, len(new), BLOCK):
                block = new[first : first + BLOCK]
                close = 1 - looks[block] @ looks[members].T < limit
                for row, column in np.argwhere(close):
                    one, other = int(block[row]), int(members[column])
                    if one < other or not fresh[other]:
                        pairs.add((min(one, other), max(one, other)))
    return pairs


def _hashes(looks: NDArray[np.float32]) -> NDArray[np.int64]:
    """(BANDS, clips): in each band, which of BITS pairs of cells have the brighter one first."""
    rng = np.random.default_rng(0)
    hashes = np.zeros((BANDS, len(looks)), np.int64)
    for band in range(BANDS):
        for bit in range(BITS):
            one, other = rng.choice(looks.shape[1], 2, replace=False)
            hashes[band] |= (looks[:, one] > looks[:, other]).astype(np.int64) << bit
    return hashes


def _labels(count: int, edges: Iterable[tuple[int, int]]) -> list[int]:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows, columns = np.array(list(edges), dtype=np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=(count, count))
    return [int(label) for label in connected_components(graph, directed=False)[1]]
