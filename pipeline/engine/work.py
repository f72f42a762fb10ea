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

    def __init__(self) -> None:
        self.counts: dict[str, float] = defaultdict(float)

    def count(self, name: str, amount: float = 1) -> None:
        """Add to a counter."""
        self.counts[name] += amount

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the processor time of this process inside the block to a stage's seconds."""
        start = time.process_time()
        try:
            yield
        finally:
            self.counts[f"seconds.{stage}"] += time.process_time() - start

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
