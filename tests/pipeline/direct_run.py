"""The passes called one after another in this process, without Ray: the same stages, commits and sets."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from pipeline.config import CurateConfig
from pipeline.engine import ray_run
from pipeline.engine.curate import Outcome, curate
from pipeline.engine.cut import CutPass, local_source
from pipeline.engine.jobs import Job
from pipeline.engine.measure import MeasurePass
from pipeline.engine.unit import Unit
from pipeline.store.files import Files


def direct_passes(root: str, config: CurateConfig, jobs: Iterable[Job]) -> Iterator[Unit]:
    """Stands in for `pipeline.engine.ray_run.run_passes`."""
    files, session = Files(root), uuid4().hex
    cut, measure = CutPass(files, config, session), MeasurePass(files, config, session)
    for job in jobs:
        with local_source(files, job.source_id, job.path) as source:
            for unit in cut(source, job.terms, job.committed):
                yield measure(unit)


@contextmanager
def no_ray(_config: CurateConfig, _address: str | None) -> Iterator[None]:
    """Stands in for `pipeline.engine.ray_run.running_ray`."""
    yield


def curate_directly(run: Path | str, inputs: Sequence[Path | str], config: CurateConfig) -> Outcome:
    """`humo curate` in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray_run, "run_passes", direct_passes)
        patch.setattr(ray_run, "running_ray", no_ray)
        names = [str(path) for path in inputs]
        return curate(Files(str(run)), names, config, address=None, limit=None, progress=lambda *_: None)
