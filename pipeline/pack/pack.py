"""From decisions to shards: which samples share a shard, and the work of writing one run of them."""

import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.pack.config import PackConfig
from pipeline.pack.manifest import index_table, publish
from pipeline.pack.sample import KeptRows, build_sample, member_sizes
from pipeline.pack.shards import Group, pieces, runs, tar_bytes, write_shard
from pipeline.store.files import Files
from pipeline.store.relations import Relations
from pipeline.store.snapshots import Snapshot
from schemas.manifest import Manifest, Shard

AT_ONCE = 16
"""Samples whose sizes are asked for at a time: requests, where the run is on object storage."""

Packed = tuple[list[Shard], list[dict[str, Any]]]


@dataclass(frozen=True, kw_only=True)
class PackTask:
    """One run of samples; independent of every other, so that any number of workers gives the same bytes."""

    group: Group
    keys: list[str]


def pack_tasks(relations: Relations, config: PackConfig) -> Iterator[PackTask]:
    """The runs of every group of kept clips, in order."""
    query = """SELECT d.split, d.tier, len(CASE d.tier WHEN 'sync' THEN r.speaker_chosen ELSE r.chosen END),
                      d.tier = 'sync' AND v.vocals_sha256 IS NOT NULL, d.id
               FROM decisions d JOIN "references" r USING (id) LEFT JOIN vocals v USING (id)
               WHERE d.outcome = 'keep' ORDER BY 1, 2, 3, 4, 5"""
    groups: dict[Group, list[str]] = defaultdict(list)
    for split, tier, references, vocals, key in relations.connection.execute(query).fetchall():
        groups[Group(split=split, tier=tier, references=references, vocals=vocals)].append(key)
    for group, keys in groups.items():
        for run in runs(keys, config):
            yield PackTask(group=group, keys=run)


def pack_one(files: Files, snapshot: Snapshot, config: PackConfig, task: PackTask) -> Packed:
    """Write one run of samples as one shard, or as several where it is over the size limit."""
    kept = KeptRows(Relations(files, snapshot), task.keys)
    tier = task.group.tier

    def size(key: str) -> int:
        return tar_bytes(member_sizes(files, kept, key, tier, config.correction))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        sizes = list(zip(task.keys, pool.map(size, task.keys), strict=True))
    shards: list[Shard] = []
    index: list[dict[str, Any]] = []
    scratch = files.scratch()
    try:
        for keys in pieces(sizes, config.max_bytes):
            samples = (build_sample(files, kept, key, tier, config.correction) for key in keys)
            shard, rows = write_shard(files, task.group, samples, scratch)
            shards.append(shard)
            index.extend(rows)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return shards, index


def pack(
    files: Files,
    snapshot: Snapshot,
    config: PackConfig,
    *,
    told: Callable[[int, int], None] = lambda _done, _total: None,
) -> tuple[Manifest, pa.Table]:
    """Write shards, index and manifest of the decisions in this snapshot. Returns manifest and index.

    `told`: of how many runs of samples are written, of how many.
    """
    shards: list[Shard] = []
    rows: list[dict[str, Any]] = []
    tasks = list(pack_tasks(Relations(files, snapshot), config))
    for number, task in enumerate(tasks):
        told(number, len(tasks))
        written, index = pack_one(files, snapshot, config, task)
        shards.extend(written)
        rows.extend(index)
    told(len(tasks), len(tasks))
    table = index_table(rows)
    return publish(files, shards, table), table
