"""What breaks as a run grows, in which order, and the answer to it."""

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.backends.vector_index import pairs_compared
from pipeline.capacity.config import PlanConfig
from pipeline.capacity.sample import Sample, item_stages, items_of, set_stages
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
    linear = sum(getattr(slopes, name) / 1e6 * items_of(sample, name) / sample.hours for name in set_stages())

    def search(hours: float) -> float:
        return slopes.pair_ns / 1e9 * pairs_looked_at(tracks * hours, sample.probes)

    found = [
        (
            f"the search of like faces takes {bounds.search_hours:g} h",
            _when(search, bounds.search_hours * 3600),
            PARTS if sample.probes else "an index (identities.index=ivf), or " + PARTS,
        ),
        (
            f"the set stages take {bounds.set_hours:g} h on one machine",
            _when(lambda hours: search(hours) + linear * hours, bounds.set_hours * 3600),
            PARTS + "; after the first time, only new sources are compared",
        ),
        (
            f"face tracks fill {machines.driver_gb:g} GB of memory when people are told apart",
            _over(machines.driver_gb * 1e9, slopes.track_bytes * tracks),
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
            "smaller files (a higher clips.crf); media of rejected clips to a colder class after review",
        ),
    ]
    known = [Limit(what=what, at_hours=at, answer=answer) for what, at, answer in found if at is not None]
    return sorted(known, key=lambda limit: limit.at_hours) if clips else []


def _over(bound: float, each: float) -> float | None:
    return bound / each if each else None


MOST_HOURS = 1e12
"""Beyond all footage there is."""


def _when(grows: Callable[[float], float], bound: float) -> float | None:
    """The hours at which something that grows reaches its bound."""
    low, high = 0.0, MOST_HOURS
    if grows(high) < bound:
        return None
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if grows(middle) < bound else (low, middle)
    return high


def pairs_looked_at(tracks: float, probes: int | None) -> float:
    """Pairs of face tracks that the search compares: all, or those of the partitions that it looks at."""
    return tracks**2 if probes is None else pairs_compared(tracks, probes)
