"""A run's folder: whether a run may begin or go on there, on which data, and what is written before its first step."""

import json
from dataclasses import asdict
from pathlib import Path

import fsspec

from schemas.errors import UserError
from training.checkpoint import RunIdentity, refuse_difference
from training.config import TrainingConfig
from training.dataset import ShardSet, open_shard_set, pin_shard_set, verify_shards

RUN_FILE = "run.json"
PINNED = "data"
_PARTIAL = f".partial-{RUN_FILE}"


def check_run(config: TrainingConfig, *, data: str, out: Path, resume: bool, accept_changes: bool) -> None:
    """Raise UserError where a run may not begin or go on in `out` with this data; what differs is shown."""
    run_file = out / RUN_FILE
    # A run that died before it had written these two has done nothing yet.
    if not resume and out.exists() and {found.name for found in out.iterdir()} - {PINNED, _PARTIAL}:
        raise UserError(f"{out} is there already: give --resume to go on with it, or another --out")
    if resume and not run_file.is_file():
        raise UserError(f"nothing to resume in {out}: it holds no run. Leave --resume out to start one")
    shards = open_run_data(data, out=out, resume=resume, accept_changes=accept_changes)
    if resume and not accept_changes:
        _refuse_other_data(shards, data)
        stored = json.loads(run_file.read_text())
        wanted = RunIdentity(config.meaning(), shards.manifest.fingerprint)
        refuse_difference(RunIdentity(stored["meaning"], stored["manifest"]), wanted, where=out)
    if config.data.verify != "nothing":
        verify_shards(shards, hashes=config.data.verify == "hashes")


def open_run_data(data: str, *, out: Path, resume: bool, accept_changes: bool) -> ShardSet:
    """The shards of a run. It ends on the manifest it began on, whatever is packed in the meantime."""
    return open_shard_set(data, pinned=out / PINNED if resume and not accept_changes else None)


def write_run(config: TrainingConfig, shards: ShardSet, *, out: Path) -> None:
    """Keep what the run begins with: its configuration, the manifest and the index."""
    pin_shard_set(shards, out / PINNED)
    identity = RunIdentity(config.meaning(), shards.manifest.fingerprint)
    content = {"config": config.model_dump(mode="json"), **asdict(identity)}
    (out / _PARTIAL).write_text(json.dumps(content, indent=1) + "\n")
    (out / _PARTIAL).rename(out / RUN_FILE)


def _refuse_other_data(pinned: ShardSet, data: str) -> None:
    """Raise UserError if the run's shards are not where the given manifest lies."""
    missing = []
    for shard in pinned.manifest.shards:
        filesystem, path = fsspec.core.url_to_fs(pinned.address(shard.url))
        if not filesystem.exists(path):
            missing.append(shard.url)
    if not missing:
        return
    given = open_shard_set(data)
    ours, theirs = ({row.key for row in shards.rows} for shards in (pinned, given))
    raise UserError(
        f"the run began on the manifest {pinned.manifest.fingerprint}, and {data} is {given.manifest.fingerprint}: "
        f"{len(missing)} of its {len(pinned.manifest.shards)} shards are not there (first {missing[0]}); of its "
        f"{len(ours)} samples {len(ours & theirs)} are among the {len(theirs)} there. "
        "Give the data it began on, or --accept-changes to go on with the new"
    )
