"""The item passes on Ray Data: a pool of actors for each pass, units streaming between them."""

import errno
import json
import logging
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import ray
from ray.data import ActorPoolStrategy, DataContext, Dataset

from pipeline.config import CurateConfig
from pipeline.engine import log
from pipeline.engine.cut import CutPass, local_source
from pipeline.engine.disk import DiskFull
from pipeline.engine.jobs import Job
from pipeline.engine.metrics import CLIP_SECONDS, WorkerMetrics
from pipeline.engine.pending import Committed
from pipeline.engine.plan import Terms
from pipeline.engine.unit import CLIPS_PER_UNIT, Unit
from pipeline.environments import runtime_env
from pipeline.placement import Pass, passes
from pipeline.store.files import Files
from pipeline.store.outage import StorageFailed
from schemas.errors import UserError

OBJECT_STORE_BYTES = 256 * 2**20
"""Of a Ray that we start ourselves. Only units pass through it, a few kilobytes each."""

CONNECT_SECONDS = 5.0

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
THREADS = {"env_vars": ONE_THREAD}
"""One thread a process: the actors are the parallelism, and pinned threads repeat their sums."""


@contextmanager
def running_ray(config: CurateConfig, address: str | None) -> Iterator[None]:
    """A connection to the Ray cluster at this address; where none is given, a Ray of our own while the work lasts."""
    # Ray's own remarks about its internals; what fails in a worker is recorded in rows, or raises here.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    context = DataContext.get_current()
    context.enable_progress_bars = False
    # A unit is a block of its own, so that clips are measured while the rest of their source is still being cut.
    context.target_max_block_size = 1
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    built: Path | None = None
    if address:
        _check_reachable(address)
        try:
            with _without_remarks():
                ray.init(address=address, runtime_env=THREADS, **options)
        except (ConnectionError, RuntimeError) as error:
            raise UserError(f"there is no Ray cluster at {address}: {error}") from error
    else:
        # The two pools take turns more than they compete, so each may have all of its workers.
        cores = sum(pass_.actors * pass_.cpus for pass_ in passes(config)) + 2
        options |= {"num_cpus": ceil(cores), "object_store_memory": OBJECT_STORE_BYTES}
        # Inherited, not as a runtime environment: for that Ray would start all its workers a second time.
        with _without_remarks(), _inherited(ONE_THREAD):
            started = ray.init(address="local", include_dashboard=False, **options)
        # Typed as what a client's connection has in common with ours.
        built = Path(started.address_info["session_dir"]) / "runtime_resources"  # type: ignore[attr-defined]
    try:
        yield
    finally:
        ray.shutdown()
        if built is not None:
            # Environments that Ray built: gigabytes each, which it leaves behind and no later Ray looks for.
            shutil.rmtree(built, ignore_errors=True)


@contextmanager
def _inherited(variables: dict[str, str]) -> Iterator[None]:
    """What is started inside has these environment variables."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _without_remarks() -> Iterator[None]:
    """Ray's core remarks on its log level, straight to the standard error; what it says is kept for a failed start."""
    kept = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        except BaseException:
            said.seek(0)
            os.write(kept, said.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _check_reachable(address: str) -> None:
    """Ray itself tries for minutes. Raises UserError where nobody listens at host:port."""
    place = urlsplit(address if "://" in address else f"ray://{address}")
    if place.hostname is None or place.port is None:
        return
    try:
        socket.create_connection((place.hostname, place.port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise UserError(f"there is no Ray cluster at {address}: {error}") from error


class _CutActor:
    def __init__(self, root: str, config: dict[str, Any], session: str, gpus: float) -> None:
        self._files = Files(root)
        log.begin(run=root, session=session)
        self._metrics = WorkerMetrics()
        self._pass = CutPass(self._files, CurateConfig.model_validate(config), session, gpus=gpus)

    def __call__(self, batch: dict[str, Any]) -> Iterator[dict[str, list[str]]]:
        for id_, path, terms in zip(batch["id"], batch["path"], batch["terms"], strict=True):
            with local_source(self._files, str(id_), str(path)) as source:
                for unit in self._pass(source, *_opened(json.loads(str(terms)))):
                    last = unit.number == unit.of - 1
                    through = {"progress.sources": last, "progress.failed sources": last and bool(unit.error)}
                    self._metrics.count({**unit.work, **through})
                    yield {"unit": [json.dumps(unit.to_dict())]}


class _MeasureActor:
    def __init__(
        self, root: str, config: dict[str, Any], session: str, stages: tuple[str, ...], gpus: float, last: bool
    ) -> None:
        from pipeline.engine.measure import MeasurePass

        log.begin(run=root, session=session)
        self._last = last
        self._metrics = WorkerMetrics()
        self._pass = MeasurePass(Files(root), CurateConfig.model_validate(config), session, stages, gpus=gpus)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        done = []
        for text in batch["unit"]:
            unit = Unit(**json.loads(str(text)))
            measured = self._pass(unit)
            new = {kind: amount - unit.work.get(kind, 0) for kind, amount in measured.work.items()}
            clips = min(CLIPS_PER_UNIT, unit.clips - unit.start)
            if self._last:
                new |= {"progress.units": 1, "progress.clips": clips}
            else:
                # Told by the last pass alone: before it the clips are not through.
                new.pop(CLIP_SECONDS, None)
            self._metrics.count(new)
            log.event("unit", item=f"{unit.source_id} {unit.start}", clips=clips)
            done.append(json.dumps(measured.to_dict()))
        return {"unit": done}


def _opened(said: tuple[str, list[Any] | None]) -> tuple[Terms, Committed | None]:
    terms, committed = said
    before = Committed(terms=Terms.from_json(committed[0]), parts=committed[1]) if committed else None
    return Terms.from_json(terms), before


def _closed(job: Job) -> str:
    before = (job.committed.terms.to_json(), dict(job.committed.parts)) if job.committed else None
    return json.dumps([job.terms.to_json(), before])


def _pool(pass_: Pass, most: int) -> dict[str, Any]:
    """A pass as Ray Data is told of it: actors that live as long as it, each with its share of the machine."""
    options: dict[str, Any] = {
        "compute": ActorPoolStrategy(size=max(1, min(pass_.actors, most))),
        "batch_size": 1,
        "num_cpus": pass_.cpus,
    }
    if pass_.gpus:
        options["num_gpus"] = pass_.gpus
    if pass_.environment is not None and (environment := runtime_env(pass_.environment)):
        # An actor's environment takes the place of the job's, of which only the threads matter.
        options["runtime_env"] = {**environment, **THREADS}
    return options


def run_passes(root: str, config: CurateConfig, jobs: Iterable[Job]) -> Iterator[Unit]:
    """Measured units as they are done, in no particular order. The jobs are held in memory.

    Raises DiskFull where a worker had no room left, StorageFailed where the run's store failed it.

    A worker that dies is started again, and given its item again, as often as that happens: Ray Data's own default.
    What an item may do to its workers is bounded by the passes (see `attempts`).
    """
    items = [{"id": job.source_id, "path": job.path, "terms": _closed(job)} for job in jobs]
    if not items:
        return
    about = (root, config.model_dump(mode="json"), uuid4().hex)
    dataset: Dataset = ray.data.from_items(items, override_num_blocks=len(items))
    cut, *measure = passes(config)
    dataset = dataset.map_batches(_CutActor, **_pool(cut, len(items)), fn_constructor_args=(*about, cut.gpus))
    for pass_ in measure:
        arguments = (*about, pass_.stages, pass_.gpus, pass_ is measure[-1])
        # A source may give many units, so that only the pool of one source is bounded.
        size = pass_.actors if pass_.gpus else len(items)
        dataset = dataset.map_batches(_MeasureActor, **_pool(pass_, size), fn_constructor_args=arguments)
    try:
        for row in dataset.iter_rows():
            yield Unit(**json.loads(row["unit"]))
    except ray.exceptions.RayTaskError as error:
        raise _meant(error) from error


def _meant(error: ray.exceptions.RayTaskError) -> Exception:
    """DiskFull or StorageFailed where that ended a worker; else Ray's error, which has the worker's traceback.

    Of what was raised in a worker Ray brings the text alone.
    """
    if f"[Errno {errno.ENOSPC}]" in str(error):
        return DiskFull("there is no room left on the disk")
    if said := re.search(rf"\b{StorageFailed.__name__}: (.*)", str(error)):
        return StorageFailed(said[1])
    return error
