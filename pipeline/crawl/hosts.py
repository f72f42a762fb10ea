"""Turns of a host: how many downloads it serves at once, and how long it asked to be left alone."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

LONGEST_WAIT_S = 300.0
"""A host that asks for more patience than this is left for another day."""


class _Host:
    def __init__(self, at_once: int) -> None:
        self.turns = asyncio.Semaphore(at_once)
        self.closed_until = 0.0


class Hosts:
    """The hosts of one event loop. A host that nobody waits for is forgotten, so that a crawl of many stays small."""

    def __init__(self, *, per_host: int, connections: int) -> None:
        self._per_host = per_host
        self._connections = asyncio.Semaphore(connections)
        self._hosts: WeakValueDictionary[str, _Host] = WeakValueDictionary()

    @asynccontextmanager
    async def turn(self, host: str) -> AsyncIterator[None]:
        """Wait for the host's turn, then for one of all connections: a busy host keeps no other waiting."""
        one = self._hosts.setdefault(host, _Host(self._per_host))
        async with one.turns:
            while (wait_s := one.closed_until - time.monotonic()) > 0:
                await asyncio.sleep(wait_s)
            async with self._connections:
                yield

    def close_for(self, host: str, seconds: float) -> None:
        """Begin no further download from this host for so long; does nothing for more than LONGEST_WAIT_S."""
        if seconds <= LONGEST_WAIT_S and (one := self._hosts.get(host)) is not None:
            one.closed_until = max(one.closed_until, time.monotonic() + seconds)
