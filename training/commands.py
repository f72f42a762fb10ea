"""The commands of training. Nothing heavy is imported until one runs."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from schemas.errors import UserError, WorkFailed


def register(app: typer.Typer) -> None:
    """Add `train`, `encode` and `estimate` to the `humo` command."""
    app.command("train")(train)
    app.command("encode")(encode)
    app.command("estimate")(estimate)


def train(
    config: Annotated[str, typer.Option(help="A YAML file, or the name of a shipped configuration, such as mini.")],
    data: Annotated[str, typer.Option(help="The shards' manifest.json, or the folder it lies in.")],
    out: Annotated[Path, typer.Option(help="Folder for checkpoints, logs and the trained model.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint in --out.")] = False,
    accept_changes: Annotated[
        bool, typer.Option("--accept-changes", help="Resume although the data or what is trained has changed.")
    ] = False,
    address: Annotated[
        str | None,
        typer.Option(help="Train on this Ray cluster; `auto`: this machine's, `local`: a new one."),
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="With --address: so many train together.")] = 1,
    change: Annotated[
        list[str] | None, typer.Option("--set", help="Change a setting: a.b=value. May be given again.")
    ] = None,
) -> None:
    """Train the model on shards, through all stages of a configuration.

    Started by `torchrun --no-python`, all processes train together; so they do on a Ray cluster, which also starts
    them anew when some die.
    """
    from training.config import load_config

    settings = load_config(config, change or [])

    given: dict[str, Any] = {"data": data, "out": out, "resume": resume, "accept_changes": accept_changes}
    if address is None:
        from training.trainer import train as run

        result = run(settings, **given)
    else:
        from training.ray_launch import train_on_ray

        result = train_on_ray(settings, **given, address=address, processes=processes)
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
    """Run the frozen encoders over shards once, so that training does not: latents, text and audio features.

    Started by `torchrun --no-python`, all processes deal the shards among them.
    """
    from training.config import load_config

    settings = load_config(config, change or [])

    from training.encode import encode as run

    done = run(settings, data=manifest, out=out)
    if done.tells:
        print(f"{done.manifest}: {done.samples} samples encoded in {done.seconds:.0f} s, {done.too_short} too short")
    if done.damaged:
        raise WorkFailed(f"{done.damaged} samples could not be used: see {out / 'damaged.jsonl'}")


def estimate(
    config: Annotated[str, typer.Option(help="A YAML file, or the name of a shipped configuration.")],
    model: Annotated[str, typer.Option(help="1.7b, 17b or mini: whose sizes.")],
    processes: Annotated[int, typer.Option(min=1, help="Devices that train together.")],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    change: Annotated[
        list[str] | None, typer.Option("--set", help="Change a setting: a.b=value. May be given again.")
    ] = None,
) -> None:
    """How much memory and time a training run takes, by calculation."""
    from training.config import load_config

    settings = load_config(config, change or [])

    from humo.presets import PRESETS
    from training.estimate import ASSUMED_MFU
    from training.estimate import estimate as calculate

    sizes = {str(name): preset for name, preset in PRESETS.items()}
    # Configurations are files, whose names have no point.
    model = model.replace("_", ".")
    if model not in sizes:
        raise UserError(f"no sizes are known of {model!r}: give one of {', '.join(sizes)}")
    stages = calculate(settings, sizes[model], processes)
    if as_json:
        print(json.dumps([asdict(stage) for stage in stages], indent=1))
        return
    print(f"calculated, at an assumed MFU of {ASSUMED_MFU:.0%}:")
    for stage in stages:
        print(stage.line())
