"""Whatever is wrong with the shards is named and counted, and the run goes on or refuses, as it is told."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.errors import UserError, WorkFailed
from tests.training.sample_shards import Sample, members, write_shards
from training.config import TrainingConfig
from training.trainer import train

Config = Callable[..., TrainingConfig]
Members = dict[str, bytes]


def without(name: str) -> Callable[[Members], Members]:
    return lambda files: {key: value for key, value in files.items() if key != name}


def replaced(name: str, content: bytes) -> Callable[[Members], Members]:
    return lambda files: {**files, name: content}


OTHERS_FACES = members(Sample(key="x", person="bob"), 5)["faces.json"]
SHORT_VIDEO = members(Sample(key="x", frames=16), 5)["mp4"]
HOSTILE: dict[str, tuple[Callable[[Members], Members], str]] = {
    "no_sound": (without("flac"), "lacks the members flac"),
    "no_reference": (without("ref0.png"), "lacks the members ref0.png"),
    "others_faces": (replaced("faces.json", OTHERS_FACES), "the index does not know bob"),
    "short_faces": (replaced("faces.json", b'{"frames": [[]]}'), "faces.json has 1 frames"),
    "sixteen_frames": (replaced("mp4", SHORT_VIDEO), "the mp4 has 16 frames, the index says 21"),
    "no_text": (replaced("txt", b"\xff\xfe"), "not UTF-8"),
}


def damaged_set(folder: Path) -> Path:
    good = [Sample(key=f"good_{n}", person=("ann", "bob")[n % 2]) for n in range(24)]
    bad = [Sample(key=f"bad_{name}", edit=edit) for name, (edit, _) in HOSTILE.items()]
    return write_shards(folder, [*good, *bad, Sample(key="too_short", frames=16)], per_shard=5)


def cut_in_two(manifest: Path) -> tuple[str, list[str]]:
    """Truncate the last shard; its name and the keys it held."""
    import pyarrow.parquet as pq

    rows = pq.read_table(manifest.parent / "index.parquet").to_pylist()
    shard = rows[0]["shard"]
    path = manifest.parent / shard
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    return shard, [row["key"] for row in rows if row["shard"] == shard]


LONG = ["data.lengths=[17]", "data.hold_out=0", "data.batch=8", "stages.sync.steps=9", "validation.samples=2"]


def test_the_run_goes_on_and_every_fault_is_named(
    tmp_path: Path, small_config: Config, capfd: pytest.CaptureFixture[str]
) -> None:
    manifest = damaged_set(tmp_path / "data")
    shard, keys = cut_in_two(manifest)
    config = small_config(*LONG, "data.verify=nothing")
    result = train(config, data=str(manifest), out=tmp_path / "out", resume=False)
    lines = [json.loads(line) for line in (tmp_path / "out" / "damaged.jsonl").read_text().splitlines()]
    reasons = {line["key"]: line["reason"] for line in lines}
    assert result.damaged == len(reasons) == len(lines)
    for name, (_, reason) in HOSTILE.items():
        if f"bad_{name}" not in keys:
            assert reason in reasons[f"bad_{name}"]
    torn = [key for key in keys if key in reasons]
    assert torn
    assert all(shard in reasons[key] or "cut off" in reasons[key] for key in torn if not key.startswith("bad_"))
    assert "too_short" not in reasons
    assert "(1 too short)" in capfd.readouterr().err
    valid = [json.loads(line)["valid"] for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert min(valid) < 8
    assert min(valid) > 0


def test_or_it_refuses(tmp_path: Path, small_config: Config) -> None:
    manifest = damaged_set(tmp_path / "data")
    with pytest.raises(WorkFailed, match=r"step \d: the sample bad_\w+ cannot be used"):
        train(small_config(*LONG, "data.damaged=stop"), data=str(manifest), out=tmp_path / "out", resume=False)
    cut_in_two(manifest)
    with pytest.raises(UserError, match="bytes, the manifest says"):
        train(small_config(*LONG, "data.verify=sizes"), data=str(manifest), out=tmp_path / "cut", resume=False)


def test_a_hash_that_lies_is_refused_or_shows_in_the_samples(tmp_path: Path, small_config: Config) -> None:
    manifest = write_shards(tmp_path / "data", [Sample(key=f"k{n}", frames=5) for n in range(4)])
    content = json.loads(manifest.read_text())
    content["shards"][0]["sha256"] = "0" * 64
    manifest.write_text(json.dumps(content))
    few = [f"stages.{name}.steps=1" for name in ("start", "subject", "sync")]
    with pytest.raises(UserError, match=r"has the SHA-256 \w+\.\.\., the manifest says 0000"):
        train(small_config(*few), data=str(manifest), out=tmp_path / "out", resume=False)
    told = small_config(*few, "data.verify=sizes", "data.hold_out=0")
    assert train(told, data=str(manifest), out=tmp_path / "out", resume=False).damaged == 0


@pytest.mark.parametrize("seed", range(4))
def test_no_noise_in_a_shard_stops_the_loader(tmp_path: Path, small_config: Config, seed: int) -> None:
    """Any bytes overwritten anywhere: the samples they hit are damaged or decode to something, the others are whole."""
    from training.dataset import open_shard_set
    from training.loader import Batches
    from training.plan import Plan

    draw = random.Random(seed)
    manifest = write_shards(tmp_path, [Sample(key=f"k{n}", frames=5, size=(32, 32)) for n in range(4)])
    [shard] = tmp_path.glob("*.tar")
    content = bytearray(shard.read_bytes())
    for _ in range(30):
        place = draw.randrange(len(content) - 64)
        content[place : place + 64] = draw.randbytes(64)
    shard.write_bytes(content)
    opened, config = open_shard_set(str(manifest)), small_config("data.cache_mb=0")
    plan = Plan(opened.rows, data=config.data, stages=config.stages, seed=0)
    for step in range(4):
        batch = Batches(opened, plan, config)[step]
        lost = {damage.key for damage in batch.damaged}
        assert [weight == 0 for weight in batch.weight_b.tolist()] == [key in lost for key in batch.keys]
