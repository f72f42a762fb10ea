"""Commands beside a single machine's: runs of several machines into one."""

from contextlib import ExitStack
from typing import Annotated

import typer

from pipeline.commands import Out
from schemas.errors import WorkFailed


def register(app: typer.Typer) -> None:
    """Add the commands to `humo`."""
    for command in (merge,):
        app.command()(command)


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
    from pipeline.engine.merge import merge as run
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
        done = run(into, others, accept_stale=accept_stale, progress=progress)
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
