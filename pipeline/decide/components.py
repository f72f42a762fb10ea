"""What hangs together: clips by identity, source or duplicates, of which a split takes all or none; shots by copies."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.store.relations import Relations


def connected(one: NDArray[np.integer], other: NDArray[np.integer], *, count: int) -> NDArray[np.int32]:
    """For each of so many nodes a number that it shares with all that it is linked to, by whatever way.

    `one`, `other`: the two ends of each link; a link may be named again.
    """
    # Here alone: most commands need it not, and it takes longer to load than most of them take.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(one), dtype=np.bool_), (one, other)), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1])


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
    """Make the table `components`: source (id), its component and its split.

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
        """SELECT DISTINCT split_part(id, '_', 1) AS source, split_part("group", '_', 1) AS shared FROM duplicates
           WHERE id <> "group" AND split_part(id, '_', 1) <> split_part("group", '_', 1)"""
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
    sources, shared = (links[name].combine_chunks().dictionary_encode() for name in ("source", "shared"))
    count = len(sources.dictionary)
    rows, columns = sources.indices.to_numpy(), shared.indices.to_numpy() + count
    labels = pa.array(connected(rows, columns, count=count + len(shared.dictionary))[:count])
    found = pa.table({"source": sources.dictionary, "label": labels})
    roots = found.group_by("label").aggregate([("source", "min")]).rename_columns(["label", "root"])
    return found.join(roots, "label").select(["source", "root"])


def split_of(component: str, val_fraction: float) -> str:
    """`val` for about that share of all components, by the hash of their smallest id."""
    digest = hashlib.sha256(component.encode()).digest()
    return "val" if int.from_bytes(digest[:8], "big") / 2**64 < val_fraction else "train"
