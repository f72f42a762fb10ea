"""The manifest and the index of a run's shards."""

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.store.files import Files
from schemas.manifest import Counts, Manifest, Shard, parse_manifest, shards_fingerprint
from schemas.sample import FPS, INDEX_SCHEMA


def index_table(rows: list[dict[str, Any]]) -> pa.Table:
    """Index rows, sorted by key."""
    return pa.Table.from_pylist(sorted(rows, key=lambda row: str(row["key"])), schema=INDEX_SCHEMA)


def publish(files: Files, shards: list[Shard], index: pa.Table) -> Manifest:
    """Write the next numbered manifest and make it the newest; where nothing changed, return the newest."""
    newest = newest_manifest(files)
    ordered = sorted(shards, key=lambda shard: shard.url)
    fingerprint = shards_fingerprint(ordered)
    if newest is not None and newest.fingerprint == fingerprint:
        # Also where a kill came between the numbered manifest and what is shown.
        _show(files, newest, index)
        return newest
    number = 1 if newest is None else newest.version + 1
    manifest = Manifest(
        version=number, fingerprint=fingerprint, features=[], counts=_counts(ordered, index), shards=ordered
    )
    if not files.create(f"shards/manifests/{number}.json", manifest.to_json().encode()):
        raise FileExistsError(f"{files.root}/shards/manifests/{number}.json appeared while it was being written")
    _show(files, manifest, index)
    return manifest


def _show(files: Files, manifest: Manifest, index: pa.Table) -> None:
    """Put the manifest and its index where readers look, unless they are there."""
    sink = io.BytesIO()
    pq.write_table(index, sink, compression="zstd")
    shown = {"shards/index.parquet": sink.getvalue(), "shards/manifest.json": manifest.to_json().encode()}
    for path, data in shown.items():
        if not files.exists(path) or files.read(path) != data:
            files.replace(path, data)


def newest_manifest(files: Files) -> Manifest | None:
    """The newest numbered manifest, or None before the first."""
    numbers = _numbers(files)
    return _read(files, max(numbers)) if numbers else None


def read_manifests(files: Files) -> dict[int, Manifest]:
    """All manifests by number."""
    return {number: _read(files, number) for number in _numbers(files)}


def _numbers(files: Files) -> list[int]:
    return [int(name.removesuffix(".json")) for name in files.names("shards/manifests") if name.endswith(".json")]


def _read(files: Files, number: int) -> Manifest:
    path = f"shards/manifests/{number}.json"
    return parse_manifest(files.read(path).decode(), where=f"{files.root}/{path}")


def _counts(shards: list[Shard], index: pa.Table) -> Counts:
    def samples(**wanted: str) -> int:
        return sum(s.samples for s in shards if all(getattr(s, name) == value for name, value in wanted.items()))

    return Counts(
        samples=samples(),
        subject=samples(tier="subject"),
        sync=samples(tier="sync"),
        seconds=round(sum(index.column("frames").to_pylist()) / FPS, 3),
        train=samples(split="train"),
        val=samples(split="val"),
    )
