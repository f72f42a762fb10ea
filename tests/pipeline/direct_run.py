"""The passes called one after another in this process, without Ray: the same stages, commits and sets."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from uuid import uuid4

import pytest

from pipeline.config import CurateConfig
from pipeline.engine import cut as cut_pass
from pipeline.engine import measure as measure_pass
from pipeline.engine import ray_run
from pipeline.engine.curate import Outcome, curate
from pipeline.engine.cut import CutPass, local_source
from pipeline.engine.jobs import Job
from pipeline.engine.measure import MeasurePass
from pipeline.engine.unit import Unit
from pipeline.store.files import Files
from schemas import command_line
from tests.pipeline.conftest import Ran


class Asleep:
    """Stands in for `pipeline.engine.watchdog.Watchdog`, which would end the tests' own process where a test was slow,
    or where the tests before it left much in memory."""

    def __init__(self, _files: Files, *, memory_mb: int) -> None:
        pass

    def over(self, _seconds: float, _reason_path: str | None = None) -> AbstractContextManager[None]:
        return nullcontext()


def direct_passes(root: str, config: CurateConfig, jobs: Iterable[Job]) -> Iterator[Unit]:
    """Stands in for `pipeline.engine.ray_run.run_passes`."""
    files, session = Files(root), uuid4().hex
    with pytest.MonkeyPatch.context() as patch:
        for module in (cut_pass, measure_pass):
            patch.setattr(module, "Watchdog", Asleep)
        cut, measure = CutPass(files, config, session), MeasurePass(files, config, session)
    for job in jobs:
        with local_source(files, job.source_id, job.path) as source:
            for unit in cut(source, job.terms, job.committed):
                yield measure(unit)


@contextmanager
def no_ray(_config: CurateConfig, _address: str | None) -> Iterator[None]:
    """Stands in for `pipeline.engine.ray_run.running_ray`."""
    yield


@contextmanager
def without_ray() -> Iterator[None]:
    """What curates inside does so in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray_run, "run_passes", direct_passes)
        patch.setattr(ray_run, "running_ray", no_ray)
        yield


def curate_directly(run: Path | str, inputs: Sequence[Path | str], config: CurateConfig) -> Outcome:
    """`humo curate` in this process, without its command line."""
    with without_ray():
        names = [str(path) for path in inputs]
        return curate(Files(str(run)), names, config, address=None, limit=None, progress=lambda *_: None)


def humo_directly(*arguments: str | Path) -> Ran:
    """Any command in this process: for tests of what it does, and not of processes."""
    told = StringIO()
    with without_ray(), redirect_stdout(told), redirect_stderr(told):
        code = command_line.run([str(argument) for argument in arguments])
    return Ran(code=code, text=told.getvalue())
