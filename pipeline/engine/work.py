"""Counters of work done: decodes and seconds. They stand outside every hash."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


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
