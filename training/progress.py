"""What a run shows while it works: a bar on a terminal, a line a while in a log, and every step's numbers on file."""

import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 15.0
_SMOOTHING = 0.05


@dataclass(frozen=True)
class StepRecord:
    """One optimizer step, a line of `log.jsonl`. After a resume a step may stand there twice; the later line holds."""

    step: int
    stage: str
    loss: float
    """Velocity loss over the valid samples."""
    loss_subject: float | None
    """Over the subject samples only; None if there was none."""
    loss_sync: float | None
    """Over the sync samples only; None if there was none."""
    loss_bands: tuple[float | None, ...]
    """Over the samples with s in [0, 1/4), [1/4, 1/2), ...: from little noise to much."""
    mask_loss: float
    gradient_norm: float
    """Before clipping."""
    learning_rate: float
    valid: int
    """Samples that counted."""
    samples: str
    """Digest of what stood in the step's slots on all processes: keys, windows, times and what was dropped."""
    skipped: str | None
    """Why the step left the weights as they were; None where it did not."""
    seconds: float
    """Of the first process, from asking for the batch to the update; validation and checkpoints come after."""
    waited: float
    """Of these seconds, spent waiting for the loader."""


class ProgressLog:
    """Shows and stores the steps, if this process is the one to tell. A context manager."""

    def __init__(self, path: Path, *, total: int, done: int, tells: bool) -> None:
        self._tells = tells
        self._file = (path if tells else Path(os.devnull)).open("a", encoding="utf-8")
        self._total = total
        self._smooth: float | None = None
        self._last_line = time.monotonic()
        self._first, self._began = done, time.monotonic()
        console = Console(file=sys.stderr)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[loss]}"),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=console) if tells and console.is_terminal else None
        self._task = self._bar.add_task("training", total=total, completed=done, loss="") if self._bar else None

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()
        self._file.close()

    def say(self, line: str) -> None:
        """One line for whoever watches."""
        if not self._tells:
            return
        if self._bar:
            self._bar.console.print(line, highlight=False, markup=False)
        else:
            print(line, file=sys.stderr, flush=True)

    def add(self, record: StepRecord) -> None:
        """Take one step in."""
        self._file.write(json.dumps(asdict(record)) + "\n")
        self._file.flush()
        old = record.loss if self._smooth is None else self._smooth
        self._smooth = old + _SMOOTHING * (record.loss - old)
        done = record.step + 1
        if self._bar and self._task is not None:
            self._bar.update(
                self._task, completed=done, description=f"stage {record.stage}", loss=f"loss {self._smooth:.4f}"
            )
        elif time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES or done == self._total:
            self._last_line = time.monotonic()
            pace = (done - self._first) / max(time.monotonic() - self._began, 1e-9)
            left = (self._total - done) / pace
            self.say(f"step {done}/{self._total}, stage {record.stage}, loss {self._smooth:.4f}, {left:.0f} s left")
