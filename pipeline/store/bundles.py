"""Bundles: rows of many sources in one part a table, so that the number of files stays small however long a run gets.

Each commit adds a bundle; like in a log-structured merge tree, bundles of like size are merged into larger ones, up to
`FULL`. A row's key is the source (or the location) that it belongs to: its id up to the first underscore.
"""

import hashlib
import shutil
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from math import log
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.store.files import Files
from pipeline.store.parts import GROUP_ROWS, conformed, part_path, read_part
from pipeline.store.snapshots import Bundle, Snapshot

FAN = 8
"""So many bundles of like size become one."""
FULL = 32_768
"""Rows of its largest table with which a bundle is merged no further. Bounds the memory of a merge."""


def write_bundle(files: Files, tables: dict[str, pa.Table]) -> tuple[str, Bundle]:
    """Write rows as a bundle; returns its name and what a snapshot says of it. Tables without rows get no part."""
    parts: dict[str, str] = {}
    keys: set[str] = set()
    rows = 0
    for name, table in sorted(tables.items()):
        if not table.num_rows:
            continue
        table = table.sort_by("id")
        keys.update(pc.unique(keys_of(table)).to_pylist())
        rows = max(rows, table.num_rows)
        parts[name] = _write(files, name, table)
    digest = hashlib.sha256("\n".join(sorted(parts.values())).encode()).hexdigest()[:16]
    return digest, Bundle(parts=parts, keys=len(keys), rows=rows)


def keys_of(table: pa.Table) -> pa.Array:
    """The source or location of each row."""
    return pc.list_element(pc.split_pattern(table["id"], "_", max_splits=1), 0)


def current_rows(files: Files, bundle: Bundle, table: str) -> pa.Table:
    """The rows of a bundle's table that count."""
    return without(conformed(table, read_part(files, bundle.parts[table])), bundle.dropped)


def without(rows: pa.Table, dropped: Collection[str]) -> pa.Table:
    """Rows without those of these sources or locations."""
    return rows.filter(counting(rows, dropped)) if dropped else rows


def counting(rows: pa.Table, dropped: Collection[str]) -> pa.Array:
    """Which rows are not of these sources or locations."""
    return pc.invert(pc.is_in(keys_of(rows), pa.array(dropped, pa.string())))


def merged(files: Files, snapshot: Snapshot, *, every_dropped: bool = False) -> Snapshot:
    """The snapshot with bundles of like size merged, and those written anew of which more than half was dropped.

    `every_dropped`: write anew all of which anything was dropped, so that no part holds such rows any more.
    """
    for name, bundle in list(snapshot.bundles.items()):
        if bundle.dropped and (every_dropped or 2 * len(bundle.dropped) > bundle.keys):
            snapshot = _as_one(files, snapshot, [name])
    while names := _of_like_size(snapshot):
        snapshot = _as_one(files, snapshot, names)
    return snapshot


def _of_like_size(snapshot: Snapshot) -> list[str]:
    """Names of bundles to merge next, or none."""
    alike: dict[tuple[bool, int], list[str]] = defaultdict(list)
    for name, bundle in sorted(snapshot.bundles.items()):
        if bundle.rows < FULL:
            names = alike["locations" in bundle.parts, int(log(max(bundle.rows, 1), FAN))]
            names.append(name)
            if len(names) == FAN:
                return names
    return []


def _as_one(files: Files, snapshot: Snapshot, names: Collection[str]) -> Snapshot:
    old = [snapshot.bundles[name] for name in names]
    tables = {table for bundle in old for table in bundle.parts}
    merged_rows = {
        table: pa.concat_tables([current_rows(files, bundle, table) for bundle in old if table in bundle.parts])
        for table in tables
    }
    name, bundle = write_bundle(files, merged_rows)
    left = {key: value for key, value in snapshot.bundles.items() if key not in names}
    return replace(snapshot, bundles={**left, name: bundle})


def homes(snapshot: Snapshot, files: Files, table: str, keys: Collection[str]) -> dict[str, set[str]]:
    """Bundle -> those of the keys that have current rows of a table in it."""
    wanted = pa.array(sorted(keys), pa.string())
    found: dict[str, set[str]] = {}
    for name, bundle in snapshot.holding(table):
        for ids in _ids(files, bundle.parts[table]):
            here = set(ids.filter(pc.is_in(ids, wanted)).to_pylist()).difference(bundle.dropped)
            if here:
                found.setdefault(name, set()).update(here)
    return found


def _ids(files: Files, path: str) -> Iterator[pa.Array]:
    with files.open_committed(path) as file:
        for batch in pq.ParquetFile(file).iter_batches(columns=["id"]):
            yield batch.column(0)


def _write(files: Files, table: str, rows: pa.Table) -> str:
    """A part named by its content. Its folder is the fingerprint of its rows, where they have one in common."""
    prints = pc.unique(rows["fingerprint"]).to_pylist()
    folder = files.scratch()
    try:
        made = folder / "part.parquet"
        write_rows(made, [rows], rows.schema)
        path = part_path(table, prints[0] if len(prints) == 1 and prints[0] else "mixed", _sha256(made)[:16])
        files.create_from(path, made)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return path


def write_rows(path: Path, tables: Iterable[pa.Table], schema: pa.Schema) -> None:
    """A Parquet file in groups of rows small enough that a reader of few sources skips the others."""
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table, row_group_size=GROUP_ROWS)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
