"""What the curation commands print. Facts come as tables for people, or as JSON where asked."""

import json
import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

if TYPE_CHECKING:
    # Each command imports what it needs, and does not wait for what the others need.
    from pipeline.decide.funnel import Funnel
    from pipeline.diff import Diff
    from pipeline.status import Status

LINE_EVERY_S = 10.0

console = Console(highlight=False)


class ProgressView:
    """A bar on a terminal, a line a while in a log."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._began: dict[str, tuple[float, int]] = {}
        """Stage -> when it was first told of, and how many were done then."""
        self._last: dict[str, float] = {}

    def __enter__(self) -> "ProgressView":
        if console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[pace]}"),
            )
            self._bar = Progress(*columns, TimeElapsedColumn(), console=console)
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, stage: str, done: int, total: int, failed: int = 0, /) -> None:
        """Show that `done` of `total` are done, `failed` of them in vain."""
        now = time.monotonic()
        began, first = self._began.setdefault(stage, (now, done))
        pace = _pace(done - first, total - done, failed, now - began)
        if self._bar is not None:
            if stage not in self._tasks:
                self._tasks[stage] = self._bar.add_task(stage, total=total, pace="")
            self._bar.update(self._tasks[stage], completed=done, total=total, pace=pace)
        elif done == total or now - self._last.get(stage, -LINE_EVERY_S) > LINE_EVERY_S:
            self._last[stage] = now
            console.print(", ".join(part for part in (f"{stage}: {done} of {total}", pace) if part))


def _pace(done: int, left: int, failed: int, seconds: float) -> str:
    """Failures, and what can be said of the rate and the time left from what was done in these seconds."""
    said = [f"{failed} failed"] if failed else []
    if done and left and seconds:
        rate = done / seconds
        amount = f"{rate:.1f}/s" if rate >= 1 else f"{60 * rate:.1f}/min"
        said += [amount, f"{timedelta(seconds=round(left / rate))} left"]
    return ", ".join(said)


def print_json(facts: dict[str, Any]) -> None:
    """Facts for machines."""
    sys.stdout.write(json.dumps(facts, indent=1, default=str) + "\n")


def print_funnel(found: "Funnel") -> None:
    """The funnel as a table: what each rule left over."""
    table = Table(title="Funnel", title_justify="left")
    table.add_column("step")
    for name in ("passed", "failed", "unknown"):
        table.add_column(name, justify="right")
    table.add_row("sources", str(found.sources - found.failed_sources), str(found.failed_sources), "")
    table.add_row("shots", str(found.shots), "", "")
    table.add_row(f"clips ({found.clip_hours * 3600:.0f} s)", str(found.clips), "", "")
    for step in found.steps:
        table.add_row(f"{step.tier}: {step.rule}", str(step.passed), str(step.failed), str(step.unknown))
    console.print(table)
    kept, hours = found.kept, found.kept_hours
    console.print(
        f"kept: {kept['sync']} clips ({hours['sync'] * 3600:.0f} s) in the sync tier, "
        f"{kept['subject']} ({hours['subject'] * 3600:.0f} s) in the subject tier only; "
        f"{found.train} to train on, {found.val} for validation"
    )
    if found.clips and not sum(kept.values()):
        step = max(found.steps, key=lambda step: step.failed + step.unknown)
        console.print(
            f"Nothing is kept. Most clips were lost to: {step.rule}. 'humo report RUN' shows each clip and what it "
            "failed; 'humo decide RUN --dry-run --set decide.OPTION=VALUE' tries other rules",
            markup=False,
        )
    if found.val and not found.train:
        console.print(
            "Nothing is left to train on: all that is kept hangs together by person or source, and fell to validation. "
            "Add footage, or give --set decide.val_fraction=0"
        )


def print_status(found: "Status") -> None:
    """Tables, counts, decodes, cost, and what a re-run would do."""
    table = Table(title=f"{found.run}, snapshot {found.snapshot}", title_justify="left")
    table.add_column("table")
    for name in ("rows", "ok", "failed", "inapplicable"):
        table.add_column(name, justify="right")
    for row in found.tables:
        table.add_row(row.table, str(row.rows), str(row.ok), str(row.failed), str(row.inapplicable))
    console.print(table)
    decodes = ", ".join(f"{name} {count}" for name, count in found.decodes.items())
    console.print(f"decodes by pass: {decodes or 'none'}")
    computed = ", ".join(f"{name} {count}" for name, count in found.computed.items())
    console.print(f"computed by stage since the run began: {computed or 'nothing'}")
    seconds = ", ".join(f"{name} {amount:.1f}" for name, amount in found.seconds.items())
    console.print(f"processor seconds by stage: {seconds or 'none'}")
    for what, amounts in (("seconds by stage", found.wall), ("GPU seconds by stage", found.gpu)):
        if amounts:
            console.print(f"{what}: {', '.join(f'{name} {amount:.1f}' for name, amount in amounts.items())}")
    if found.seconds_per_kept_hour is not None:
        console.print(f"an hour of kept video cost {found.seconds_per_kept_hour:.0f} processor seconds")
        if found.gpu_seconds_per_kept_hour:
            console.print(f"and {found.gpu_seconds_per_kept_hour:.0f} GPU seconds")
    console.print("a re-run would compute: " + ("" if found.redo else "nothing"))
    for stage, again in found.redo.items():
        console.print(f"  {stage} ({again.sources}): {'; '.join(again.why)}", markup=False)
    for line in found.failures:
        console.print(f"failed: {line}", markup=False)


def print_diff(found: "Diff") -> None:
    """Counts by table, the first ids of each kind, and the options that differ."""
    for name, (one, other) in found.options.items():
        console.print(f"{name}: {one} -> {other}", markup=False)
    for one in found.differences:
        sides = f"{one.only_a} only in A, {one.only_b} only in B"
        console.print(f"{one.what}: {one.same} same, {one.changed} changed, {sides}")
        for kind, ids in (("changed", one.changed_ids), ("only A", one.only_a_ids), ("only B", one.only_b_ids)):
            if ids:
                console.print(f"  {kind}: {', '.join(ids[:3])}{', ...' if len(ids) > 3 else ''}", markup=False)
    if not found.options and not any(one.any for one in found.differences):
        console.print("no difference")


def print_trace(story: dict[str, Any]) -> None:
    """A clip's story, table by table."""
    # What came of it stands where one looks first, at the end.
    ends = ("references", "decisions", "verdicts", "shard")
    for table in sorted((table for table in story if story[table]), key=lambda table: table in ends):
        console.print(f"[bold]{table}[/bold]")
        for row in story[table]:
            facts = ", ".join(
                f"{name}={value}" for name, value in row.items() if name not in ("fingerprint", "attempt")
            )
            console.print(f"  {facts}", markup=False)
