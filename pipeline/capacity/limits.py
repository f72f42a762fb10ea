"""What breaks as a run grows, in which order, and the answer to it."""

from dataclasses import dataclass
from math import sqrt

from pipeline.capacity.config import PlanConfig
from pipeline.capacity.sample import UNIT, Sample, item_stages
from pipeline.store.bundles import FULL

INDEX_ROW_BYTES = 300
"""Of a sample in `index.parquet`, in memory."""


@dataclass(frozen=True, kw_only=True)
class Limit:
    """Something that passes its bound at so many hours of footage."""

    what: str
    at_hours: float
    answer: str


PARTS = "curate in runs of fewer hours, by language, date or place, and train on several manifests"


def limits(sample: Sample, config: PlanConfig) -> list[Limit]:
    """What breaks first comes first. What an empty sample says nothing of is left out."""
    bounds, slopes, machines = config.bounds, config.slopes, config.machines
    tracks, clips = (sample.rows[name] / sample.hours for name in ("tracks", "clips"))
    largest = max(sample.rows.values()) / sample.hours
    item_seconds = sum(sample.seconds[name] for name in item_stages()) / sample.hours
    linear = sum(
        getattr(slopes, name) / 1e6 * sample.rows[UNIT.get(name, "clips")] / sample.hours
        for name in ("duplicates", "identities", "candidates", "references", "decide")
    )
    pairs = slopes.pair_ns / 1e9 * tracks**2
    found = [
        (
            f"the exact search of like faces takes {bounds.search_hours:g} h",
            sqrt(bounds.search_hours * 3600 / pairs) if pairs else None,
            "an approximate index over the vectors (LanceDB's IVF-PQ), or " + PARTS,
        ),
        (
            f"the set stages take {bounds.set_hours:g} h on one machine",
            _root(pairs, linear, bounds.set_hours * 3600),
            PARTS + "; after the first time, only new sources are compared",
        ),
        (
            f"rows of the set stages fill {machines.driver_gb:g} GB of memory",
            _over(machines.driver_gb * 1e9, sample.row_bytes * tracks),
            "a driver with more memory (machines.driver_gb), or " + PARTS,
        ),
        (
            f"each commit writes {bounds.commit_mb:g} MB",
            _over(bounds.commit_mb * 1e6, sample.commit_bytes * largest / FULL),
            PARTS + ", and 'humo merge' for what must be decided together",
        ),
        (
            f"a run has {bounds.objects:,.0f} files, which takedown and clean list",
            _over(bounds.objects, sum(n for kind, n in sample.files.items() if kind[:6] == "media/") / sample.hours),
            PARTS + "; a lifecycle rule for what training has taken into shards",
        ),
        (
            f"the index of samples fills {bounds.index_gb:g} GB of a training process",
            _over(bounds.index_gb * 1e9, sample.kept / sample.hours * INDEX_ROW_BYTES),
            PARTS,
        ),
        (
            f"{bounds.cores:,.0f} cores do not end it within {config.days:g} days",
            _over(bounds.cores * machines.busy * config.days * 86400, item_seconds),
            "several clusters with a run each, and 'humo merge'",
        ),
        (
            f"footage does not arrive within {config.days:g} days at {machines.network_gbit:g} Gbit/s",
            _over(machines.network_gbit * 1e9 / 8 * config.days * 86400, sample.bytes / sample.hours),
            "workers where the footage lies, in its region; more machines with lines of their own",
        ),
        (
            f"the run takes {bounds.storage_tb:,.0f} TB",
            _over(bounds.storage_tb * 1e12, sum(sample.stored.values()) / sample.hours),
            "lower clips.crf quality or size; media of rejected clips to a colder class after review",
        ),
    ]
    known = [Limit(what=what, at_hours=at, answer=answer) for what, at, answer in found if at is not None]
    return sorted(known, key=lambda limit: limit.at_hours) if clips else []


def _over(bound: float, each: float) -> float | None:
    return bound / each if each else None


def _root(square: float, linear: float, bound: float) -> float | None:
    """Hours h with square h² + linear h = bound."""
    if not square:
        return _over(bound, linear)
    return (sqrt(linear**2 + 4 * square * bound) - linear) / (2 * square)
