"""Many places fetched at once: a bounded window slides over them, so that they may be more than memory holds."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from pipeline.crawl.fetch import Asked, Fetcher, Keeping, Outcome
from pipeline.stages.options.crawl import CrawlConfig

WAITING_PER_CONNECTION = 16
"""Places read ahead: where one host is slow, others are found among them."""

SPARE_THREADS = 8


A = TypeVar("A", bound=Asked)


def fetch_all(asked: Iterator[A], config: CrawlConfig, keeping: Keeping) -> Iterator[tuple[A, Outcome]]:
    """Every place with what came of it, as each is done. A place that is named again waits for its first turn to end.

    Nothing is fetched while the caller works at a result, except what the system's buffers take.
    """
    with asyncio.Runner() as runner:
        fetcher = runner.run(_opened(config, keeping))
        running: dict[asyncio.Task[Outcome], A] = {}
        held: A | None = None
        try:
            while True:
                uris = {one.place.uri for one in running.values()}
                while len(running) < WAITING_PER_CONNECTION * config.connections:
                    held = held or next(asked, None)
                    if held is None or held.place.uri in uris:
                        break
                    uris.add(held.place.uri)
                    running[runner.get_loop().create_task(fetcher(held))] = held
                    held = None
                if not running:
                    return
                for task in runner.run(_some(set(running))):
                    yield running.pop(task), task.result()
        finally:
            runner.run(_end(fetcher, set(running)))


async def _opened(config: CrawlConfig, keeping: Keeping) -> Fetcher:
    # Names are resolved by threads too: they must not wait for files that are read or written by others.
    threads = ThreadPoolExecutor(config.connections + SPARE_THREADS)
    asyncio.get_running_loop().set_default_executor(threads)
    return Fetcher(config, keeping)


async def _some(tasks: set[asyncio.Task[Outcome]]) -> set[asyncio.Task[Outcome]]:
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    return done


async def _end(fetcher: Fetcher, tasks: set[asyncio.Task[Outcome]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await fetcher.close()
