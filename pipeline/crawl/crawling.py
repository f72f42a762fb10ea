"""Many places at once: a window of fetches that is filled as results leave it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from pipeline.crawl.failure import FetchFailed
from pipeline.crawl.fetch import Fetched, Fetcher, Unchanged
from pipeline.crawl.hosts import Hosts
from pipeline.crawl.places import Place
from pipeline.stages.crawl import CrawlConfig, etag_of

Tag = TypeVar("Tag")

WAITING = 16
"""Places that wait, for each connection: so that one slow host among them does not keep the others idle."""

NO_VERSION = "none"
"""The etag of a file of which the other side names no version. It is not fetched twice."""

Outcome = Fetched | Unchanged | FetchFailed


def crawled(
    places: Iterator[tuple[Place, str, Tag]], config: CrawlConfig, *, folder: Path
) -> Iterator[tuple[Place, Tag, Outcome]]:
    """What became of each place, as it becomes known. Fetched files are in `folder`, and the caller's.

    Args:
        places: each with the etag of the version that is here already ("" where none is), and whatever the caller wants
            back. Read as there is room; never held whole.
        config: limits.
        folder: where files go.
    """
    with asyncio.Runner() as runner:
        hosts = Hosts(per_host=config.per_host, connections=config.connections)
        fetcher = runner.run(Fetcher(config, hosts, folder).__aenter__())
        running: dict[asyncio.Task[Outcome], tuple[Place, Tag]] = {}
        try:
            more = True
            while more or running:
                while more and len(running) < WAITING * config.connections:
                    found = next(places, None)
                    if found is None:
                        more = False
                        break
                    place, known, tag = found
                    task = runner.get_loop().create_task(_outcome(fetcher, place, known))
                    running[task] = place, tag
                if running:
                    for task in runner.run(_first(set(running))):
                        yield *running.pop(task), task.result()
        finally:
            for task in running:
                task.cancel()
            runner.run(fetcher.__aexit__(None, None, None))


async def _first(tasks: set[asyncio.Task[Outcome]]) -> set[asyncio.Task[Outcome]]:
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    return done


async def _outcome(fetcher: Fetcher, place: Place, known: str) -> Outcome:
    if place.refusal is not None:
        return FetchFailed("BadAddress", place.refusal)
    if known == NO_VERSION:
        return Unchanged()
    if place.path is None:
        return await fetcher.fetch(place.uri, known=known)
    if known and _etag(place.path) == known:
        return Unchanged()
    return await fetcher.hash_file(place.path)


def _etag(path: Path) -> str:
    try:
        return etag_of(path)
    except OSError:
        return ""
