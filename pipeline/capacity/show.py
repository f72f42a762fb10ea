"""A plan as people read it."""

from rich.table import Table

from pipeline.capacity.estimate import Estimate
from pipeline.console import console


def print_estimates(found: list[Estimate]) -> None:
    """A column for each number of hours."""
    table = Table(title="Calculated from the sample run", title_justify="left")
    table.add_column("hours of footage")
    for one in found:
        table.add_column(f"{one.hours:,.0f}", justify="right")
    for name in dict.fromkeys(stage for one in found for stage in one.seconds):
        table.add_row(f"core-hours: {name}", *(_number(one.seconds.get(name, 0) / 3600) for one in found))
    for name in dict.fromkeys(stage for one in found for stage in one.gpu_seconds):
        table.add_row(f"GPU-hours: {name}", *(_number(one.gpu_seconds[name] / 3600) for one in found))
    table.add_section()
    for name in found[0].phases:
        table.add_row(f"hours: {name}", *(_number(one.phases[name]) for one in found))
    table.add_row("hours in all", *(_number(one.hours_taken) for one in found))
    table.add_row("bottleneck", *(one.bottleneck for one in found))
    table.add_row("cores for the days asked", *(_cores(one.cores_to_ask_for) for one in found))
    table.add_section()
    for name in dict.fromkeys(kind for one in found for kind in one.storage_gb):
        table.add_row(f"GB: {name}", *(_number(one.storage_gb[name]) for one in found))
    for name in found[0].counts:
        table.add_row(name, *(f"{one.counts[name]:,}" for one in found))
    table.add_row("hours kept", *(_number(one.kept_hours) for one in found))
    table.add_section()
    for name in found[0].bill:
        table.add_row(f"bill: {name}", *(_number(one.bill[name]) for one in found))
    table.add_row("bill in all", *(_number(sum(one.bill.values())) for one in found))
    console.print(table)
    console.print("What breaks first, and the answer:")
    for limit in found[0].breaks:
        console.print(f"  at {limit.at_hours:,.0f} hours {limit.what}: {limit.answer}", markup=False, soft_wrap=True)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _cores(cores: int | None) -> str:
    return "no number is enough" if cores is None else f"{cores:,}"
