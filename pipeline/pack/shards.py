"""Shards: plain tars whose bytes depend on their samples alone."""

import hashlib
import io
import tarfile
from collections.abc import Iterable, Iterator
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


def runs(keys: Iterable[str], config: PackConfig) -> Iterator[list[str]]:
    """Sorted keys cut after every key whose hash says so: adding or removing one changes only its own run."""
    run: list[str] = []
    for key in keys:
        run.append(key)
        if int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % config.samples == 0:
            yield run
            run = []
    if run:
        yield run


def write_shards(
    files: Files, group: Group, samples: Iterable[Sample], config: PackConfig, scratch: Path
) -> tuple[list[Shard], list[dict[str, Any]]]:
    """Write one run of samples as one shard, or as several where the size limit ends them. Returns index rows too."""
    shards: list[Shard] = []
    index: list[dict[str, Any]] = []
    tar = _Tar(scratch)
    for sample in samples:
        if tar.samples and tar.size + tar.cost(sample) > config.max_bytes:
            _close(files, group, tar, shards, index)
            tar = _Tar(scratch)
        tar.add(sample)
    _close(files, group, tar, shards, index)
    return shards, index


def _close(files: Files, group: Group, tar: "_Tar", shards: list[Shard], index: list[dict[str, Any]]) -> None:
    tar.close()
    sha256 = tar.sha256()
    url = f"{group.split}-{group.tier}-{sha256[:16]}.tar"
    size = tar.path.stat().st_size
    files.create_from(f"shards/{url}", tar.path)
    shards.append(
        Shard.model_validate(
            {
                "url": url,
                "sha256": sha256,
                "bytes": size,
                "samples": len(tar.samples),
                "split": group.split,
                "tier": group.tier,
            }
        )
    )
    for sample, offset, length in tar.samples:
        index.append(
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
        )


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

    @property
    def size(self) -> int:
        return self._tar.offset

    @staticmethod
    def cost(sample: Sample) -> int:
        block = tarfile.BLOCKSIZE
        return sum(block + -(-len(data) // block) * block for _, data in sample.members)

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
