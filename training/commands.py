"""The commands of training. Nothing heavy is imported until one runs."""

from pathlib import Path
from typing import Annotated

import typer

from schemas.errors import WorkFailed


def register(app: typer.Typer) -> None:
    """Add `train` and `encode` to the `humo` command."""
    app.command("train")(train)
    app.command("encode")(encode)


def train(
    config: Annotated[str, typer.Option(help="A YAML file, or the name of a shipped configuration, such as mini.")],
    data: Annotated[str, typer.Option(help="The shards' manifest.json, or the folder it lies in.")],
    out: Annotated[Path, typer.Option(help="Folder for checkpoints, logs and the trained model.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint in --out.")] = False,
    accept_changes: Annotated[
        bool, typer.Option("--accept-changes", help="Resume although the data or what is trained has changed.")
    ] = False,
    change: Annotated[
        list[str] | None, typer.Option("--set", help="Change a setting: a.b=value. May be given again.")
    ] = None,
) -> None:
    """Train the model on shards, through all stages of a configuration.

    Started by `torchrun --no-python`, all processes train together.
    """
    from training.config import load_config

    settings = load_config(config, change or [])

    from training.trainer import train as run

    result = run(settings, data=data, out=out, resume=resume, accept_changes=accept_changes)
    if result.tells:
        print(f"trained {result.steps} steps in {result.seconds:.0f} s; the model lies in {result.model}")
        for swap in result.swaps:
            print(swap.line())
    if result.damaged:
        raise WorkFailed(f"{result.damaged} samples could not be used: see {out / 'damaged.jsonl'}")


def encode(
    manifest: Annotated[str, typer.Argument(help="The shards' manifest.json, or the folder it lies in.")],
    out: Annotated[Path, typer.Option(help="Folder for the encoded shards and their manifest.")],
    config: Annotated[str, typer.Option(help="The configuration that will train on them.")] = "mini",
    change: Annotated[
        list[str] | None, typer.Option("--set", help="Change a setting: a.b=value. May be given again.")
    ] = None,
) -> None:
    """Run the frozen encoders over shards once, so that training does not: latents, text and audio features."""
    from training.config import load_config

    settings = load_config(config, change or [])

    from training.encode import encode as run

    done = run(settings, data=manifest, out=out)
    print(f"{done.manifest}: {done.samples} samples encoded in {done.seconds:.0f} s, {done.too_short} are too short")
    if done.damaged:
        raise WorkFailed(f"{done.damaged} samples could not be used: see {out / 'damaged.jsonl'}")
