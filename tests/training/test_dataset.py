import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from schemas.errors import UserError
from tests.training.sample_shards import Sample, write_shards
from training.dataset import IndexRow, hold_out, open_shard_set, verify_shards


def row(key: str, tier: str = "sync") -> IndexRow:
    return IndexRow(key, "s.tar", 0, 512, "train", tier, 1, 97, 64, 64, ("ann",))


def test_opens_by_file_and_by_folder(shards: Path) -> None:
    by_file, by_folder = open_shard_set(str(shards)), open_shard_set(str(shards.parent))
    assert by_file == by_folder
    assert len(by_file.rows) == 13
    assert [entry.key for entry in by_file.rows] == sorted(entry.key for entry in by_file.rows)
    verify_shards(by_file, hashes=True)


def test_opens_any_file_system(shards: Path) -> None:
    opened = open_shard_set(f"file://{shards}")
    assert opened.address(opened.rows[0].shard).startswith("file://")
    verify_shards(opened, hashes=True)


def test_missing_manifest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no manifest at"):
        open_shard_set(str(tmp_path))


def test_a_changed_byte_is_found_only_by_its_hash(shards: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(shards.parent, tmp_path / "copy")
    opened = open_shard_set(str(folder))
    shard = folder / opened.manifest.shards[0].url
    content = bytearray(shard.read_bytes())
    content[600] ^= 1
    shard.write_bytes(content)
    verify_shards(opened, hashes=False)
    with pytest.raises(UserError, match=rf"{shard.name} has the SHA-256 .* the manifest says"):
        verify_shards(opened, hashes=True)
    shard.write_bytes(content[:-1])
    with pytest.raises(UserError, match="bytes, the manifest says"):
        verify_shards(opened, hashes=False)
    shard.unlink()
    with pytest.raises(UserError, match="cannot be read"):
        verify_shards(opened, hashes=False)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda rows: rows[1:], "has 2 samples of .* the manifest 3"),
        (lambda rows: [*rows, rows[0]], "more than once"),
        (lambda rows: [{**rows[0], "shard": "other.tar"}, *rows[1:]], "which the manifest does not have"),
        (lambda rows: [{**rows[0], "offset": 1 << 40}, *rows[1:]], "contradicts the manifest"),
        (lambda rows: [{**rows[0], "tier": "subject"}, *rows[1:]], "contradicts the manifest"),
    ],
)
def test_an_index_that_contradicts_the_manifest_is_refused(tmp_path: Path, change: object, complaint: str) -> None:
    manifest = write_shards(tmp_path, [Sample(key=f"k{n}", frames=5) for n in range(3)])
    table = pq.read_table(tmp_path / "index.parquet")
    pq.write_table(type(table).from_pylist(change(table.to_pylist()), schema=table.schema), tmp_path / "index.parquet")
    with pytest.raises(UserError, match=complaint):
        open_shard_set(str(manifest))


def test_an_index_without_a_column_or_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    manifest = write_shards(tmp_path, [Sample(key="k", frames=5)])
    table = pq.read_table(tmp_path / "index.parquet")
    pq.write_table(table.drop_columns(["frames", "tier"]), tmp_path / "index.parquet")
    with pytest.raises(UserError, match="lacks the columns frames, tier"):
        open_shard_set(str(manifest))
    (tmp_path / "index.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match="not a parquet file"):
        open_shard_set(str(manifest))


def test_a_newer_manifest_is_refused(tmp_path: Path) -> None:
    manifest = write_shards(tmp_path, [Sample(key="k", frames=5)])
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "schema": "humo.manifest/2"}))
    with pytest.raises(UserError, match="humo.manifest/2"):
        open_shard_set(str(manifest))


def test_hold_out_depends_on_keys_alone_and_serves_each_tier() -> None:
    rows = [row(f"a{n}") for n in range(20)] + [row(f"b{n}", "subject") for n in range(5)]
    trained, kept = hold_out(rows, 0.2)
    assert sorted(entry.tier for entry in kept) == ["subject"] + ["sync"] * 4
    assert not {entry.key for entry in trained} & {entry.key for entry in kept}
    assert len(trained) + len(kept) == 25
    assert hold_out(rows[::-1], 0.2)[1] == kept[::-1]
    assert hold_out(rows, 0.0)[1] == []


def test_hold_out_takes_one_of_two_and_never_the_only_one() -> None:
    assert len(hold_out([row("a"), row("b")], 0.01)[1]) == 1
    assert hold_out([row("a")], 0.5)[1] == []
