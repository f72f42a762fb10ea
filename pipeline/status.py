"""What a run holds, what it cost, and what a re-run would do."""

from dataclasses import asdict, dataclass
from typing import Any

from pipeline.config import CurateConfig
from pipeline.engine.redo import Redo, redo
from pipeline.flow import STAGES
from pipeline.store.files import Files
from pipeline.store.relations import SECONDS, Relations
from pipeline.store.snapshots import Snapshot

UNPACKED = "index"
PLACE = "(SELECT min(uri) FROM locations WHERE source_id = split_part(failed.id, '_', 1))"


@dataclass(frozen=True, kw_only=True)
class TableStatus:
    """Rows of a table by what became of them."""

    table: str
    rows: int
    ok: int
    failed: int
    inapplicable: int


@dataclass(frozen=True, kw_only=True)
class Status:
    """Answers `humo status`. `computed`: stage -> for how many items (sources, clips, tracks, shards)
    it computed something since the run began. `seconds`: of processors; `wall`: that passed; `gpu`: these, times the
    share of GPUs that the stage's workers hold. `redo`: stage -> what a re-run would compute again, and why."""

    run: str
    snapshot: int
    tables: list[TableStatus]
    decodes: dict[str, int]
    computed: dict[str, int]
    seconds: dict[str, float]
    wall: dict[str, float]
    gpu: dict[str, float]
    kept_hours: float
    seconds_per_kept_hour: float | None
    gpu_seconds_per_kept_hour: float | None
    redo: dict[str, Redo]
    failures: list[str]

    def to_dict(self) -> dict[str, Any]:
        """As JSON shows it."""
        return asdict(self)


def status_of(files: Files, snapshot: Snapshot, config: CurateConfig) -> Status:
    """Read from the newest commit."""
    relations = Relations(files, snapshot)
    names = [table for stage in STAGES for table in stage.tables if table != UNPACKED]
    seconds, wall, gpu = (_amounts(snapshot, kind) for kind in ("seconds.", "wall.", "gpu."))
    kept = relations.connection.execute(
        f"SELECT coalesce(sum({SECONDS}), 0) / 3600 FROM decisions WHERE outcome = 'keep'"
    ).fetchall()[0][0]
    tables = [table_status(relations, name) for name in ["locations", *names]]
    return Status(
        run=files.root,
        snapshot=snapshot.number,
        tables=tables,
        computed=_counts(snapshot, "computed."),
        decodes=_counts(snapshot, "decodes."),
        seconds=seconds,
        wall=wall,
        gpu=gpu,
        kept_hours=float(kept),
        seconds_per_kept_hour=round(sum(seconds.values()) / kept, 1) if kept else None,
        gpu_seconds_per_kept_hour=round(sum(gpu.values()) / kept, 1) if kept else None,
        redo=redo(relations, config),
        failures=failures(relations, [table.table for table in tables if table.failed]),
    )


FAILURES_SHOWN = 1000
"""Of each table."""


def failures(relations: Relations, tables: list[str]) -> list[str]:
    """One line for each failed row, the first of each table: table, id, the place its source was found, reason."""
    lines: list[str] = []
    for table in tables:
        uri = "uri" if table == "locations" else PLACE
        rows = relations.connection.execute(
            f"""SELECT id, error, {uri}
                FROM "{table}" AS failed WHERE status = 'failed' ORDER BY id LIMIT {FAILURES_SHOWN + 1}"""
        ).fetchall()
        lines.extend(f"{table} {id_}{f' ({uri})' if uri else ''}: {error}" for id_, error, uri in rows[:FAILURES_SHOWN])
        if len(rows) > FAILURES_SHOWN:
            lines.append(f"{table}: and more, which the table holds")
    return lines


def _amounts(snapshot: Snapshot, kind: str) -> dict[str, float]:
    return {
        name.removeprefix(kind): round(amount, 3)
        for name, amount in sorted(snapshot.work.items())
        if name.startswith(kind)
    }


def _counts(snapshot: Snapshot, kind: str) -> dict[str, int]:
    return {name.removeprefix(kind): int(n) for name, n in snapshot.work.items() if name.startswith(kind)}


def table_status(relations: Relations, name: str) -> TableStatus:
    """Rows of a table, by their status."""
    counts = relations.statuses(name)
    return TableStatus(
        table=name,
        rows=counts.total(),
        ok=counts["ok"],
        failed=counts["failed"],
        inapplicable=counts["inapplicable"],
    )
