"""What a curation tells Prometheus, by way of Ray's own endpoint: there every name begins with `ray_`.

Workers count work as it is done; the driver says what waits and what became of it. Queues between passes, processors,
memory and GPUs are among Ray's own metrics.
"""

from collections.abc import Mapping

from ray.util.metrics import Counter, Gauge

COUNTERS = {
    "seconds": ("humo_seconds", "Processor seconds of a stage", "stage"),
    "wall": ("humo_wall_seconds", "Seconds that a stage took", "stage"),
    "gpu": ("humo_gpu_seconds", "Seconds of GPUs that were held for a stage", "stage"),
    "computed": ("humo_items", "Items that a stage was at: sources or clips", "stage"),
    "done": ("humo_done", "Items that a stage is through with, those included that needed nothing", "stage"),
    "decodes": ("humo_decodes", "Files decoded, by pass", "pass"),
    "bytes": ("humo_bytes", "Footage read, and media written", "kind"),
    "progress": ("humo_progress", "What came through: sources, failed sources, units, clips, seconds of clips", "what"),
}
"""First part of a counter of `Unit.work` -> metric, what it is, and the label that the rest becomes."""


CLIP_SECONDS = "progress.clip seconds"


class WorkerMetrics:
    """Counters of one worker."""

    def __init__(self) -> None:
        self._counters = {
            kind: Counter(name, description=about, tag_keys=(label,)) for kind, (name, about, label) in COUNTERS.items()
        }
        self._failures = Counter(
            "humo_failures", description="Items that a stage could not measure", tag_keys=("stage", "reason")
        )
        self._deaths = Counter("humo_deaths", description="Workers that died at an item")

    def count(self, work: Mapping[str, float]) -> None:
        """Add what was done since the last time, by the names of `Unit.work`."""
        for name, amount in work.items():
            if amount <= 0:
                continue
            kind, _, rest = name.partition(".")
            if kind == "failures":
                stage, _, reason = rest.partition(".")
                self._failures.inc(amount, {"stage": stage, "reason": reason})
            elif kind == "deaths":
                self._deaths.inc(amount)
            else:
                _, _, label = COUNTERS[kind]
                self._counters[kind].inc(amount, {label: rest})


class DriverMetrics:
    """Gauges of one command."""

    def __init__(self) -> None:
        self._waiting = Gauge("humo_sources_waiting", description="Sources that this command has still to do")
        self._kept_share = Gauge("humo_kept_share", description="Share of the clips' hours that was kept, when decided")
        self._kept_hours = Gauge("humo_kept_hours", description="Hours kept in the run, when it was last decided")

    def waiting(self, sources: int) -> None:
        """So many sources are left."""
        self._waiting.set(sources)

    def kept(self, hours: float, of: float) -> None:
        """So many hours of clips were kept, of so many. Of a run that was never decided no share is known."""
        self._kept_hours.set(hours)
        if of:
            self._kept_share.set(hours / of)
