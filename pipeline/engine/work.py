"""Counters of work done: decodes, seconds, bytes, failures. They stand outside every hash."""

import re
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.engine import log
from pipeline.stage import Inapplicable, Unmeasurable

REASON_LENGTH = 60
OF_FAILURES = "failures."
DONE = "done."
"""Of items that a stage is through with, whatever came out, or that were settled when it began."""
TOLD_ONLY = (OF_FAILURES, DONE, "progress.")
"""Beginnings of counters that metrics tell and no commit keeps: the tables hold what they say."""


class Work:
    """Counts by name, such as `decodes.cut` or `seconds.faces`."""

    def __init__(self, *, gpus: float = 0.0) -> None:
        """`gpus`: the share of GPUs that is held while the work goes on."""
        self.counts: dict[str, float] = defaultdict(float)
        self._gpus = gpus

    def count(self, name: str, amount: float = 1) -> None:
        """Add to a counter."""
        self.counts[name] += amount

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the processor time of this process, and the time, inside the block to a stage's."""
        start, began = time.process_time(), time.monotonic()
        try:
            yield
        finally:
            self.spent(stage, time.process_time() - start, time.monotonic() - began)

    def spent(self, stage: str, processor_s: float, wall_s: float) -> None:
        """Add to a stage's seconds: of the processor, that passed, and of the GPUs that were held meanwhile."""
        self.counts[f"seconds.{stage}"] += processor_s
        self.counts[f"wall.{stage}"] += wall_s
        if self._gpus:
            self.counts[f"gpu.{stage}"] += self._gpus * wall_s

    def failed(self, stage: str, item: str, error: Exception) -> None:
        """Count an item that a stage could not measure by its kind of reason, and log it with the whole reason."""
        if isinstance(error, Inapplicable):
            return
        self.count(f"{OF_FAILURES}{stage}.{kind_of(error)}")
        log.event("failed", stage=stage, item=item, reason=f"{type(error).__name__}: {error}")


def kind_of(error: Exception) -> str:
    """The reason without what differs from item to item, so that there are few of them."""
    text = str(error) if isinstance(error, Unmeasurable) else type(error).__name__
    return re.sub(r"[0-9]+", "#", text.partition(":")[0])[:REASON_LENGTH]
