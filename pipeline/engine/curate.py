"""A curation run from inputs to shards: crawl, pass over what is missing, decide, pack."""

import json
from dataclasses import dataclass
from typing import Any

from pipeline.config import CurateConfig
from pipeline.decide.decisions import check_rules
from pipeline.engine import attempts
from pipeline.engine.commits import Commits, FailureLimit
from pipeline.engine.fingerprint import fingerprints
from pipeline.engine.locations import crawl_into, sources_of
from pipeline.engine.plan import missing_stages
from pipeline.engine.progress import Progress
from pipeline.engine.sets import pack_into, run_set
from pipeline.flow import SETS
from pipeline.stage import Source
from pipeline.store.files import Files
from pipeline.store.relations import Relations
from pipeline.store.snapshots import Snapshot, commit, latest
from schemas.configuration import merged, validated
from schemas.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run came to. `computed`: sources that had work to do.

    `gone`: where sources lay that had work to do and are there no more. `stale`: see `locations.Crawled`.
    """

    snapshot: Snapshot
    sources: int
    computed: int
    gone: list[str]
    stale: list[str]


def resolve(files: Files, over: dict[str, Any]) -> CurateConfig:
    """The configuration of the run so far, with what is given now laid over it. Raises UserError."""
    base = read_run(files).get("configuration", {})
    config = validated(CurateConfig, merged(base, over), where="configuration")
    if config.profile == "gpu":
        raise UserError("the gpu profile has no backends in this version; use --profile local")
    check_rules(config.decide)
    return config


def read_run(files: Files) -> dict[str, Any]:
    """run.json, or nothing where there is no run yet."""
    if not files.exists("run.json"):
        return {}
    run: dict[str, Any] = json.loads(files.read("run.json"))
    return run


def write_run(files: Files, config: CurateConfig) -> None:
    """Record the configuration in force and the fingerprints that it gives."""
    run = {
        "schema": "humo.run/1",
        "configuration": config.model_dump(mode="json"),
        "fingerprints": fingerprints(config),
    }
    text = json.dumps(run, indent=1, sort_keys=True).encode()
    if not files.exists("run.json") or files.read("run.json") != text:
        files.replace("run.json", text)


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
    crawled = crawl_into(files, latest(files), inputs, config.crawl, limit=limit, progress=progress)
    snapshot = crawled.snapshot
    write_run(files, config)
    sources = list(sources_of(Relations(files, snapshot)))
    prints = fingerprints(config)
    missing = [(source, there) for source, there in sources if missing_stages(source.id, snapshot, prints)]
    ready = [source for source, there in missing if there]
    gone = [str(source.path) for source, there in missing if not there]
    if ready:
        snapshot = _run_items(files, snapshot, ready, config, address, progress)
    snapshot = run_sets(files, snapshot, config)
    return Outcome(snapshot=snapshot, sources=len(sources), computed=len(ready), gone=gone, stale=crawled.stale)


def run_sets(files: Files, snapshot: Snapshot, config: CurateConfig) -> Snapshot:
    """Set stages, decisions and shards of what is committed; a commit at the end of each part."""
    base = snapshot
    for stage in SETS:
        snapshot = run_set(stage, files, snapshot, config)
    snapshot = run_set("decide", files, snapshot, config)
    snapshot = pack_into(files, snapshot, config)
    return commit(files, base, snapshot)


def _run_items(
    files: Files, base: Snapshot, sources: list[Source], config: CurateConfig, address: str | None, progress: Progress
) -> Snapshot:
    # Ray takes seconds to import; a run with nothing to do does without.
    from pipeline.engine.clip_stages import check_stages
    from pipeline.engine.ray_run import run_passes, running_ray

    check_stages(config)
    limit = FailureLimit(share=config.engine.failure_limit, seen_first=config.engine.failure_limit_from)
    commits = Commits(files, base, limit)
    done = 0
    progress("sources", done, len(sources))
    with running_ray(config, address):
        for unit in run_passes(files.root, config, sources, base):
            if commits.add(unit):
                done += 1
                progress("sources", done, len(sources))
    files.sweep(attempts.FOLDER)
    return commits.commit()
