"""Set stages: functions of all committed rows. Each writes one part a table, named by all that it was computed from."""

import shutil
import time
from pathlib import Path

from pipeline.config import CurateConfig
from pipeline.decide.decisions import decide
from pipeline.engine.fingerprint import fingerprints, set_digest
from pipeline.engine.rows import About, completed
from pipeline.flow import STAGE
from pipeline.pack.pack import pack
from pipeline.stage import Row
from pipeline.stages import candidates, duplicates, identities
from pipeline.store.files import Files
from pipeline.store.parts import part_path, write_part, write_table
from pipeline.store.relations import Relations
from pipeline.store.snapshots import WHOLE, Snapshot


def set_parts(stage: str, snapshot: Snapshot, config: CurateConfig) -> dict[str, str]:
    """Table -> the part that a set stage makes of this snapshot; known before it runs."""
    upstream = [
        path
        for need in ("shots", "clips", *STAGE[stage].needs)
        for t in STAGE[need].tables
        for path in snapshot.paths(t)
    ]
    if stage == "decide":
        upstream += snapshot.paths("locations")
    digest = set_digest(upstream)
    fingerprint = fingerprints(config)[stage]
    return {table: part_path(table, fingerprint, digest) for table in STAGE[stage].tables}


def run_set(stage: str, files: Files, snapshot: Snapshot, config: CurateConfig) -> Snapshot:
    """The snapshot with this stage's parts in it, computed where they are missing."""
    paths = set_parts(stage, snapshot, config)
    work: dict[str, float] = {}
    if not all(files.exists(path) for path in paths.values()):
        start = time.process_time()
        rows = _compute(stage, Relations(files, snapshot), config)
        seconds = time.process_time() - start
        work[f"seconds.{stage}"] = seconds
        about = About(backend=_backend(stage), fingerprint=fingerprints(config)[stage], seconds=seconds)
        for table, path in paths.items():
            write_part(files, table, path, (completed(row, **about) for row in rows[table]))
    return snapshot.with_group(WHOLE, {table: [path] for table, path in paths.items()}).with_work(work)


def pack_into(files: Files, snapshot: Snapshot, config: CurateConfig) -> Snapshot:
    """The snapshot with the shards of its decisions; where these are packed already, as it is."""
    paths = set_parts("pack", snapshot, config)
    if snapshot.paths("index") == list(paths.values()) and files.exists("shards/manifest.json"):
        return snapshot
    start = time.process_time()
    index = pack(files, snapshot, config.pack)
    write_table(files, paths["index"], index)
    done = snapshot.with_group(WHOLE, {"index": [paths["index"]]})
    return done.with_work({"seconds.pack": time.process_time() - start})


def _backend(stage: str) -> str:
    modules = {"duplicates": duplicates, "identities": identities, "candidates": candidates}
    return str(modules[stage].BACKEND) if stage in modules else "rules/1"


def _compute(stage: str, relations: Relations, config: CurateConfig) -> dict[str, list[Row]]:
    if stage == "decide":
        references, decisions = decide(relations, config.decide, config.faces.descriptor)
        return {"references": references, "decisions": decisions}
    folder = relations.files.scratch()
    try:
        return {stage: _find(stage, relations, config, folder)}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _find(stage: str, relations: Relations, config: CurateConfig, folder: Path) -> list[Row]:
    if stage == "duplicates":
        return duplicates.find_duplicates(relations.arrow("quality").to_pylist(), config.duplicates)
    tracks = (part for part in relations.batches("tracks") if len(part))
    if stage == "identities":
        descriptor = config.faces.descriptor
        return identities.cluster(tracks, descriptor=descriptor, folder=folder, config=config.identities)
    return candidates.retrieve(
        tracks,
        relations.arrow("identities").to_pylist(),
        relations.arrow("duplicates").to_pylist(),
        folder=folder,
        read=relations.files.read,
        config=config.candidates,
    )
