"""Parts: stable bytes, known columns, versions read backwards only."""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.engine.rows import completed
from pipeline.store.bundles import write_bundle
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
    write_part(files, "quality", part_path("quality", "f", "x"), [completed({"id": "b_1", "luma": 0.5}, **ABOUT)])
    rows = [completed({"id": id_, "luma": 0.5}, **ABOUT) for id_ in ("c_1", "a_2", "a_1")]
    name, bundle = write_bundle(files, {"quality": to_arrow("quality", rows)})
    snapshot = Snapshot().with_bundle(name, bundle, {})
    whole = Relations(files, snapshot)
    assert whole.connection.execute("SELECT id FROM quality").fetchall() == [("a_1",), ("a_2",), ("c_1",)]
    relations = Relations(files, snapshot.dropping({name: ["a"]}))
    assert relations.connection.execute("SELECT id FROM quality").fetchall() == [("c_1",)]
    assert relations.arrow("quality")["id"].to_pylist() == ["c_1"]
    assert snapshot.dropping({name: ["a", "c"]}).bundles == {}
    assert relations.connection.execute("SELECT id FROM captions").fetchall() == []
    assert isinstance(relations.arrow("quality"), pa.Table)
