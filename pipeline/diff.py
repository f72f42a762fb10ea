"""What two runs, or two manifests, do not have in common."""

import io
import tarfile
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from pipeline.engine.run_file import read_run
from pipeline.store.files import Files
from pipeline.store.relations import Relations, quoted
from pipeline.store.snapshots import latest
from pipeline.verify import load_manifest
from schemas.configuration import differing
from schemas.errors import UserError
from schemas.manifest import Manifest
from schemas.tables import TABLES, UNHASHED_COLUMNS

EXAMPLES = 20
OWN = ("id", *UNHASHED_COLUMNS)
LEFT_OUT = ("ledger",)
"""Tables of the engine's own, whose differences show in the others."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Rows of a table, or samples, that only one side has, or that differ. The lists hold the first of their ids."""

    what: str
    same: int
    changed: int
    only_a: int
    only_b: int
    changed_ids: list[str]
    only_a_ids: list[str]
    only_b_ids: list[str]

    @property
    def any(self) -> bool:
        """Whether there is a difference."""
        return bool(self.changed or self.only_a or self.only_b)


@dataclass(frozen=True, kw_only=True)
class Diff:
    """Answers `humo diff`. `options`: name -> values on both sides, where they differ."""

    differences: list[Difference]
    options: dict[str, tuple[Any, Any]]

    def to_dict(self) -> dict[str, Any]:
        """As JSON shows it."""
        return asdict(self)


def diff(a: str, b: str) -> Diff:
    """Compare two run folders row by row, or two manifests sample by sample. Raises UserError for anything else."""
    are_runs = [not address.endswith(".json") and latest(Files(address)).number > 0 for address in (a, b)]
    if all(are_runs):
        return _runs(Files(a), Files(b))
    if any(are_runs):
        raise UserError("compare a run with a run, or a manifest with a manifest")
    return Diff(differences=[_samples(load_manifest(a), load_manifest(b))], options={})


def _runs(a: Files, b: Files) -> Diff:
    with tempfile.TemporaryDirectory() as folder:
        sides = [_digests(files, Path(folder) / name) for files, name in ((a, "a"), (b, "b"))]
        found = [
            _compared(table, *(side / f"{table}.parquet" for side in sides))
            for table in TABLES
            if table not in LEFT_OUT
        ]
    options = differing(*(read_run(files).get("configuration", {}) for files in (a, b)))
    return Diff(differences=[one for one in found if one.any], options=options)


def _digests(files: Files, folder: Path) -> Path:
    """A file a table with the id and a digest of each row, without what stands outside every hash."""
    folder.mkdir()
    relations = Relations(files, latest(files))
    for table in TABLES:
        columns = ", ".join(f'"{name}"' for name in TABLES[table].schema.names if name not in OWN)
        query = f'SELECT id, md5(ROW({columns})::VARCHAR) AS digest FROM "{table}"'
        relations.connection.execute(f"COPY ({query}) TO {quoted(str(folder / f'{table}.parquet'))} (FORMAT parquet)")
    return folder


def _compared(what: str, a: Path, b: Path) -> Difference:
    kinds = f"""SELECT coalesce(a.id, b.id) AS id, CASE WHEN a.id IS NULL THEN 'only_b' WHEN b.id IS NULL THEN 'only_a'
                WHEN a.digest = b.digest THEN 'same' ELSE 'changed' END AS kind
                FROM read_parquet({quoted(str(a))}) AS a FULL JOIN read_parquet({quoted(str(b))}) AS b USING (id)"""
    rows = duckdb.execute(f"SELECT kind, count(*), min(id, {EXAMPLES}) FROM ({kinds}) GROUP BY kind").fetchall()
    count = {kind: number for kind, number, _ in rows}
    ids = {kind: examples for kind, _, examples in rows}
    return Difference(
        what=what,
        same=count.get("same", 0),
        changed=count.get("changed", 0),
        only_a=count.get("only_a", 0),
        only_b=count.get("only_b", 0),
        changed_ids=ids.get("changed", []),
        only_a_ids=ids.get("only_a", []),
        only_b_ids=ids.get("only_b", []),
    )


def _samples(a: tuple[Files, Manifest], b: tuple[Files, Manifest]) -> Difference:
    """Samples by key. Only those in shards that not both sides have are read."""
    shared = {shard.url for shard in a[1].shards} & {shard.url for shard in b[1].shards}
    places = [_index(files, manifest) for files, manifest in (a, b)]
    changed: list[str] = []
    same = 0
    for key in sorted(places[0].keys() & places[1].keys()):
        one, other = (side[key] for side in places)
        untouched = one["shard"] == other["shard"] and one["shard"] in shared
        if untouched or _members(a[0], one) == _members(b[0], other):
            same += 1
        else:
            changed.append(key)
    only_a, only_b = (sorted(places[one].keys() - places[1 - one].keys()) for one in (0, 1))
    return Difference(
        what="samples",
        same=same,
        changed=len(changed),
        only_a=len(only_a),
        only_b=len(only_b),
        changed_ids=changed[:EXAMPLES],
        only_a_ids=only_a[:EXAMPLES],
        only_b_ids=only_b[:EXAMPLES],
    )


def _index(files: Files, manifest: Manifest) -> dict[str, dict[str, Any]]:
    """The manifest's samples by key. Raises UserError where the index is not the manifest's."""
    table = pq.read_table(io.BytesIO(files.read("index.parquet")), columns=["key", "shard", "offset", "bytes"])
    rows = {row["key"]: row for row in table.to_pylist()}
    if {row["shard"] for row in rows.values()} - {shard.url for shard in manifest.shards}:
        raise UserError(f"{files.root}/index.parquet is that of another manifest; name the newest one")
    return rows


def _members(files: Files, row: dict[str, Any]) -> dict[str, bytes]:
    with files.open(row["shard"]) as file:
        file.seek(row["offset"])
        data = file.read(row["bytes"])
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
        extracted = {info.name: tar.extractfile(info) for info in tar}
    return {name: member.read() for name, member in extracted.items() if member is not None}
