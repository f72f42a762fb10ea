"""Attempts: what a worker is at, so that an item that ends its worker is found and set aside.

A worker that dies takes its batch along; Ray starts another and gives it the same batch again, without end. So before
a worker begins, it leaves a marker in the run, and takes it away when it is through, whatever came out. A marker that
is still there says that the worker before died at this. Markers of earlier commands say nothing: there a kill, not the
item, may have ended everything.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.engine.fingerprint import input_digest
from pipeline.engine.rows import Quarantined
from pipeline.engine.watchdog import Watchdog
from pipeline.store.files import Files

FOLDER = "attempts"
DIED = "the worker died"


class Attempts:
    """The markers of one command, whose workers share a `session`."""

    def __init__(self, files: Files, session: str, watchdog: Watchdog) -> None:
        self._files = files
        self._session = session
        self._watchdog = watchdog

    @contextmanager
    def at(self, item: str, *, seconds: float, limit: int) -> Iterator[int]:
        """Work on an item inside the block, for so many seconds; gives the number of workers that died at it.

        May be nested. Raises Quarantined, with the last reason, where as many workers died at it as `limit` says.
        """
        deaths = 0
        while self._files.exists(self._marker(item, deaths)):
            deaths += 1
        if deaths >= limit:
            reason = f"quarantined at attempt {deaths} of {limit}: {self._reason(item, deaths - 1)}"
            raise Quarantined(reason, deaths=deaths)
        marker = self._marker(item, deaths)
        self._files.create(marker, json.dumps({"item": item, "pid": os.getpid()}).encode())
        try:
            with self._watchdog.over(seconds, self._reason_path(marker)):
                yield deaths
        finally:
            for number in range(deaths + 1):
                path = self._marker(item, number)
                self._files.remove(path)
                self._files.remove(self._reason_path(path))

    def _reason(self, item: str, number: int) -> str:
        path = self._reason_path(self._marker(item, number))
        return self._files.read(path).decode() if self._files.exists(path) else DIED

    def _marker(self, item: str, number: int) -> str:
        return f"{FOLDER}/{self._session}/{input_digest(item)}.{number}"

    @staticmethod
    def _reason_path(marker: str) -> str:
        return f"{marker}.reason"
