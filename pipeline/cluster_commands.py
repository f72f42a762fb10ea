"""Commands for work that outgrows a command or a machine: plans, runs of several machines into one, workflows."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands import Json, Out, Settings
from schemas.errors import WorkFailed


def register(app: typer.Typer) -> None:
    """Add the commands to `humo`."""
    for command in (plan, merge, run):
        app.command()(command)


def plan(
    config: Annotated[str, typer.Argument(help="A YAML file (sample, machines, prices), or the sample run itself")],
    hours: Annotated[
        list[float] | None, typer.Option(help="Hours of footage; may be given again. Default: 1e3, 1e6 and 1e8")
    ] = None,
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Machines, time, storage and money that so many hours of footage take, and what would break first."""
    from pipeline.capacity.config import read_plan
    from pipeline.capacity.estimate import estimate
    from pipeline.capacity.sample import measure
    from pipeline.capacity.show import print_estimates
    from pipeline.commands import open_run
    from pipeline.console import print_json
    from schemas.configuration import parse_settings

    asked = read_plan(config, parse_settings(settings or []))
    files, snapshot, options = open_run(asked.sample)
    sample = measure(files, snapshot, options)
    found = [estimate(sample, asked, each) for each in hours or (1e3, 1e6, 1e8)]
    if as_json:
        print_json({"estimates": [one.to_dict() for one in found]})
    else:
        print_estimates(found)


def merge(
    runs: Annotated[list[str], typer.Argument(help="Run folders")],
    out: Out,
    accept_stale: Annotated[
        bool, typer.Option("--accept-stale", help="Take sources too that other options or versions computed")
    ] = False,
) -> None:
    """Runs into one, without measuring anything again: rows and media are taken over, decisions and shards follow."""
    from pipeline.console import ProgressView, console, print_funnel
    from pipeline.decide.funnel import funnel
    from pipeline.engine.merge import merge as merged
    from pipeline.engine.run_file import resolve
    from pipeline.store.files import Files
    from pipeline.store.relations import Relations
    from pipeline.store.writer import writing

    into = Files(out)
    others = [Files(name) for name in dict.fromkeys(name.rstrip("/") for name in runs) if name != into.root]
    with ExitStack() as held, ProgressView() as progress:
        for files in (into, *others):
            files.check()
            held.enter_context(writing(files))
        done = merged(into, others, accept_stale=accept_stale, progress=progress)
    taken = ", ".join(f"{sources} of {name}" for name, sources in done.taken.items())
    console.print(f"sources: {taken}; {done.files} files taken over; snapshot {done.snapshot.number}", markup=False)
    for name, options in done.options.items():
        changed = ", ".join(f"{option} ({there} there)" for option, (_, there) in options.items())
        console.print(f"options of {name} that do not hold here: {changed}", markup=False)
    config = resolve(into, {})
    print_funnel(funnel(Relations(into, done.snapshot), config.decide))
    console.print(f"shards: {into.root}/shards/manifest.json")
    lines = [*done.stale, *(f"{id_}: where it lay, another run found another file" for id_ in done.displaced)]
    for line in lines:
        console.print(f"left out or stale: {line}", markup=False)
    if lines:
        raise WorkFailed(f"merged, with {len(lines)} things to look at")


def run(
    workflow: Annotated[Path, typer.Argument(help="A YAML file of steps")],
    approve: Annotated[str | None, typer.Option(help="A gate that is to pass; then go on")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show where each step stands, and do nothing")] = False,
    as_json: Json = False,
) -> None:
    """Do the steps of a workflow that are not done, in order; a gate waits until people approve."""
    from pipeline.console import console, print_json
    from pipeline.workflow.run import WorkflowRun

    going = WorkflowRun(workflow)
    if dry_run or as_json:
        states = going.states()
        if as_json:
            print_json({"steps": [state.to_dict() for state in states]})
            return
        for state in states:
            console.print(f"{state.name}: {state.state}{f' ({state.why})' if state.why else ''}", markup=False)
        return
    if approve is not None:
        going.approve(approve)
    going.run(lambda line: console.print(line, markup=False, soft_wrap=True))
