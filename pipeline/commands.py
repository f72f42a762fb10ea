"""The curation commands."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from schemas.errors import UserError, WorkFailed

if TYPE_CHECKING:
    from pipeline.config import CurateConfig
    from pipeline.store.files import Files
    from pipeline.store.snapshots import Snapshot

Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        help="Files, folders, globs, http(s)://, s3://, gs://, or lists of these (.txt, .csv, .jsonl, .parquet)"
    ),
]
Out = Annotated[str, typer.Option("--out", help="The run folder: a path or an fsspec address")]
Run = Annotated[str, typer.Argument(help="The run folder")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="section.option=value, over the configuration")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="A YAML file of options")]
Address = Annotated[str | None, typer.Option(help="A Ray cluster; none starts one here")]
Json = Annotated[bool, typer.Option("--json", help="Facts as JSON")]


def register(app: typer.Typer) -> None:
    """Add the commands to `humo`."""
    for command in (demo, curate, status, decide, pack, verify, diff, trace, report, doctor):
        app.command()(command)


def demo(out: Annotated[Path, typer.Option("--out", help="Where the film, the run and the model go")]) -> None:
    """Make a small film, curate it, train the mini model on it, and generate a video."""
    from pipeline.demo.line import run_demo

    run_demo(out)


def curate(
    inputs: Inputs = None,
    out: Out = "run",
    config: ConfigFile = None,
    settings: Settings = None,
    profile: Annotated[str | None, typer.Option(help="local or gpu")] = None,
    address: Address = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Take at most so many inputs")] = None,
) -> None:
    """Curate footage into shards; again with more inputs adds them, and only what is missing is computed."""
    from pipeline.engine.run_file import resolve
    from pipeline.engine.state import refuse_unfinished
    from pipeline.store.files import Files
    from pipeline.store.snapshots import latest
    from pipeline.store.writer import writing

    files = Files(out)
    files.check()
    over = _over(config, settings, {} if profile is None else {"profile": profile})
    resolve(files, over)
    if not inputs and latest(files).number == 0:
        raise UserError("nothing to curate: name files, folders, globs or lists")
    with writing(files):
        refuse_unfinished(files)
        curate_and_report(files, inputs or [], resolve(files, over), address=address, limit=limit)


def curate_and_report(
    files: "Files", inputs: list[str], config: "CurateConfig", *, address: str | None, limit: int | None
) -> None:
    """Curate and say what came of it. Raises WorkFailed where rows failed."""
    from pipeline.console import ProgressView, console, print_funnel
    from pipeline.decide.funnel import funnel
    from pipeline.engine.curate import curate as run
    from pipeline.store.relations import Relations

    with ProgressView() as progress:
        outcome = run(files, inputs, config, address=address, limit=limit, progress=progress)
    done = f"{outcome.sources} sources, {outcome.computed} of them computed now"
    console.print(f"{done}; snapshot {outcome.snapshot.number}")
    relations = Relations(files, outcome.snapshot)
    print_funnel(funnel(relations, config.decide))
    console.print(f"shards: {files.root}/shards/manifest.json")
    _report_failures(relations, outcome.gone, outcome.stale)


def status(run: Run, settings: Settings = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Stages, counts, failures, decodes, cost, and what a re-run would do: as the run is set, or with other options."""
    from pipeline.console import print_json, print_status
    from pipeline.engine.run_file import resolve
    from pipeline.status import status_of

    files, snapshot, _ = open_run(run)
    found = status_of(files, snapshot, resolve(files, _over(config, settings, {})))
    if as_json:
        print_json(found.to_dict())
    else:
        print_status(found)


def decide(
    run: Run,
    settings: Settings = None,
    config: ConfigFile = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show, and change nothing")] = False,
    as_json: Json = False,
) -> None:
    """Decide again from the tables; no model runs. Prints the funnel and what changed."""
    from pipeline.console import console, print_funnel, print_json
    from pipeline.engine.decide_again import decide_again
    from pipeline.engine.run_file import resolve
    from pipeline.engine.state import refuse_stale
    from pipeline.store.relations import Relations

    over = _over(config, settings, {})
    if over.keys() - {"decide"}:
        other = min(over.keys() - {"decide"})
        raise UserError(f"decide takes only options of its own section, such as decide.val_fraction: not {other!r}")
    with nullcontext(open_run(run)) if dry_run else open_to_write(run) as (files, snapshot, before):
        given = resolve(files, over)
        relations = Relations(files, snapshot)
        refuse_stale(relations, before)
        again = decide_again(relations, given, dry_run=dry_run)
    if as_json:
        print_json(again.to_dict())
        return
    print_funnel(again.funnel)
    for change in again.changes:
        examples = ", ".join(change.examples[:3]) + (", ..." if change.clips > 3 else "")
        counts = f"{change.clips} clips, {change.hours * 3600:.0f} s"
        console.print(f"{change.before} -> {change.after}: {counts} ({examples})", markup=False)
    console.print("nothing was written" if dry_run else f"now give: humo pack {run}")


def pack(run: Run) -> None:
    """Write shards and the manifest from the decisions."""
    from pipeline.console import console
    from pipeline.engine.packing import pack_into
    from pipeline.engine.sets import follow_verdicts
    from pipeline.engine.state import refuse_stale
    from pipeline.pack.manifest import newest_manifest
    from pipeline.store.relations import Relations
    from pipeline.store.snapshots import commit

    with open_to_write(run) as (files, snapshot, config):
        if "decisions" not in snapshot.sets:
            raise UserError(f"{run} has no decisions yet; run 'humo curate' first")
        relations = Relations(files, snapshot)
        refuse_stale(relations, config)
        decided = follow_verdicts(relations, config)
        relations.connection.close()
        commit(files, snapshot, pack_into(files, decided, config))
    manifest = newest_manifest(files)
    assert manifest is not None
    counts = f"{manifest.counts.samples} samples ({manifest.counts.seconds:.0f} s)"
    console.print(f"{counts} in {len(manifest.shards)} shards: {run}/shards/manifest.json")


def verify(address: Annotated[str, typer.Argument(help="A run folder or a manifest")]) -> None:
    """Check hashes, members, decodability, keys and splits of the shards."""
    from pipeline.console import console
    from pipeline.verify import load_manifest
    from pipeline.verify import verify as check

    files, manifest = load_manifest(address)
    problems = list(check(files, manifest))
    for problem in problems:
        console.print(problem, markup=False)
    if problems:
        raise WorkFailed(f"{len(problems)} problems")
    console.print(f"{manifest.counts.samples} samples in {len(manifest.shards)} shards are what the manifest says")


def diff(
    a: Annotated[str, typer.Argument(help="A run folder or a manifest")],
    b: Annotated[str, typer.Argument(help="Another of the same kind")],
    as_json: Json = False,
) -> None:
    """What two runs (rows of every table, options) or two manifests (samples) do not have in common."""
    from pipeline.console import print_diff, print_json
    from pipeline.diff import diff as difference_of

    found = difference_of(a, b)
    if as_json:
        print_json(found.to_dict())
    else:
        print_diff(found)


def trace(run: Run, key: Annotated[str, typer.Argument(help="A sample's key")], as_json: Json = False) -> None:
    """Where a clip came from, and every measurement and rule on the way."""
    from pipeline.console import print_json, print_trace
    from pipeline.store.relations import Relations
    from pipeline.trace import trace as story_of

    files, snapshot, _ = open_run(run)
    story = story_of(Relations(files, snapshot), key)
    if as_json:
        print_json(story)
    else:
        print_trace(story)


def report(run: Run) -> None:
    """Write the report: the funnel, and every clip with its frames, measurements and the rules it failed."""
    from pipeline.console import console
    from pipeline.report.write import write_report

    files, snapshot, config = open_run(run)
    write_report(files, snapshot, config)
    console.print(f"report: {run}/report/index.html")


def doctor(as_json: Json = False) -> None:
    """What this machine can run, what is missing, and how to get it."""
    from pipeline.console import print_json
    from pipeline.doctor import examine, print_findings

    findings = examine()
    if as_json:
        print_json({"findings": [finding.to_dict() for finding in findings]})
    else:
        print_findings(findings)


def _over(config: Path | None, settings: list[str] | None, more: dict[str, Any]) -> dict[str, Any]:
    from schemas.configuration import merged, parse_settings, read_yaml

    return merged(merged(read_yaml(config) if config else {}, parse_settings(settings or [])), more)


def open_run(run: str) -> "tuple[Files, Snapshot, CurateConfig]":
    """The run, its newest commit and its configuration. Raises UserError where there is none."""
    from pipeline.engine.run_file import resolve
    from pipeline.store.files import Files
    from pipeline.store.snapshots import latest

    files = Files(run)
    files.check()
    snapshot = latest(files)
    if snapshot.number == 0:
        raise UserError(f"{run} is no run folder: 'humo curate INPUT --out RUN' makes one")
    return files, snapshot, resolve(files, {})


@contextmanager
def open_to_write(run: str) -> "Iterator[tuple[Files, Snapshot, CurateConfig]]":
    """Like `open_run`, as things are while no other command writes: what was read before may be old by then.

    Raises UserError where another command writes.
    """
    from pipeline.store.writer import writing

    files, _, _ = open_run(run)
    with writing(files):
        yield open_run(run)


def _report_failures(relations: Any, gone: list[str], stale: list[str]) -> None:
    from pipeline.console import console
    from pipeline.status import failures, table_status
    from schemas.tables import TABLES

    places = [*stale, *(f"the file is gone or was changed, give it as an input again: {path}" for path in gone)]
    failed = {name: count for name in TABLES if (count := table_status(relations, name).failed)}
    for line in (*failures(relations, list(failed)), *places):
        console.print(f"failed: {line}", markup=False)
    if count := sum(failed.values()) + len(places):
        again = f"'humo retry {shlex.quote(relations.files.root)}' tries them again"
        raise WorkFailed(f"done, with {count} failure{'s' if count > 1 else ''} on record; {again}")
