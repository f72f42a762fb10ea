"""Shards: the same bytes for the same rows, plain for every reader, and refused when something is wrong."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import webdataset
from datasets import Features, Value, load_dataset

from pipeline.config import CurateConfig
from pipeline.engine.decide_again import decide_again
from pipeline.engine.packing import pack_into
from pipeline.pack.config import PackConfig
from pipeline.pack.manifest import newest_manifest
from pipeline.pack.pack import pack
from pipeline.pack.shards import pieces, runs
from pipeline.store.files import Files
from pipeline.store.relations import Relations
from pipeline.store.snapshots import commit, latest
from pipeline.verify import load_manifest, verify
from schemas.manifest import Manifest
from tests.pipeline.synthetic_run import FakeClip, write_synthetic_run

CLIPS = [FakeClip(source=1, start_s=n, sync={"offset_frames": 0 if n % 3 else 9}) for n in range(12)]


def packed(folder: Path, clips: list[FakeClip], config: CurateConfig | None = None) -> tuple[Files, Manifest]:
    config = config or CurateConfig()
    files = write_synthetic_run(folder, clips, config)
    decide_again(Relations(files, latest(files)), config, dry_run=False)
    base = latest(files)
    commit(files, base, pack_into(files, base, config))
    manifest = newest_manifest(files)
    assert manifest is not None
    return files, manifest


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    packed(folder, CLIPS)
    return folder


def test_two_runs_are_equal_byte_for_byte(tmp_path: Path, shards: Path) -> None:
    _, manifest = packed(tmp_path, list(reversed(CLIPS)))
    assert manifest.to_json() == (shards / "shards" / "manifest.json").read_text()
    for shard in manifest.shards:
        assert (tmp_path / "shards" / shard.url).read_bytes() == (shards / "shards" / shard.url).read_bytes()


def test_counts_and_tiers(shards: Path) -> None:
    _, manifest = load_manifest(str(shards))
    assert (manifest.counts.sync, manifest.counts.subject) == (8, 4)
    assert manifest.counts.seconds == pytest.approx(12 * 5 / 25)
    assert {shard.tier for shard in manifest.shards} == {"sync", "subject"}


def test_shards_open_with_webdataset_alone(shards: Path) -> None:
    urls = [str(path) for path in sorted((shards / "shards").glob("*-sync-*.tar"))]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == sorted(clip.key for clip in CLIPS if clip.start_s % 3)
    assert all(sample.keys() >= {"mp4", "flac", "txt", "ref0.png", "faces.json", "json"} for sample in samples)
    assert json.loads(samples[0]["json"])["licence"] == "cc0"


@pytest.mark.parametrize("tier", ["sync", "subject"])
def test_shards_open_with_datasets_alone_and_hold_the_same_columns(shards: Path, tier: str) -> None:
    urls = [str(path) for path in sorted((shards / "shards").glob(f"*-{tier}-*.tar"))]
    names = ["__key__", "__url__", "mp4", "txt", "ref0.png", "faces.json", "json"]
    given = None
    if tier == "sync":
        # Sound columns make `datasets` ask for torchcodec, and that for FFmpeg's libraries; as bytes they need neither.
        names.append("flac")
        text = {"__key__", "__url__", "txt"}
        given = Features({name: Value("string" if name in text else "binary") for name in names})
    dataset = load_dataset("webdataset", data_files=urls, split="train", streaming=True, features=given)
    rows = list(dataset.decode(False) if given is None else dataset)
    assert len(rows) == (8 if tier == "sync" else 4)
    assert {frozenset(row) for row in rows} == {frozenset(names)}
    assert all(row["txt"] for row in rows)


def test_the_index_says_where_each_sample_lies(shards: Path) -> None:
    for row in pq.read_table(shards / "shards" / "index.parquet").to_pylist():
        with (shards / "shards" / row["shard"]).open("rb") as file:
            file.seek(row["offset"])
            data = file.read(row["bytes"])
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            names = tar.getnames()
        assert {name.partition(".")[0] for name in names} == {row["key"]}
        assert len(names) == (6 if row["tier"] == "sync" else 5)


def test_adding_a_clip_changes_only_its_neighbours(tmp_path: Path) -> None:
    config = CurateConfig(pack=PackConfig(samples=3))
    clips = [FakeClip(source=1, start_s=n) for n in range(40)]
    _, before = packed(tmp_path / "a", clips[:20] + clips[21:], config)
    _, after = packed(tmp_path / "b", clips, config)
    old, new = {shard.url for shard in before.shards}, {shard.url for shard in after.shards}
    assert len(new) > 5
    assert len(new - old) <= 2
    assert len(old - new) <= 2


def test_runs_end_by_hash_alone() -> None:
    keys = [f"{n:016x}_0_1" for n in range(3000)]
    found = list(runs(keys, PackConfig(samples=100)))
    assert [key for run in found for key in run] == keys
    assert 15 < len(found) < 60
    without = list(runs(keys[:50] + keys[51:], PackConfig(samples=100)))
    assert len([run for run in without if run not in found]) <= 2


@pytest.mark.parametrize("changed", range(0, 900, 100))
def test_a_size_limit_that_is_hit_moves_only_the_ends_nearby(changed: int) -> None:
    run = [(f"{n:016x}_0_1", 1000 + 37 * n % 900) for n in range(900)]
    limit = 100_000
    whole = list(pieces(run, limit))
    assert [key for piece in whole for key in piece] == [key for key, _ in run]
    size = dict(run)
    assert all(sum(size[key] for key in piece) <= limit for piece in whole)
    assert len(whole) > sum(size.values()) / limit
    fewer = list(pieces(run[:changed] + run[changed + 1 :], limit))
    assert len([piece for piece in fewer if piece not in whole]) <= 2
    assert len([piece for piece in whole if piece not in fewer]) <= 2


def test_one_sample_over_the_size_limit_is_a_shard() -> None:
    assert list(pieces([("a", 5), ("b", 500), ("c", 5)], 100)) == [["a"], ["b"], ["c"]]


def test_the_size_limit_ends_a_shard(tmp_path: Path) -> None:
    config = CurateConfig(pack=PackConfig(max_bytes=2**20))
    _, manifest = packed(tmp_path, [FakeClip(source=1, start_s=n) for n in range(140)], config)
    assert len(manifest.shards) > 1
    assert all(shard.bytes <= 2**20 + tarfile.RECORDSIZE for shard in manifest.shards)
    index = pq.read_table(tmp_path / "shards" / "index.parquet").to_pylist()
    sizes = sorted((row["key"], row["bytes"]) for row in index)
    assert sum(size for _, size in sizes) > 2**20
    wanted = [piece for run in runs([key for key, _ in sizes], config.pack) for piece in _pieces(run, dict(sizes))]
    assert sorted(shard.samples for shard in manifest.shards) == sorted(map(len, wanted))


def _pieces(run: list[str], sizes: dict[str, int]) -> list[list[str]]:
    return list(pieces([(key, sizes[key]) for key in run], 2**20))


def test_packing_again_makes_no_new_manifest(tmp_path: Path) -> None:
    files, manifest = packed(tmp_path, CLIPS)
    again = pack_into(files, latest(files), CurateConfig())
    assert again == latest(files)
    assert newest_manifest(files) == manifest
    assert files.names("shards/manifests") == ["1.json"]


def test_what_was_packed_verifies(shards: Path) -> None:
    assert list(verify(*load_manifest(str(shards)))) == []
    assert list(verify(*load_manifest(str(shards / "shards" / "manifest.json")))) == []


def test_what_was_damaged_does_not(tmp_path: Path) -> None:
    _, manifest = packed(tmp_path, CLIPS)
    path = tmp_path / "shards" / manifest.shards[0].url
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    (tmp_path / "shards" / manifest.shards[1].url).unlink()
    problems = list(verify(*load_manifest(str(tmp_path))))
    assert any("not those that the manifest names" in line for line in problems)
    assert any("missing" in line for line in problems)


def test_a_hostile_member_is_named(tmp_path: Path) -> None:
    files, manifest = packed(tmp_path, CLIPS)
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        for name in ("../../etc/passwd", "no-key.mp4"):
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    shard = manifest.shards[0].model_copy(
        update={"sha256": hashlib.sha256(sink.getvalue()).hexdigest(), "bytes": len(sink.getvalue())}
    )
    files.replace(f"shards/{shard.url}", sink.getvalue())
    lying = manifest.model_copy(update={"shards": [shard]})
    problems = list(verify(Files(f"{files.root}/shards"), lying))
    assert sum("is no member of a sample" in line for line in problems) == 2


@pytest.mark.parametrize("lost", ["manifest.json", "index.parquet"])
def test_a_kill_between_the_manifest_and_what_is_shown_heals(tmp_path: Path, lost: str) -> None:
    files, _ = packed(tmp_path, CLIPS[:6])
    old = (tmp_path / "shards" / lost).read_bytes()
    wanted = files.read(f"shards/{lost}")
    base = latest(files)
    (tmp_path / "shards" / lost).write_bytes(old[:100])
    pack(files, base, PackConfig())
    assert files.read(f"shards/{lost}") == wanted
    (tmp_path / "shards" / lost).unlink()
    pack(files, base, PackConfig())
    assert files.read(f"shards/{lost}") == wanted
