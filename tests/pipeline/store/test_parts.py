"""Parts: stable bytes, known columns, versions read backwards only."""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.engine.rows import completed
from pipeline.store.files import Files
from pipeline.store.parts import part_path, read_part, to_arrow, write_part
from pipeline.store.relations import Relations
from pipeline.store.snapshots import Snapshot
from schemas.errors import UserError

ABOUT = {"backend": "test/1", "fingerprint": "f", "seconds": 0.0}


def test_rows_are_sorted_and_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    rows = [completed({"id": id_, "luma": 0.5}, **ABOUT) for id_ in ("b", "a")]
    for name, order in (("one", rows), ("two", rows[::-1])):
        write_part(Files(str(tmp_path)), "quality", name, order)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert read_part(Files(str(tmp_path)), "one").column("id").to_pylist() == ["a", "b"]


def test_an_unknown_column_is_a_bug_and_raises() -> None:
    with pytest.raises(KeyError, match="brightness"):
        to_arrow("quality", [{"id": "a", "brightness": 1.0}])


def test_what_is_no_number_becomes_null() -> None:
    row = completed({"id": "a", "luma": float("nan"), "sharpness": float("inf"), "motion": 0.5}, **ABOUT)
    assert (row["luma"], row["sharpness"], row["motion"]) == (None, None, 0.5)


def test_a_part_of_a_newer_version_is_refused_by_name(tmp_path: Path) -> None:
    table = to_arrow("quality", [completed({"id": "a"}, **ABOUT)])
    newer = table.replace_schema_metadata({"humo.table": "quality", "humo.version": "99"})
    sink = io.BytesIO()
    pq.write_table(newer, sink)
    Files(str(tmp_path)).create("p.parquet", sink.getvalue())
    with pytest.raises(UserError, match="quality version 99"):
        read_part(Files(str(tmp_path)), "p.parquet")


@pytest.mark.parametrize("scheme", ["", "memory://"])
def test_relations_show_only_committed_parts(tmp_path: Path, scheme: str) -> None:
    files = Files(f"{scheme}{tmp_path}/run")
    committed, other = part_path("quality", "f", "one"), part_path("quality", "f", "two")
    write_part(files, "quality", committed, [completed({"id": "a", "luma": 0.5}, **ABOUT)])
    write_part(files, "quality", other, [completed({"id": "b", "luma": 0.5}, **ABOUT)])
    relations = Relations(files, Snapshot().with_sources({"s": {"quality": [committed]}}))
    assert relations.connection.execute("SELECT id FROM quality").fetchall() == [("a",)]
    assert relations.connection.execute("SELECT id FROM captions").fetchall() == []
    assert isinstance(relations.arrow("quality"), pa.Table)


def test_a_part_of_an_older_version_is_read_with_nulls(tmp_path: Path) -> None:
    files = Files(str(tmp_path))
    new, old = part_path("locations", "f", "new"), part_path("locations", "f", "old")
    for path in (new, old):
        write_part(files, "locations", path, [completed({"id": path, "uri": path}, **ABOUT)])
    table = pq.read_table(tmp_path / old).drop_columns(["media_sha256"])
    metadata = table.schema.metadata | {b"humo.version": b"1"}
    pq.write_table(table.replace_schema_metadata(metadata), tmp_path / old)
    assert read_part(files, old).column("media_sha256").to_pylist() == [None]
    for paths in ([old], [old, new]):
        relations = Relations(files, Snapshot(parts={"locations": {"g": paths}}))
        query = "SELECT uri, media_sha256 FROM locations ORDER BY uri"
        assert relations.connection.execute(query).fetchall() == [(path, None) for path in sorted(paths)]
        assert len(relations.arrow("locations")) == len(paths)
