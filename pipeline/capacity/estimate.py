"""From a sample to so many hours: work, machines, time, storage, the bill."""

from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

from pipeline.capacity.config import PlanConfig
from pipeline.capacity.limits import Limit, limits, pairs_looked_at
from pipeline.capacity.sample import Sample, item_stages, items_of, set_stages
from pipeline.engine.commits import COMMIT_CLIPS
from pipeline.store.bundles import FULL
from schemas.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Answers `humo plan` for `hours` of footage.

    `seconds`: stage -> processor seconds; `gpu_seconds` likewise. `phases`: what the time consists of, in hours:
    `cores`, `gpus` and `network` go on side by side, so that the longest of them counts, and `sets` follows them.
    `bottleneck`: the longest of all. `cores_to_ask_for`: those that end the work within `days`; None where no number
    of cores does. `counts`: rows, vectors, shards, files, commits. `bill`: by what is paid for.
    """

    hours: float
    seconds: dict[str, float]
    gpu_seconds: dict[str, float]
    phases: dict[str, float]
    hours_taken: float
    bottleneck: str
    cores_to_ask_for: int | None
    storage_gb: dict[str, float]
    counts: dict[str, int]
    kept_hours: float
    bill: dict[str, float]
    breaks: list[Limit]

    def to_dict(self) -> dict[str, Any]:
        """As JSON shows it."""
        return asdict(self)


def estimate(sample: Sample, config: PlanConfig, hours: float) -> Estimate:
    """Item stages, files and rows grow with the hours; set stages by their slopes, the search faster than they do.

    Raises UserError where stages run on GPUs and there are none.
    """
    more = hours / sample.hours
    rows = {name: round(count * more) for name, count in sample.rows.items()}
    seconds = {name: sample.seconds[name] * more for name in item_stages() if sample.seconds[name]}
    seconds |= set_seconds(sample, config, more)
    gpu_seconds = {name: each * more for name, each in sample.gpu_seconds.items()}
    gpu_seconds |= {name: each * rows["clips"] for name, each in config.gpu_seconds_per_clip.items()}
    if gpu_seconds and not config.machines.gpus:
        raise UserError(f"{', '.join(gpu_seconds)} run on GPUs: give machines.gpus")
    machines = config.machines
    of_items = sum(seconds[name] for name in seconds if name in item_stages())
    phases = {
        "cores": of_items / (machines.cores * machines.busy) / 3600,
        "gpus": sum(gpu_seconds.values()) / (machines.gpus * machines.busy) / 3600 if gpu_seconds else 0.0,
        "network": sample.bytes * more * 8 / (machines.network_gbit * 1e9) / 3600,
        "sets": sum(seconds[name] for name in seconds if name in set_stages()) / 3600,
    }
    storage_gb = {kind: size * more / 1e9 for kind, size in sample.stored.items()}
    files = round(sum(count for kind, count in sample.files.items() if kind.startswith("media/")) * more)
    largest = max(rows.values())
    shards = ceil(storage_gb.get("shards", 0.0) * 1e9 / SHARD_BYTES)
    counts = {
        "sources": rows["sources"],
        "clips": rows["clips"],
        "face tracks (vectors)": rows["tracks"],
        "reference candidates": rows["candidates"],
        "samples": round(sample.kept * more),
        "shards": shards,
        "media files": files,
        "bundles of rows": ceil(largest / FULL),
        "table files": ceil(largest / FULL) * TABLES_A_BUNDLE,
        "commits": ceil(rows["clips"] / COMMIT_CLIPS),
    }
    prices = config.prices
    return Estimate(
        hours=hours,
        seconds=seconds,
        gpu_seconds=gpu_seconds,
        phases=phases,
        hours_taken=max(phases["cores"], phases["gpus"], phases["network"]) + phases["sets"],
        bottleneck=max(phases, key=lambda name: phases[name]),
        cores_to_ask_for=_cores(of_items, phases, config),
        storage_gb=storage_gb,
        counts=counts,
        kept_hours=sample.kept_hours * more,
        bill={
            "cores": (phases["cores"] * machines.cores + phases["sets"]) * prices.core_hour,
            "gpus": phases["gpus"] * machines.gpus * prices.gpu_hour,
            "storage": sum(storage_gb.values()) / 1000 * prices.tb_month * prices.months,
            "writes": (files + shards + counts["table files"]) / 1e6 * prices.million_writes,
        },
        breaks=limits(sample, config),
    )


SHARD_BYTES = 512 * 2**20
"""Of a full shard, by default."""
TABLES_A_BUNDLE = 11
"""Parts of a bundle: one for each item table."""


def set_seconds(sample: Sample, config: PlanConfig, more: float) -> dict[str, float]:
    """Set stage -> seconds on `more` times the sample: what it took there for nothing, and for each row its slope."""
    found = {
        name: sample.seconds[name] + getattr(config.slopes, name) / 1e6 * items_of(sample, name) * (more - 1)
        for name in set_stages()
    }
    found["identities"] += search_seconds(sample, config, more) - search_seconds(sample, config, 1)
    return {name: seconds for name, seconds in found.items() if seconds > 0}


def search_seconds(sample: Sample, config: PlanConfig, more: float) -> float:
    """Of the search of every face track among all, or among those of the partitions looked at."""
    tracks = sample.rows["tracks"] * more
    return float(pairs_looked_at(tracks, sample.probes) * config.slopes.pair_ns / 1e9)


def _cores(of_items: float, phases: dict[str, float], config: PlanConfig) -> int | None:
    left = config.days * 24 - phases["sets"]
    if left <= max(phases["network"], phases["gpus"]):
        return None
    return ceil(of_items / 3600 / left / config.machines.busy)
