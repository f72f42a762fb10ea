"""A curation run from inputs to shards: crawl, pass over what is missing, decide, pack."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from pipeline.config import CurateConfig
from pipeline.engine import attempts
from pipeline.engine.commits import Commits
from pipeline.engine.disk import DiskFull, check_room
from pipeline.engine.failure_limit import FailureLimit, TooManyFailures
from pipeline.engine.fingerprint import fingerprints
from pipeline.engine.jobs import Job, jobs, new_footage_bytes
from pipeline.engine.locations import crawl_into
from pipeline.engine.packing import pack_into
from pipeline.engine.pending import forget
from pipeline.engine.progress import Progress, StageProgress, silent
from pipeline.engine.redo import redo
from pipeline.engine.run_file import write_run
from pipeline.engine.sets import run_set
from pipeline.flow import DECISIONS, SETS
from pipeline.store.files import Files
from pipeline.store.relations import Relations
from pipeline.store.snapshots import Snapshot, commit, latest
from pipeline.verdicts.fold import folded
from schemas.errors import WorkFailed

WAVE = 4096
"""Sources given to Ray at a time: it holds a list of them."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run came to. `computed`: sources that had work to do.

    `gone`: where sources lay that have work to do and are there no more. `stale`: places that could not be looked at
    again, of which an earlier state is kept.
    """

    snapshot: Snapshot
    sources: int
    computed: int
    gone: list[str]
    stale: list[str]


def curate(
    files: Files,
    inputs: list[str],
    config: CurateConfig,
    *,
    address: str | None,
    limit: int | None,
    progress: Progress,
) -> Outcome:
    """Bring the run up to date with these inputs and this configuration. The caller holds the writer's lock."""
    files.sweep()
    files.sweep(attempts.FOLDER)
    base = latest(files)
    stale: list[str] = []
    snapshot = crawl_into(files, base, inputs, config.crawl, limit=limit, progress=progress, tell_stale=stale.append)
    write_run(files, config)
    relations = Relations(files, snapshot)
    known = relations.connection.execute("SELECT count(DISTINCT source_id) FROM locations").fetchall()[0][0]
    snapshot, computed, gone = _run_items(files, snapshot, config, address, progress)
    snapshot = run_sets(files, snapshot, config, progress=progress)
    return Outcome(snapshot=snapshot, sources=known, computed=computed, gone=gone, stale=stale)


def run_sets(files: Files, snapshot: Snapshot, config: CurateConfig, *, progress: Progress = silent) -> Snapshot:
    """Set stages, decisions and shards of what is committed; a commit at the end of each part."""
    base = snapshot
    relations = Relations(files, folded(files, snapshot))
    stages = (*SETS, *DECISIONS)
    for number, stage in enumerate(stages):
        progress("set stages", number, len(stages))
        run_set(stage, relations, config)
    progress("set stages", len(stages), len(stages))
    # With all that deciding made in it.
    relations.connection.close()
    return commit(files, base, pack_into(files, relations.snapshot, config, progress=progress))


def _run_items(
    files: Files, base: Snapshot, config: CurateConfig, address: str | None, progress: Progress
) -> tuple[Snapshot, int, list[str]]:
    """The snapshot with every item computed, how many sources that were, and the places of those that are gone."""
    prints = fingerprints(config)
    relations = Relations(files, base)
    new_bytes = new_footage_bytes(relations)
    every = max((found.sources for found in redo(relations, config).values()), default=0)
    kept = _hours(relations)
    gone: list[str] = []
    ready = _ready(jobs(relations, prints), gone)
    first = list(islice(ready, WAVE))
    if not first:
        return base, 0, gone
    # Ray takes seconds to import; a run with nothing to do does without.
    from pipeline.engine.metrics import DriverMetrics
    from pipeline.engine.preflight import check_backends
    from pipeline.engine.ray_run import run_passes, running_ray

    check_backends(config, cluster=address is not None)
    check_room(files, new_bytes, share=config.engine.disk_share)
    limit = FailureLimit(share=config.engine.failure_limit, seen_first=config.engine.failure_limit_from)
    commits = Commits(files, base, limit)
    done = failed = 0
    progress("sources", done, every)
    clips = StageProgress(progress)
    try:
        with running_ray(config, address):
            metrics = DriverMetrics()
            metrics.kept(*kept)
            metrics.waiting(every)
            wave = first
            while wave:
                for unit in run_passes(files.root, config, wave):
                    clips.take(unit)
                    if commits.add(unit):
                        done += 1
                        failed += unit.error is not None
                        progress("sources", done, every, failed)
                        metrics.waiting(every - done)
                wave = list(islice(ready, WAVE))
    except DiskFull as error:
        raise WorkFailed(f"{error}. What is committed is kept: make room, and give the same command again") from error
    except TooManyFailures as error:
        # What waits for its commit would be taken for done by the next command.
        forget(files, error.stages)
        raise
    files.sweep(attempts.FOLDER)
    return commits.commit(), done, gone


def _hours(relations: Relations) -> tuple[float, float]:
    """Hours kept, and hours of clips, as far as the run was decided."""
    query = """SELECT coalesce(sum(frames) FILTER (outcome = 'keep'), 0) / 90000, coalesce(sum(frames), 0) / 90000
               FROM decisions JOIN clips USING (id)"""
    kept, of = relations.connection.execute(query).fetchall()[0]
    return float(kept), float(of)


def _ready(found: Iterator[Job], gone: list[str]) -> Iterator[Job]:
    """Those that can be done; the places of the others go to `gone`."""
    for job in found:
        if job.there:
            yield job
        else:
            gone.append(job.said)
