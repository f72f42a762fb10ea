"""The commands of evaluation. Nothing heavy is imported until one runs."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from schemas.errors import UserError, WorkFailed

Json = Annotated[bool, typer.Option("--json", help="As JSON.")]


def register(app: typer.Typer) -> None:
    """Add `cases`, `evaluate`, `compare` and `vote` to the `humo` command."""
    for command in (cases, evaluate, compare, vote):
        app.command()(command)


def cases(
    manifest: Annotated[str, typer.Argument(help="The shards' manifest.json, or the folder it lies in.")],
    out: Annotated[Path, typer.Option(help="The folder to write the benchmark set into.")],
    trained: Annotated[
        Path | None, typer.Option(help="A training run's folder: ask for what it did not see, and check it.")
    ] = None,
    trained_data: Annotated[
        str | None, typer.Option(help="That run's shards, where the cases are from others.")
    ] = None,
    accept: Annotated[
        list[str] | None,
        typer.Option(help="identity, source or near-duplicate: take a leak of this kind, and have it told."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Take at most so many samples.")] = None,
) -> None:
    """Make a benchmark set of held-out samples; refused where it shares anything with training."""
    from training.evaluation.cases.benchmark import KINDS, Kind
    from training.evaluation.cases.from_shards import choose, make_set

    accepted: list[Kind] = [kind for kind in KINDS if kind in (accept or [])]
    for name in accept or []:
        if name not in KINDS:
            raise UserError(f"--accept {name}: the kinds of leaks are {', '.join(KINDS)}")
    made = make_set(choose(manifest, trained=trained, trained_data=trained_data), out, accepted=accepted, limit=limit)
    print(f"{out}: {len(made.cases)} cases ({made.made_from}), fingerprint {made.fingerprint}")
    for check in made.checks:
        print(f"shared {check.kind}: {check.detail}{' (accepted)' if check.accepted else ''}")


def evaluate(
    cases: Annotated[Path, typer.Option(help="A benchmark set, or a JSON file in HuMo's test_case.json form.")],
    out: Annotated[Path, typer.Option(help="The folder of the evaluation; given again, it goes on.")],
    model: Annotated[Path | None, typer.Option(help="Folder of the model that makes the videos.")] = None,
    videos: Annotated[
        Path | None, typer.Option(help="Folder with a video CASE.mp4 for every case, of any model, to be measured.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the noise, which is another for every case.")] = 0,
    steps: Annotated[int | None, typer.Option(min=1, help="Sampling steps; the model's own without.")] = None,
    size: Annotated[str | None, typer.Option(help="HEIGHTxWIDTH where a case does not say.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that share the cases.")] = 1,
    address: Annotated[str | None, typer.Option(help="A Ray cluster; none starts one here.")] = None,
    config: Annotated[Path | None, typer.Option(help="A YAML file: which backends measure.")] = None,
    change: Annotated[
        list[str] | None, typer.Option("--set", help="Change an option: a.b=value. May be given again.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make the videos of a benchmark set and measure them, or measure videos that exist."""
    from schemas.configuration import merged, parse_settings, read_yaml, validated
    from training.evaluation.config import EvaluationConfig
    from training.evaluation.evaluate import Wanted
    from training.evaluation.evaluate import evaluate as run
    from training.evaluation.summary import summarise, told_mean

    if (model is None) == (videos is None):
        raise UserError("give either --model, which makes the videos, or --videos, which are there")
    raw = merged({} if config is None else read_yaml(config), parse_settings(change or []))
    settings = validated(EvaluationConfig, raw, where="evaluate")
    wanted = Wanted(
        cases=cases, out=out, model=model, videos=videos, config=settings, seed=seed, steps=steps, size=size
    )
    done = run(wanted, workers=workers, address=address)
    lines = summarise(done)
    failed = [row for row in done.rows.values() if row.status == "failed"]
    if as_json:
        print(json.dumps([asdict(line) for line in lines], indent=1))
    else:
        for line in lines:
            cause = f"  ({line.cause})" if line.cause else ""
            print(f"{line.about.title:22} {told_mean(line)}{cause}")
        for warning in done.asked["warnings"]:
            print(f"mind: {warning}")
        for row in failed:
            print(f"{row.case}: {row.error}")
    if failed:
        raise WorkFailed(f"{len(failed)} of {len(done.rows)} cases have no numbers: see {out / 'table.csv'}")


def compare(
    evaluations: Annotated[
        list[str], typer.Argument(help="Evaluations' folders, the first the baseline; NAME=FOLDER names one.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Also write a page to look at, and to vote on, into this folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Which evaluation is better, by how much, and how surely: means, paired differences, intervals."""
    from training.evaluation.folder import read_evaluation
    from training.evaluation.page.write import write_page
    from training.evaluation.summary import compare as run
    from training.evaluation.summary import markdown, not_measured, sentence

    read = {}
    for given in evaluations:
        name, equals, folder = given.partition("=")
        path = Path(folder if equals else given)
        label = name if equals else path.name
        if label in read:
            raise UserError(f"two evaluations are called {label}: name them, NAME=FOLDER")
        read[label] = read_evaluation(path)
    table = run(read)
    if as_json:
        facts = [asdict(one) | {"verdict": one.verdict} for one in table.comparisons]
        told = {"sentences": [sentence(table, name) for name in table.names[1:]], "comparisons": facts}
        print(json.dumps(told, indent=1))
    else:
        print(markdown(table))
        for line in not_measured(table):
            print(line)
        for warning in next(iter(read.values())).asked["warnings"]:
            print(f"mind: {warning}")
    if out is not None:
        write_page(read, table, out)
        print(f"look: {out / 'index.html'}; vote: humo vote {out}")


def vote(
    page: Annotated[Path, typer.Argument(help="A page that `humo compare --out` wrote.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 0,
    tally: Annotated[bool, typer.Option("--tally", help="Only count the votes that are saved.")] = False,
) -> None:
    """Serve a page on this machine and save blind votes; counts them at the end."""
    from training.evaluation.page.votes import count_votes

    if not tally:
        from training.evaluation.page.serve import serve

        serve(page, port=port, tell=print)
    for line in count_votes(page):
        print(line.words())
