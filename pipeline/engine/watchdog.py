"""Ends a worker that takes too long or too much memory: the only way to stop code that does not come back."""

import faulthandler
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

from pipeline.store.files import Files

CHECK_EVERY_S = 0.25
MARGIN_S = 60.0
"""After its time a worker that could not even be told so is ended all the same; it leaves no word, but a traceback."""
STANDARD_ERROR = 2


@dataclass(frozen=True)
class _Watched:
    until: float
    seconds: float
    reason_path: str


class Watchdog:
    """Watches this process from a thread while it is at something; ended, it leaves word of why."""

    def __init__(self, files: Files, *, memory_mb: int) -> None:
        self._files = files
        self._memory_mb = memory_mb
        self._watched: tuple[_Watched, ...] = ()
        self._process = psutil.Process()
        threading.Thread(target=self._watch, daemon=True, name="watchdog").start()

    @contextmanager
    def over(self, seconds: float, reason_path: str | None = None) -> Iterator[None]:
        """End the process unless the block ends within so many seconds; the reason goes to this file of the run.

        Inside another block the inner one's time counts, and the outer one's clock stands still; without a file of
        its own the inner one uses the outer one's.
        """
        began = time.monotonic()
        outer = self._watched
        path = reason_path or outer[-1].reason_path
        self._set((*outer, _Watched(began + seconds, seconds, path)))
        try:
            yield
        finally:
            spent = time.monotonic() - began
            self._set(tuple(_Watched(one.until + spent, one.seconds, one.reason_path) for one in outer))

    def _set(self, watched: tuple[_Watched, ...]) -> None:
        self._watched = watched
        if not watched:
            faulthandler.cancel_dump_traceback_later()
            return
        # The thread below needs Python's lock, which code outside Python may never give back. This one does not.
        left = max(watched[-1].until - time.monotonic(), 0)
        faulthandler.dump_traceback_later(left + MARGIN_S, exit=True, file=STANDARD_ERROR)

    def _watch(self) -> None:
        while True:
            time.sleep(CHECK_EVERY_S)
            if not (watched := self._watched):
                continue
            at = watched[-1]
            if time.monotonic() > at.until:
                self._end(at, f"no result within {at.seconds:g} s")
            if self._process.memory_info().rss > self._memory_mb << 20:
                self._end(at, f"the worker's memory passed {self._memory_mb} MB")

    def _end(self, at: _Watched, reason: str) -> None:
        try:
            self._files.replace(at.reason_path, reason.encode())
        finally:
            os._exit(1)
