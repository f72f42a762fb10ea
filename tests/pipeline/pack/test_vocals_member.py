"""The voice alone as a member of a sample: beside the sound, moved with it, gone with it, and in no reader's way."""

import io
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import webdataset

from pipeline.backends.flac import flac_of
from pipeline.config import CurateConfig
from pipeline.engine.clean import leftovers
from pipeline.engine.takedown import take_down
from pipeline.pack.config import PackConfig, SyncCorrection
from pipeline.store.files import Files
from pipeline.store.snapshots import latest
from pipeline.verify import load_manifest, verify
from schemas.errors import UserError
from schemas.manifest import Manifest
from tests.pipeline import synthetic_run
from tests.pipeline.pack.test_pack import packed
from tests.pipeline.synthetic_run import FRAMES, FakeClip
from training.dataset import open_shard_set
from training.samples import read_members


def voice(number: int, *, frames: int = FRAMES) -> bytes:
    samples = np.zeros(frames * 640, np.int16)
    samples[1000] = number
    return flac_of(samples)


def clip(number: int, *, offset: int = 0) -> FakeClip:
    """With a stem that its number tells from every other."""
    sync = {"offset_frames": offset, "p_value": 0.001, "drift_frames": 0}
    return FakeClip(source=number, start_s=number, sync=sync, vocals=voice(100 + number))


STEMS = [clip(1), clip(2), clip(3)]
CLIPS = [*STEMS, replace(clip(4), vocals=None), clip(5, offset=9)]
"""Three with a stem, one without, one that is not in step, and packed without any sound."""


def members(files: Files, manifest: Manifest) -> Iterator[tuple[str, list[str], dict[str, bytes]]]:
    """(key, suffixes in order, bytes by suffix) of every sample."""
    for shard in manifest.shards:
        found: dict[str, dict[str, bytes]] = {}
        with tarfile.open(fileobj=io.BytesIO(files.read(f"shards/{shard.url}"))) as tar:
            for info in tar:
                key, _, suffix = info.name.partition(".")
                extracted = tar.extractfile(info)
                assert extracted is not None
                found.setdefault(key, {})[suffix] = extracted.read()
        yield from ((key, list(each), each) for key, each in found.items())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Files:
    files, _ = packed(tmp_path_factory.mktemp("vocals"), CLIPS)
    return files


def test_samples_of_a_shard_have_the_same_members_and_the_raw_sound_is_always_one(run: Files) -> None:
    _, manifest = load_manifest(run.root)
    found = {key: (suffixes, data) for key, suffixes, data in members(run, manifest)}
    sync = ["mp4", "flac", "txt", "ref0.png", "faces.json", "json"]
    for each in CLIPS:
        suffixes, data = found[each.key]
        if each.source == 5:
            assert suffixes == [name for name in sync if name != "flac"]
        elif each.vocals is None:
            assert suffixes == sync
        else:
            assert suffixes == [*sync[:2], "vocals.flac", *sync[2:]]
            assert data["vocals.flac"] == each.vocals
    for shard in manifest.shards:
        alone = manifest.model_copy(update={"shards": [shard]})
        assert len({tuple(suffixes) for _, suffixes, _ in members(run, alone)}) == 1
    assert list(verify(*load_manifest(run.root))) == []


def test_training_and_plain_readers_do_without_it(run: Files) -> None:
    opened = open_shard_set(f"{run.root}/shards/manifest.json")
    assert len(opened.rows) == len(CLIPS)
    for row in opened.rows:
        read = read_members(opened.address(row.shard), row)
        assert "vocals.flac" not in read
        assert ("flac" in read) == (row.tier == "sync")
    urls = [str(path) for path in sorted((Path(run.root) / "shards").glob("*-sync-*.tar"))]
    samples = {each["__key__"]: each for each in webdataset.WebDataset(urls, shardshuffle=False)}
    assert sum("vocals.flac" in each for each in samples.values()) == len(STEMS)


def test_it_is_moved_with_the_sound_and_verified(tmp_path: Path) -> None:
    config = CurateConfig(pack=PackConfig(correction=SyncCorrection(enabled=True)))
    late, right, short = clip(1, offset=1), clip(2), replace(clip(3), vocals=voice(103, frames=FRAMES - 1))
    files, manifest = packed(tmp_path, [late, right, short], config)
    found = {key: data for key, _, data in members(files, manifest)}
    for each, place in ((late, 1000 - 640), (right, 1000)):
        samples, _ = soundfile.read(io.BytesIO(found[each.key]["vocals.flac"]), dtype="int16")
        assert np.flatnonzero(samples).tolist() == [place]
        assert len(samples) == FRAMES * 640
    (problem,) = verify(*load_manifest(files.root))
    assert f"{short.key}: the sound has 2560 samples" in problem


def test_what_is_taken_down_leaves_no_stem(run: Files, tmp_path: Path) -> None:
    files = Files(str(shutil.copytree(run.root, tmp_path / "run")))
    stems = set(files.walk("media/vocals"))
    assert len(stems) == len(STEMS) + 1
    assert not set(leftovers(files, latest(files), keep_manifests=1)) & stems
    take_down(files, latest(files), CurateConfig(), sample=STEMS[0].key)
    assert len(set(files.walk("media/vocals")) & stems) == len(STEMS)
    _, manifest = load_manifest(files.root)
    assert STEMS[0].vocals not in [data.get("vocals.flac") for _, _, data in members(files, manifest)]


def test_a_run_of_before_there_was_such_a_table_is_measured_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows_of = synthetic_run._clip_rows

    def without(files: Files, made: FakeClip) -> dict[str, dict[str, Any]]:
        return {table: row for table, row in rows_of(files, made).items() if table != "vocals"}

    monkeypatch.setattr(synthetic_run, "_clip_rows", without)
    with pytest.raises(UserError, match="has no row in vocals: give 'humo curate --out"):
        packed(tmp_path, STEMS[:2])
