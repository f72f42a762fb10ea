"""How work says how far it is."""

from collections import Counter
from typing import Protocol

from pipeline.engine.unit import Unit
from pipeline.engine.work import DONE, OF_FAILURES
from pipeline.flow import MEASURE


class Progress(Protocol):
    """Told as work goes on."""

    def __call__(self, stage: str, done: int, total: int, failed: int = 0, /) -> None:
        """So many of a stage's items are through, `failed` of them in vain."""


def silent(_stage: str, _done: int, _total: int, _failed: int = 0) -> None:
    """Tells nobody."""


class StageProgress:
    """Adds up units, and tells of the clips of each stage that has any to do; all are those of the sources so far."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._clips = 0
        self._done: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()

    def take(self, unit: Unit) -> None:
        """A unit is measured."""
        if unit.number == 0:
            self._clips += unit.clips
        for name, amount in unit.work.items():
            if name.startswith(DONE):
                self._done[name.removeprefix(DONE)] += round(amount)
            elif name.startswith(OF_FAILURES):
                self._failed[name.removeprefix(OF_FAILURES).partition(".")[0]] += round(amount)
        for stage in MEASURE:
            if done := self._done[stage]:
                self._progress(stage, done, max(done, self._clips), self._failed[stage])
