"""The command that brings weights."""

from typing import Annotated

import typer


def fetch(
    names: Annotated[list[str], typer.Argument(help="Weights by name, as 'humo doctor' lists them")],
) -> None:
    """Bring weights into the cache: named ones only, checked, resumed where a download broke off."""
    from pipeline.console import console
    from pipeline.weights.fetch import fetch as bring
    from pipeline.weights.table import weight_named

    wanted = [weight_named(name) for name in names]
    for weight in wanted:
        note = f", {weight.licence_note}" if weight.licence_note else ""
        console.print(f"{weight.name}: {weight.licence}{note}; {weight.source}", markup=False)
        folder = bring(weight, lambda line: console.print(f"  {line}", markup=False))
        console.print(f"  whole and checked: {folder}", markup=False)
