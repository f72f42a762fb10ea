"""How far the sampling is: a bar on a terminal, a line a while in a log."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from humo.generation import OnStep

SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def step_progress(title: str) -> Iterator[OnStep]:
    """Gives the function that `humo.generation.sample` tells its steps. Everything goes to standard error."""
    console = Console(file=sys.stderr)
    if console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as progress:
            task = progress.add_task(title, total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total)
        return
    told = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal told
        if done == total or time.monotonic() - told >= SECONDS_BETWEEN_LINES:
            told = time.monotonic()
            print(f"{title}: step {done} of {total}", file=sys.stderr)

    yield tell
