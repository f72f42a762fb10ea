"""How fast the training loader is beside reading the tars plainly, how much memory it takes, and whether a step waits.

    python -m tests.benchmarks.loader [--data MANIFEST] [--workers N] [--epochs N]

Without --data it makes 24 clips of 97 frames at 480x832 itself, with the grain of film. One line of JSON a measure:

plain     tarfile from the first byte to the last and PyAV to RGB at the stored size, with the same workers, every
          frame thrown away at once
kept      the same, a clip's frames together in one array, as a sample is of use
loader    `training.loader` over the same samples in an epoch's order, every clip decoded anew, to the same size
memory    of the loader's worker, the largest by epoch
encoded   with latents made before: a mini step's wait for its batch, as a share of the step
"""

import argparse
import io
import json
import os
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import psutil
import torch
from torch.utils.data import DataLoader, IterableDataset

from tests.training.sample_shards import Sample, encode_video, write_shards
from training.config import TrainingConfig, load_config
from training.dataset import ShardSet, open_shard_set
from training.encode import encode
from training.loader import Batches
from training.plan import Plan

CLIPS = 24
TURNS = 3
SIZE = (480, 832)


class Plain(IterableDataset[int]):
    """Every shard read through, every mp4 decoded; yields frames."""

    def __init__(self, shards: ShardSet, *, kept: bool) -> None:
        self._kept = kept
        self._paths = [shards.address(shard.url) for shard in shards.manifest.shards]

    def __iter__(self) -> Iterator[int]:
        info = torch.utils.data.get_worker_info()
        paths = self._paths if info is None else self._paths[info.id :: info.num_workers]
        for path in paths:
            with tarfile.open(path, "r|") as archive:
                for member in archive:
                    file = archive.extractfile(member)
                    content = file.read() if file else b""
                    if member.name.endswith(".mp4"):
                        with av.open(io.BytesIO(content)) as container:
                            container.streams.video[0].thread_count = 1
                            frames = (frame.to_ndarray(format="rgb24") for frame in container.decode(video=0))
                            yield len(np.stack(list(frames))) if self._kept else sum(len(one) > 0 for one in frames)


def grainy_video() -> bytes:
    """A moving picture with the grain of film, which costs as much to decode as footage does."""
    draw = np.random.default_rng(0)
    scene = cv2.GaussianBlur(draw.integers(0, 256, (SIZE[0], SIZE[1] + 97, 3), dtype=np.uint8), (0, 0), 6)
    scene = cv2.normalize(scene, None, 0, 255, cv2.NORM_MINMAX)
    grain = draw.normal(0, 3, (5, *SIZE, 3))
    pictures = [(scene[:, n : n + SIZE[1]] + grain[n % 5]).clip(0, 255).astype(np.uint8) for n in range(97)]
    return encode_video(pictures)


def settings(shards: ShardSet) -> TrainingConfig:
    """One whole clip a step, at the stored size, nothing kept."""
    row = shards.rows[0]
    sizes = [f"data.sizes=[[{row.height}, {row.width}]]", f"data.lengths=[{row.frames}]"]
    config = load_config("mini", [*sizes, "data.batch=1", "data.cache_mb=0", "threads=1"])
    only = config.stages["start"].model_copy(update={"steps": len(shards.rows)})
    return config.model_copy(update={"stages": {"only": only}})


def timed(name: str, loader: Any) -> float:
    """Samples a second, from the first that arrives to the last, and the line about it."""
    began, first, count = time.perf_counter(), 0.0, 0
    for _ in loader:
        count += 1
        first = first or time.perf_counter()
    rate = (count - 1) / (time.perf_counter() - first)
    line = {"measure": name, "samples": count, "per_second": round(rate, 3)}
    print(json.dumps({**line, "seconds": round(time.perf_counter() - began, 2)}), flush=True)
    return rate


class Steps(torch.utils.data.Dataset[int]):
    """The loader's work without sending its arrays anywhere, as the plain reader sends none; the worker's memory."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, step: int) -> int:
        batch = self._batches[step]
        assert not batch.damaged
        return psutil.Process(os.getpid()).memory_info().rss


def speed(shards: ShardSet, workers: int) -> None:
    """In turns, the best of each: a busy machine slows now one and now the other."""
    config = settings(shards)
    plan = Plan(shards.rows, data=config.data, stages=config.stages, seed=0)
    steps = Steps(Batches(shards, plan, config))
    readers: dict[str, Any] = {"plain": Plain(shards, kept=False), "kept": Plain(shards, kept=True), "loader": steps}
    best = dict.fromkeys(readers, 0.0)
    for _ in range(TURNS):
        for name, reader in readers.items():
            best[name] = max(best[name], timed(name, DataLoader(reader, batch_size=None, num_workers=workers)))
    ratios = {f"of {name}": round(best["loader"] / best[name], 3) for name in ("plain", "kept")}
    print(json.dumps({"measure": "ratio", **ratios, "workers": workers}), flush=True)


def memory(shards: ShardSet, epochs: int) -> None:
    base = settings(shards)
    only = base.stages["only"].model_copy(update={"steps": epochs * len(shards.rows)})
    config = base.model_copy(update={"stages": {"only": only}})
    plan = Plan(shards.rows, data=config.data, stages=config.stages, seed=0)
    steps = Steps(Batches(shards, plan, config))
    used = list(DataLoader(steps, batch_size=None, num_workers=1))
    size = len(shards.rows)
    largest = [round(max(used[epoch * size : (epoch + 1) * size]) / 1e6, 1) for epoch in range(epochs)]
    print(json.dumps({"measure": "memory", "megabytes_by_epoch": largest}), flush=True)


def waiting(shards: ShardSet, folder: Path) -> None:
    """A mini run on encoded shards, as `training/configs/mini.yaml` has it but for its length."""
    from training.trainer import train

    config = load_config("mini", [*(f"stages.{name}.steps=20" for name in ("start", "subject", "sync"))])
    quick = config.validation.model_copy(update={"samples": 1, "windows": 1, "donors": 1, "timesteps": 1})
    config = config.model_copy(update={"validation": quick})
    manifest = encode(config, data=shards.folder, out=folder / "encoded").manifest
    train(config, data=str(manifest), out=folder / "run", resume=False)
    lines = [json.loads(line) for line in (folder / "run" / "log.jsonl").read_text().splitlines()][5:]
    share = sum(line["waited"] for line in lines) / sum(line["seconds"] for line in lines)
    step = sum(line["seconds"] for line in lines) / len(lines)
    print(json.dumps({"measure": "encoded", "step_seconds": round(step, 4), "wait_share": round(share, 4)}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Loader against plain reading.")
    parser.add_argument("--data")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=10)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small = [Sample(key=f"s{n}", person=("ann", "bob")[n % 2], frames=97, size=(256, 256)) for n in range(12)]
        few = open_shard_set(str(write_shards(folder / "small", small)))
        if given.data:
            shards = open_shard_set(given.data)
        else:
            video = grainy_video()
            clips = [
                Sample(key=f"k{n}", frames=97, size=SIZE, edit=lambda f: {**f, "mp4": video}) for n in range(CLIPS)
            ]
            shards = open_shard_set(str(write_shards(folder / "large", clips)))
        speed(shards, given.workers)
        memory(few, given.epochs)
        waiting(few, folder)


if __name__ == "__main__":
    main()
