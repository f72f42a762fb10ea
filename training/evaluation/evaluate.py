"""One evaluation: a model's videos, or videos that exist, on a benchmark set."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from humo.progress import step_progress
from schemas.errors import UserError
from training.evaluation.cases.benchmark import Case, read_set
from training.evaluation.config import EvaluationConfig
from training.evaluation.folder import Evaluation, begin, model_digest, read_evaluation, write_summary, write_table
from training.evaluation.metrics.registry import all_about
from training.evaluation.spread import rows
from training.evaluation.summary import summarise
from training.evaluation.worker import Assignment


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What to evaluate. One of `model` and `videos` is given."""

    cases: Path
    out: Path
    model: Path | None
    videos: Path | None
    config: EvaluationConfig
    seed: int
    steps: int | None
    size: str | None


def evaluate(wanted: Wanted, *, workers: int, address: str | None) -> Evaluation:
    """Do what is missing in `out`, and write its tables.

    Raises UserError for wrong inputs, and where `out` holds another evaluation.
    """
    case_set, folder = read_set(wanted.cases)
    if wanted.model is not None:
        from humo.checkpoints import read_index

        read_index(wanted.model)
    if wanted.videos is not None and not wanted.videos.is_dir():
        raise UserError(f"there is no folder {wanted.videos}: it is to hold a video CASE.mp4 for every case")
    begin(
        wanted.out,
        {
            "set": {"name": case_set.name, "fingerprint": case_set.fingerprint, "made_from": case_set.made_from},
            "warnings": case_set.warnings,
            "cases": {case.name: _shown(case, folder) for case in case_set.cases},
            "model": None if wanted.model is None else model_digest(wanted.model),
            "videos": None if wanted.videos is None else str(wanted.videos.absolute()),
            "generation": {"seed": wanted.seed, "steps": wanted.steps, "size": wanted.size},
            "metrics": [asdict(about) for about in all_about(wanted.config)],
        },
    )
    assignment = Assignment(
        out=wanted.out.absolute(),
        cases=folder.absolute(),
        model=None if wanted.model is None else wanted.model.absolute(),
        videos=(wanted.videos or wanted.out / "videos").absolute(),
        config=wanted.config,
        seed=wanted.seed,
        steps=wanted.steps,
        size=wanted.size,
    )
    with step_progress("cases") as on_case:
        for done, _ in enumerate(rows(assignment, case_set.cases, workers=workers, address=address), start=1):
            on_case(done, len(case_set.cases))
    evaluation = read_evaluation(wanted.out)
    write_table(evaluation)
    write_summary(evaluation, summarise(evaluation))
    return evaluation


def _shown(case: Case, folder: Path) -> dict[str, Any]:
    """What a page shows of a case."""
    return {
        "text": case.text,
        "references": [str((folder / file.path).absolute()) for file in case.references],
        "speech": None if case.speech is None else str((folder / case.speech.path).absolute()),
        "video": None if case.video is None else str((folder / case.video.path).absolute()),
    }
