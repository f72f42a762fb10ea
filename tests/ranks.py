"""Several processes of one run, as torchrun would start them, but forked from one that has imported what they need.

That one is no process of tests: what those leave behind, threads of several libraries above all, is not safe to fork.
"""

import multiprocessing
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Any

import torch

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["training.trainer", "training.encode", "humo.mini.model", "pandas", "cv2", "pytest"])


def start_ranks(count: int, target: Callable[..., Any], *arguments: Any) -> list[BaseProcess]:
    """Begin `target(*arguments)` in `count` processes that find each other by their environment.

    What a test has patched in its own process is not patched there.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ranks: list[BaseProcess] = []
    for rank in range(count):
        names = {"RANK": rank, "WORLD_SIZE": count, "LOCAL_RANK": rank, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        ranks.append(CONTEXT.Process(target=_run, args=(names, target, arguments)))
        ranks[-1].start()
    return ranks


def run_ranks(count: int, target: Callable[..., Any], *arguments: Any, seconds: float = 240) -> None:
    """Wait until all are done. Raises AssertionError where one failed."""
    with killed_at_last(start_ranks(count, target, *arguments)) as ranks:
        for rank in ranks:
            rank.join(seconds)
        assert [rank.exitcode for rank in ranks] == [0] * count


@contextmanager
def killed_at_last(ranks: list[BaseProcess]) -> Iterator[list[BaseProcess]]:
    """Whatever happens inside, none of them lives on."""
    try:
        yield ranks
    finally:
        for rank in ranks:
            rank.kill()
            rank.join()


def _run(names: dict[str, object], target: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    os.environ.update({name: str(value) for name, value in names.items()})
    torch.set_num_threads(1)
    target(*arguments)
