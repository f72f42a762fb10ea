"""A shard set as training sees it: the manifest, the index, and the proof that the shards are the promised ones."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp
import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import UserError
from schemas.manifest import Manifest, Shard, parse_manifest
from schemas.sample import INDEX_SCHEMA
from training.reading import ReadFailed, patiently

_BLOCK = 1 << 20


@dataclass(frozen=True)
class IndexRow:
    """One sample: what it is and where its bytes lie."""

    key: str
    shard: str
    """The shard's address as the manifest has it."""
    offset: int
    """Byte in the tar at which the header of the sample's first member begins."""
    bytes: int
    """Up to the end of the padding of its last member."""
    split: str
    tier: str
    references: int
    frames: int
    height: int
    """Pixels of the stored video."""
    width: int
    identities: tuple[str, ...]
    """People in the clip, and so on its reference images."""


@dataclass(frozen=True)
class ShardSet:
    """An opened manifest with its index."""

    folder: str
    """The manifest's folder, local or an fsspec address, without a slash at its end."""
    manifest: Manifest
    rows: tuple[IndexRow, ...]

    def address(self, shard: str) -> str:
        """Where a shard of the manifest lies."""
        return shard if "://" in shard else f"{self.folder}/{shard}"


def open_shard_set(where: str, *, pinned: Path | None = None) -> ShardSet:
    """Open `manifest.json` (or the folder that holds it) and the `index.parquet` beside it.

    `pinned`: a folder where `pin_shard_set` put both; they are read there, and only the shards at `where`.

    Raises UserError if either is missing, unreadable, or if they contradict each other.
    """
    address = where if where.endswith(".json") else f"{where.rstrip('/')}/manifest.json"
    folder = address.rpartition("/")[0] or "."
    if pinned is not None:
        address = str(pinned / "manifest.json")
    manifest = parse_manifest(_read(address, "no manifest at").decode(), where=address)
    index = f"{folder if pinned is None else pinned}/index.parquet"
    return ShardSet(folder=folder, manifest=manifest, rows=_read_index(index, manifest))


def pin_shard_set(shards: ShardSet, pinned: Path) -> None:
    """Keep manifest and index for a run that is to end on them, whatever is packed in the meantime."""
    pinned.mkdir(parents=True, exist_ok=True)
    (pinned / "index.parquet").write_bytes(_read(f"{shards.folder}/index.parquet", "no index at"))
    (pinned / "manifest.json").write_text(shards.manifest.to_json())


def verify_shards(shards: ShardSet, *, hashes: bool) -> None:
    """Compare each shard's size, and with `hashes` its SHA-256, with the manifest. Raises UserError at a lie."""
    for shard in shards.manifest.shards:
        address = shards.address(shard.url)
        try:
            size = patiently(address, partial(_size, address))
            found = patiently(address, partial(_sha256, address)) if hashes and size == shard.bytes else shard.sha256
        except ReadFailed as error:
            raise UserError(f"the shard {error}") from error
        if size != shard.bytes:
            raise UserError(f"the shard {address} has {size} bytes, the manifest says {shard.bytes}: copy it again")
        if found != shard.sha256:
            raise UserError(
                f"the shard {address} has the SHA-256 {found[:16]}..., the manifest says {shard.sha256[:16]}...: "
                "it is not what was packed; copy it again or pack anew"
            )


def hold_out(rows: Sequence[IndexRow], share: float) -> tuple[list[IndexRow], list[IndexRow]]:
    """Split rows into those to train on and those kept for the swap test: in each tier the smallest hashes of the key.

    With a share above 0, a tier of at least two samples gives at least one.
    """
    kept: set[str] = set()
    for tier in sorted({row.tier for row in rows}):
        keys = sorted((row.key for row in rows if row.tier == tier), key=_key_hash)
        if share > 0 and len(keys) > 1:
            kept.update(keys[: max(1, round(share * len(keys)))])
    return [row for row in rows if row.key not in kept], [row for row in rows if row.key in kept]


def _key_hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _read(address: str, complaint: str) -> bytes:
    try:
        with fsspec.open(address, "rb") as file:
            content: bytes = file.read()
    except (OSError, aiohttp.ClientError) as error:
        raise UserError(f"{complaint} {address}: give the manifest.json that `humo pack` wrote") from error
    return content


def _size(address: str) -> int:
    filesystem, path = fsspec.core.url_to_fs(address)
    return int(filesystem.size(path))


def _sha256(address: str) -> str:
    digest = hashlib.sha256()
    with fsspec.open(address, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _read_index(address: str, manifest: Manifest) -> tuple[IndexRow, ...]:
    content = _read(address, "no index at")
    try:
        table = pq.read_table(pa.BufferReader(content))
    except (OSError, ValueError) as error:
        raise UserError(f"the index {address} is not a parquet file: {error}") from error
    missing = sorted(set(INDEX_SCHEMA.names) - set(table.column_names))
    if missing:
        raise UserError(f"the index {address} lacks the columns {', '.join(missing)}")
    rows = tuple(
        IndexRow(**{**record, "identities": tuple(record["identities"] or ())})
        for record in table.select(INDEX_SCHEMA.names).to_pylist()
    )
    _check_index(address, rows, {shard.url: shard for shard in manifest.shards})
    return tuple(sorted(rows, key=lambda row: row.key))


def _check_index(address: str, rows: Sequence[IndexRow], shards: dict[str, Shard]) -> None:
    repeated = [key for key, count in Counter(row.key for row in rows).items() if count > 1]
    if repeated:
        raise UserError(f"the index {address} has the key {repeated[0]} more than once")
    found = Counter(row.shard for row in rows)
    for row in rows:
        shard = shards.get(row.shard)
        if shard is None:
            raise UserError(f"the index {address} names the shard {row.shard}, which the manifest does not have")
        if (row.split, row.tier) != (shard.split, shard.tier) or not 0 <= row.offset <= shard.bytes - row.bytes:
            raise UserError(f"the index {address} contradicts the manifest about {row.key}")
    for shard in shards.values():
        if found[shard.url] != shard.samples:
            raise UserError(
                f"the index {address} has {found[shard.url]} samples of {shard.url}, the manifest {shard.samples}"
            )
