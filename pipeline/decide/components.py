"""What hangs together: clips by identity, source or duplicates, of which a split takes all or none; shots by copies."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.store.relations import Relations


def connected(one: NDArray[np.integer], other: NDArray[np.integer], *, count: int) -> NDArray[np.int32]:
    """For each of so many nodes the smallest of all that it is linked to, by whatever way; without links itself.

    `one`, `other`: the two ends of each link; a link may be named again.
    """
    # As a disjoint-set forest that all links change at once: scipy's graphs take longer to load than this takes.
    root = np.arange(count, dtype=np.int32)
    while len(one):
        ends = root[one], root[other]
        lower, upper = np.minimum(*ends), np.maximum(*ends)
        apart = lower < upper
        # From here on links join roots, and only those that are not one yet; the upper goes under the smallest.
        one, other = lower[apart], upper[apart]
        np.minimum.at(root, other, one)
        while not np.array_equal(above := root[root], root):
            root = above
    return root


def components(clips: list[str], links: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Clip (shot, source) -> the smallest id of its component. `links`: (clip, whatever it shares with others)."""
    nodes: dict[str, int] = {clip: index for index, clip in enumerate(clips)}
    ends: list[tuple[int, int]] = []
    for clip, shared in links:
        if clip in nodes:
            ends.append((nodes[clip], nodes.setdefault(f"shared:{shared}", len(nodes))))
    rows, columns = np.array(ends, dtype=np.int64).reshape(-1, 2).T
    labels = connected(rows, columns, count=len(nodes))[: len(clips)]
    smallest: dict[int, str] = {}
    for clip in sorted(clips):
        smallest.setdefault(int(labels[nodes[clip]]), clip)
    return {clip: smallest[int(labels[nodes[clip]])] for clip in clips}


def create_components(relations: Relations, val_fraction: float, *, folder: Path) -> None:
    """Make the table `components`: source (id), its component and its split. Reads the table `grouped`.

    A component is named by its smallest clip. All clips of a source are in one, so that only the sources are joined
    that share an identity or copies; only these are held in memory. `folder`: for a file of them.
    """
    execute = relations.connection.execute
    execute(
        """CREATE OR REPLACE TABLE own AS SELECT source_id AS source, min(id) AS first
           FROM clips WHERE status = 'ok' GROUP BY 1"""
    )
    execute(
        """CREATE OR REPLACE TEMP TABLE seen AS SELECT DISTINCT split_part(clip_id, '_', 1) AS source, identity
           FROM identities WHERE identity IS NOT NULL"""
    )
    shared = execute(
        """SELECT source, identity AS shared FROM seen
           WHERE identity IN (SELECT identity FROM seen GROUP BY identity HAVING count(*) > 1)"""
    ).to_arrow_table()
    # Statements of their own: joined to the one above with UNION ALL, DuckDB 1.5.6 does not come back.
    copies = execute(
        """SELECT DISTINCT split_part(id, '_', 1) AS source, split_part("group", '_', 1) AS shared FROM grouped
           WHERE source <> shared"""
    ).to_arrow_table()
    own = pa.table({"source": copies["shared"], "shared": copies["shared"]})
    joined = _joined(pa.concat_tables([shared, copies.cast(shared.schema), own.cast(shared.schema)]))
    pq.write_table(joined, folder / "joined")
    relations.show("joined", folder / "joined")
    execute(
        f"""CREATE OR REPLACE TABLE components AS
            SELECT own.source AS id, first_of.first AS component,
                   CASE WHEN ('0x' || sha256(first_of.first)[:16])::UBIGINT::DOUBLE / 18446744073709551616
                        < {val_fraction} THEN 'val' ELSE 'train' END AS split
            FROM own LEFT JOIN joined USING (source)
            JOIN (SELECT coalesce(root, own.source) AS root, min(first) AS first
                  FROM own LEFT JOIN joined USING (source) GROUP BY 1) AS first_of
              ON first_of.root = coalesce(joined.root, own.source)"""
    )


def _joined(links: pa.Table) -> pa.Table:
    """Source and root, which is the smallest source that it hangs together with. `links`: source, what it shares."""
    sources, shared = (pc.unique(links[name]) for name in ("source", "shared"))
    # In order, so that the smallest number is that of the smallest source; what they share comes after them all.
    sources = sources.take(pc.sort_indices(sources))
    rows = pc.index_in(links["source"], value_set=sources).to_numpy()
    columns = pc.index_in(links["shared"], value_set=shared).to_numpy() + len(sources)
    root = connected(rows, columns, count=len(sources) + len(shared))[: len(sources)]
    return pa.table({"source": sources, "root": sources.take(pa.array(root))})


def split_of(component: str, val_fraction: float) -> str:
    """`val` for about that share of all components, by the hash of their smallest id."""
    digest = hashlib.sha256(component.encode()).digest()
    return "val" if int.from_bytes(digest[:8], "big") / 2**64 < val_fraction else "train"
