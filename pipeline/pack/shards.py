"""Shards: plain tars whose bytes depend on their samples alone."""

import hashlib
import io
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.pack.config import PackConfig
from pipeline.pack.sample import Sample
from pipeline.store.files import Files
from schemas.manifest import Shard


@dataclass(frozen=True, kw_only=True)
class Group:
    """Samples with the same members: they may share a shard."""

    split: str
    tier: str
    references: int
    vocals: bool
    """Whether the voice alone stands beside the sound."""


def runs(keys: Iterable[str], config: PackConfig) -> Iterator[list[str]]:
    """Sorted keys cut after every key whose hash says so: adding or removing one changes only its own run."""
    run: list[str] = []
    for key in keys:
        run.append(key)
        if _hash(key) % config.samples == 0:
            yield run
            run = []
    if run:
        yield run


def pieces(run: Sequence[tuple[str, int]], limit: int) -> Iterator[list[str]]:
    """A run's keys cut so that each piece has at most so many bytes, or is one sample.

    What is too large is cut after the key of the smallest hash in it, again and again: where it is cut depends on its
    own keys, and not on how much came before. So one sample more or less changes the piece that it is in, and those
    next to it.

    Args:
        run: (key, bytes) in order.
        limit: bytes.
    """
    if len(run) == 1 or sum(size for _, size in run) <= limit:
        yield [key for key, _ in run]
        return
    end = 1 + min(range(len(run) - 1), key=lambda place: _hash(run[place][0]))
    yield from pieces(run[:end], limit)
    yield from pieces(run[end:], limit)


def _hash(key: str) -> int:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")


def tar_bytes(members: Iterable[int]) -> int:
    """What a sample with members of these sizes takes up in a tar."""
    block = tarfile.BLOCKSIZE
    return sum(block + -(-size // block) * block for size in members)


def write_shard(
    files: Files, group: Group, samples: Iterable[Sample], scratch: Path
) -> tuple[Shard, list[dict[str, Any]]]:
    """Write these samples as one shard. Returns its index rows too."""
    tar = _Tar(scratch)
    for sample in samples:
        tar.add(sample)
    tar.close()
    sha256 = tar.sha256()
    url = f"{group.split}-{group.tier}-{sha256[:16]}.tar"
    size = tar.path.stat().st_size
    files.create_from(f"shards/{url}", tar.path)
    shard = Shard.model_validate(
        {
            "url": url,
            "sha256": sha256,
            "bytes": size,
            "samples": len(tar.samples),
            "split": group.split,
            "tier": group.tier,
        }
    )
    index = [
        {
            "key": sample.key,
            "shard": url,
            "offset": offset,
            "bytes": length,
            "split": group.split,
            "tier": group.tier,
            "references": group.references,
            "frames": sample.frames,
            "height": sample.height,
            "width": sample.width,
            "identities": sample.identities,
        }
        for sample, offset, length in tar.samples
    ]
    return shard, index


@dataclass(frozen=True, kw_only=True)
class _Placed:
    """What stays of a sample once it is written."""

    key: str
    frames: int
    height: int
    width: int
    identities: list[str]


class _Tar:
    """A tar being written: fixed time, owner and order."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "shard.tar"
        self._tar = tarfile.open(self.path, mode="w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115 (closed by `close`)
        self.samples: list[tuple[_Placed, int, int]] = []

    def add(self, sample: Sample) -> None:
        start = self._tar.offset
        for name, data in sample.members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.mode = 0o644
            self._tar.addfile(info, io.BytesIO(data))
        placed = _Placed(
            key=sample.key,
            frames=sample.frames,
            height=sample.height,
            width=sample.width,
            identities=sample.identities,
        )
        self.samples.append((placed, start, self._tar.offset - start))

    def close(self) -> None:
        self._tar.close()

    def sha256(self) -> str:
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
