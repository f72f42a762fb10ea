"""What a sample run took, stage by stage."""

from collections import Counter
from dataclasses import dataclass

from pipeline.config import CurateConfig
from pipeline.flow import STAGE, STAGES
from pipeline.pack.manifest import newest_manifest
from pipeline.store.files import Files
from pipeline.store.relations import Relations
from pipeline.store.snapshots import Snapshot, snapshot_path
from schemas.errors import UserError
from schemas.tables import TABLES

UNIT = {"shots": "sources", "clips": "sources", "identities": "tracks", "candidates": "tracks", "decode": "clips"}
"""Stage -> the table whose rows are its items; the others' items are clips."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One state of a run.

    `hours` and `bytes`: of footage. `rows`: table -> rows. `seconds`: stage -> processor seconds that it takes for
    this state from nothing; what was computed twice counts once; `gpu_seconds` likewise, of those that ran on GPUs: the
    share of a GPU that was held, times the time. `stored`: kind of file -> bytes; `files`: how many.
    `commit_bytes`: of the newest commit, a bundle.
    `probes`: partitions that a search for like faces looks at; None: all.
    """

    hours: float
    bytes: int
    rows: dict[str, int]
    seconds: dict[str, float]
    gpu_seconds: dict[str, float]
    stored: dict[str, int]
    files: dict[str, int]
    kept: int
    kept_hours: float
    commit_bytes: float
    probes: int | None


def measure(files: Files, snapshot: Snapshot, config: CurateConfig) -> Sample:
    """Read what a run took. Raises UserError where it has nothing to learn from."""
    relations = Relations(files, snapshot)
    duration_us, size = relations.connection.execute(
        """SELECT coalesce(sum(duration_us), 0), coalesce(sum(size), 0) FROM sources
           LEFT JOIN (SELECT source_id, max(bytes) AS size FROM locations GROUP BY source_id) ON source_id = id
           WHERE status = 'ok'"""
    ).fetchall()[0]
    if not duration_us or "decisions" not in snapshot.sets:
        raise UserError(f"{files.root} holds no curated footage to plan from; curate a sample of yours first")
    rows = {name: _count(relations, f"SELECT count(*) FROM \"{name}\" WHERE status = 'ok'") for name in TABLES}
    kept, kept_hours = relations.connection.execute(
        "SELECT count(*), coalesce(sum(frames), 0) / 25 / 3600 FROM decisions JOIN clips USING (id) "
        "WHERE outcome = 'keep'"
    ).fetchall()[0]
    stored, counts = _stored(files)
    return Sample(
        hours=float(duration_us) / 3.6e9,
        bytes=int(size),
        rows=rows,
        seconds={name: _spent("seconds", name, files, snapshot, rows) for name in [*STAGE, "decode"]},
        gpu_seconds={
            name: spent for name in item_stages() if (spent := _spent("gpu", name, files, snapshot, rows)) > 0
        },
        stored=stored,
        files=counts,
        kept=int(kept),
        kept_hours=float(kept_hours),
        commit_bytes=len(files.read(snapshot_path(snapshot.number))) / max(len(snapshot.bundles), 1),
        probes=config.identities.probes if config.identities.index == "ivf" else None,
    )


def _count(relations: Relations, query: str) -> int:
    return int(relations.connection.execute(query).fetchall()[0][0])


def _spent(kind: str, stage: str, files: Files, snapshot: Snapshot, rows: dict[str, int]) -> float:
    """Seconds of one kind, of the run's whole life as much as the items in it now took once."""
    done = snapshot.work.get("decodes.measure" if stage == "decode" else f"computed.{stage}", 0)
    if not done:
        return 0.0
    if stage == "pack":
        manifest = newest_manifest(files)
        items = len(manifest.shards) if manifest else 0
    else:
        items = rows[UNIT.get(stage, "clips")]
        if stage in ("shots", "clips"):
            # A source that failed was looked at as well.
            done = max(done, items)
    return snapshot.work.get(f"{kind}.{stage}", 0.0) * items / done


def _stored(files: Files) -> tuple[dict[str, int], dict[str, int]]:
    """Bytes and number of files of each kind: those of media by their folder, tables, shards."""
    sizes: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for folder in ("media", "tables", "shards"):
        for path in files.walk(folder):
            kind = "/".join(path.split("/")[: 2 if folder == "media" else 1])
            sizes[kind] += files.size(path)
            counts[kind] += 1
    return dict(sizes), dict(counts)


def items_of(sample: Sample, stage: str) -> int:
    """What a stage does its work on: so many clips, sources, face tracks, or for `pack` samples."""
    return sample.kept if stage == "pack" else sample.rows[UNIT.get(stage, "clips")]


def item_stages() -> list[str]:
    """Stages that are spread over the cluster, and the decode that those of a pass share."""
    return [*(stage.name for stage in STAGES if stage.per != "set"), "decode"]


def set_stages() -> list[str]:
    """Stages that run on one machine, over all rows."""
    return [stage.name for stage in STAGES if stage.per == "set"]
