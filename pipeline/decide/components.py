"""What hangs together: clips by identity, source or duplicates, of which a split takes all or none; shots by copies."""

import hashlib
from collections.abc import Iterable

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def components(clips: list[str], links: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Clip (or shot) -> the smallest id of its component. `links`: (clip, whatever it shares with others)."""
    nodes: dict[str, int] = {clip: index for index, clip in enumerate(clips)}
    ends: list[tuple[int, int]] = []
    for clip, shared in links:
        if clip in nodes:
            ends.append((nodes[clip], nodes.setdefault(f"shared:{shared}", len(nodes))))
    rows, columns = np.array(ends, dtype=np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(ends), dtype=np.int8), (rows, columns)), shape=(len(nodes), len(nodes)))
    labels = connected_components(graph, directed=False)[1][: len(clips)]
    smallest: dict[int, str] = {}
    for clip in sorted(clips):
        smallest.setdefault(int(labels[nodes[clip]]), clip)
    return {clip: smallest[int(labels[nodes[clip]])] for clip in clips}


def split_of(component: str, val_fraction: float) -> str:
    """`val` for about that share of all components, by the hash of their smallest id."""
    digest = hashlib.sha256(component.encode()).digest()
    return "val" if int.from_bytes(digest[:8], "big") / 2**64 < val_fraction else "train"
