"""Commands that look after a run (failed rows again, what must go, what nobody needs), and after the weights."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands import Address, Run, curate_and_report, open_run, open_to_write
from pipeline.weights.commands import fetch
from schemas.errors import UserError


def register(app: typer.Typer) -> None:
    """Add the commands to `humo`."""
    for command in (review, retry, takedown, clean, fetch):
        app.command()(command)


def review(
    run: Run,
    port: Annotated[int, typer.Option(min=0, max=65535, help="On this machine; 0 takes a free one")] = 8790,
    csv: Annotated[Path | None, typer.Option(help="Write all verdicts into this file instead, and end")] = None,
) -> None:
    """Look at every clip in a browser, kept or rejected, try other thresholds, and say what is right and wrong."""
    import asyncio

    from pipeline.console import console
    from pipeline.review.server import serve
    from pipeline.review.session import Session
    from pipeline.verdicts.export import as_csv
    from pipeline.verdicts.fold import all_verdicts

    files, snapshot, _ = open_run(run)
    if csv is not None:
        if not csv.parent.is_dir():
            raise UserError(f"there is no folder {csv.parent} for --csv")
        csv.write_text(as_csv(all_verdicts(files, snapshot)), encoding="utf-8", newline="")
        console.print(f"verdicts: {csv}", markup=False)
        return

    def tell(address: str) -> None:
        console.print(f"open {address}", markup=False, soft_wrap=True)
        console.print("End with Ctrl-C. What was said is kept; 'humo decide' and 'humo pack' follow it.")

    path = files.local_path("")
    session = Session(files)
    try:
        asyncio.run(serve(session, path.resolve().name if path else files.root, port=port, tell=tell))
    except KeyboardInterrupt:
        console.print("ended")
    finally:
        session.close()


def retry(
    run: Run,
    stage: Annotated[str | None, typer.Option(help="Of this stage only; crawl: what could not be fetched")] = None,
    error: Annotated[str | None, typer.Option(help="Only sources with a reason that contains this text")] = None,
    address: Address = None,
) -> None:
    """Compute failed rows again, and what stands on them; everything else stays as it is."""
    from pipeline.console import console
    from pipeline.engine.retry import with_retries
    from pipeline.store.relations import Relations
    from pipeline.store.snapshots import commit

    with open_to_write(run) as (files, snapshot, config):
        again, rows = with_retries(snapshot, Relations(files, snapshot), stage=stage, error=error)
        commit(files, snapshot, again)
        console.print(f"{rows} failed rows are tried again")
        if rows:
            curate_and_report(files, [], config, address=address, limit=None)


def takedown(
    run: Run,
    source: Annotated[str | None, typer.Option(help="A source's id")] = None,
    identity: Annotated[str | None, typer.Option(help="A person, as 'humo trace' names them")] = None,
    sample: Annotated[str | None, typer.Option(help="A sample's key")] = None,
) -> None:
    """Remove a source, a person or a sample from rows, media and shards; it does not come back with the next run."""
    from pipeline.console import console
    from pipeline.engine.takedown import take_down

    with open_to_write(run) as (files, snapshot, config):
        removed = take_down(files, snapshot, config, source=source, identity=identity, sample=sample)
    console.print(f"gone: clips {removed.clips}, files {removed.files}; the report too, write it again")
    console.print(
        "What 'humo encode' made of these shards still holds what was removed: delete it, and encode the new shards"
    )
    for key in removed.copies:
        console.print(f"still there, a copy of what was removed: {key}", markup=False)


def clean(
    run: Run,
    keep: Annotated[int, typer.Option(min=1, help="So many of the newest manifests keep their shards")] = 3,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show, and delete nothing")] = False,
    alone: Annotated[
        bool, typer.Option("--alone", help="For a run on object storage: nobody else writes to it")
    ] = False,
) -> None:
    """Delete what no commit needs: superseded parts and snapshots, media that no row names, shards of old manifests."""
    from pipeline.console import console
    from pipeline.engine.clean import leftovers
    from pipeline.engine.fetching import sweep_fetching
    from pipeline.engine.state import refuse_unfinished

    if not (alone or dry_run) and open_run(run)[0].local_path("") is None:
        raise UserError(f"{run} has no lock; make sure that no other command writes to it, then add --alone")
    count = size = 0
    with open_to_write(run) as (files, snapshot, _):
        refuse_unfinished(files)
        if not dry_run:
            files.sweep()
            sweep_fetching(files)
        for path in leftovers(files, snapshot, keep_manifests=keep):
            count += 1
            size += files.size(path)
            if not dry_run:
                files.remove(path)
    console.print(f"{count} files, {size / 2**20:.1f} MB {'would be' if dry_run else 'were'} deleted")
