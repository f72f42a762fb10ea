"""The cases over workers: in this process, or in Ray's, each with a model and metrics of its own."""

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from schemas.errors import UserError
from training.evaluation.cases.benchmark import Case
from training.evaluation.folder import Row, write_row
from training.evaluation.worker import Assignment, Worker, failed

RESTARTS = 2
"""Times that a case may kill its worker before it is set aside."""


def rows(assignment: Assignment, cases: Sequence[Case], *, workers: int, address: str | None) -> Iterator[Row]:
    """The row of every case, as they are done.

    Args:
        assignment: what to do.
        cases: all of them.
        workers: processes; one, without an address, is this one.
        address: a Ray cluster, all of whose nodes see the folders under the same names; None starts Ray here.

    Raises UserError for a cluster that is not there, and for weights that cannot be loaded.
    """
    if workers == 1 and address is None:
        worker = Worker(assignment)
        yield from (worker.do(case) for case in cases)
        return
    yield from _on_ray(assignment, cases, workers=workers, address=address)


def gpus_each(there: int, *, workers: int, may_grow: bool) -> int:
    """GPUs that a worker holds, where so many are there. A cluster may grow; a machine does not.

    Raises UserError for more workers than GPUs: one that waits for a GPU would keep its case for ever.
    """
    if there and workers > there and not may_grow:
        raise UserError(f"--workers {workers} take a GPU each, and this machine has {there}: give --workers {there}")
    return 1 if there else 0


def _on_ray(assignment: Assignment, cases: Sequence[Case], *, workers: int, address: str | None) -> Iterator[Row]:
    import ray
    import torch
    from ray.exceptions import RayActorError

    threads = {"env_vars": {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}}
    here: dict[str, Any] = {} if address else {"num_cpus": workers, "include_dashboard": False}
    try:
        ray.init(
            address=address or "local", log_to_driver=False, logging_level=logging.ERROR, runtime_env=threads, **here
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UserError(f"there is no Ray cluster at {address}: {error}") from error
    try:
        # Whether torch can use GPUs is known of this machine alone.
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        there = int(resources.get("GPU", 0)) if address or torch.cuda.is_available() else 0
        gpus = gpus_each(there, workers=workers, may_grow=address is not None)
        kind: Any = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=-1, max_task_retries=0)(Worker)
        idle = deque(kind.remote(assignment) for _ in range(min(workers, len(cases))))
        waiting = deque((case, 0) for case in cases)
        busy: dict[Any, tuple[Any, Case, int]] = {}
        while waiting or busy:
            while waiting and idle:
                case, deaths = waiting.popleft()
                actor = idle.popleft()
                busy[actor.do.remote(case)] = actor, case, deaths
            done, _ = ray.wait(list(busy), num_returns=1)
            actor, case, deaths = busy.pop(done[0])
            idle.append(actor)
            try:
                yield ray.get(done[0])
            except RayActorError:
                if deaths < RESTARTS:
                    waiting.append((case, deaths + 1))
                    continue
                row = failed(case, f"its worker died {deaths + 1} times")
                write_row(assignment.out, row)
                yield row
    finally:
        ray.shutdown()
