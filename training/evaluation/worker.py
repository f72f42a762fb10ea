"""Makes and measures the video of one case after another; what a process of an evaluation does."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from humo.cases import Request
from schemas.errors import UserError
from training.evaluation.cases.benchmark import Case, located, seed_of, sha256
from training.evaluation.clip import BrokenVideo, Faces, read_clip
from training.evaluation.config import EvaluationConfig
from training.evaluation.folder import Row, read_row, write_row
from training.evaluation.materials import Materials, read_materials
from training.evaluation.metrics.metric import Metric, NotMeasured
from training.evaluation.metrics.registry import build


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """What a worker needs to know. It travels to other processes."""

    out: Path
    cases: Path
    """The folder that the cases' paths are relative to."""
    model: Path | None
    """Makes the videos; None where they exist."""
    videos: Path
    """Where they lie, or come to lie."""
    config: EvaluationConfig
    seed: int
    steps: int | None
    size: str | None


class Worker:
    """Loads the model and the metrics on first use."""

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment

    def do(self, case: Case) -> Row:
        """The row of a case, written. What is there already is not done again."""
        out = self._assignment.out
        video = self._assignment.videos / f"{case.name}.mp4"
        if self._assignment.model is not None and not video.is_file():
            # A model that cannot be loaded ends the run: it is no matter of this case.
            assert self._pipeline
        try:
            if self._assignment.model is not None and not video.is_file():
                self._generate(case, video)
            digest = sha256(video) if video.is_file() else None
            known = read_row(out, case.name)
            if known is not None and not known.passing and digest is not None and known.video_sha256 == digest:
                return known
            row = self._measure(case, video, digest)
        except UserError as error:
            # Of this case alone: a reference that cannot be read, a size that does not fit the memory.
            row = failed(case, str(error))
        write_row(out, row)
        return row

    def _generate(self, case: Case, video: Path) -> None:
        from humo.jobs import make_video

        given, folder = self._assignment, self._assignment.cases
        request = Request(
            text=case.text,
            images=tuple(located(folder, file) for file in case.references),
            audio=None if case.speech is None else located(folder, case.speech),
            frames=case.frames,
            size=case.size or given.size,
            steps=case.steps or given.steps,
            seed=seed_of(case, given.seed),
            mode=case.mode,
        )
        video.parent.mkdir(parents=True, exist_ok=True)
        make_video(self._pipeline, request, video, guidance=None, mark=True)

    def _measure(self, case: Case, video: Path, digest: str | None) -> Row:
        metrics, faces = self._measures
        given = read_materials(case, self._assignment.cases)
        try:
            clip = read_clip(video, faces)
        except BrokenVideo as error:
            return failed(case, str(error), digest)
        values: dict[str, float | None] = {}
        causes: dict[str, str] = {}
        passing = False
        for metric in metrics:
            for name, value in _measured(metric, clip, given).items():
                if isinstance(value, NotMeasured):
                    values[name], causes[name] = None, str(value)
                    passing = passing or value.passing
                else:
                    values[name] = value
        return Row(
            case=case.name,
            status="ok",
            error=None,
            video_sha256=digest,
            frames=len(clip.frames_thwc),
            values=values,
            causes=causes,
            passing=passing,
        )

    @cached_property
    def _measures(self) -> tuple[list[Metric], Faces]:
        return build(self._assignment.config)

    @cached_property
    def _pipeline(self) -> Any:
        import torch

        from humo.pipeline import HuMoPipeline

        assert self._assignment.model is not None
        cuda = torch.cuda.is_available()
        if not cuda:
            # The cases are the parallelism; and one thread gives the same video however many workers there are.
            torch.set_num_threads(1)
        return HuMoPipeline.from_directory(
            self._assignment.model,
            device=torch.device("cuda" if cuda else "cpu"),
            dtype=torch.bfloat16 if cuda else torch.float32,
        )


def failed(case: Case, reason: str, digest: str | None = None) -> Row:
    """The row of a case without numbers."""
    return Row(case=case.name, status="failed", error=reason, video_sha256=digest, frames=None, values={}, causes={})


def _measured(metric: Metric, clip: Any, given: Materials) -> dict[str, float | NotMeasured]:
    try:
        return dict(metric.measure(clip, given))
    except NotMeasured as error:
        return {about.name: error for about in metric.about}
