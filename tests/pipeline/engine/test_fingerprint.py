"""What a model is counts, and not where it lies."""

import os
from pathlib import Path

import pytest

from pipeline.config import CurateConfig
from pipeline.engine.fingerprint import fingerprints
from pipeline.weights import locate


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(locate.CACHE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def prints(**sections: object) -> dict[str, str]:
    return fingerprints(CurateConfig.model_validate(sections))


def changed(one: dict[str, str], other: dict[str, str]) -> set[str]:
    return {stage for stage in one if one[stage] != other[stage]}


def test_another_model_under_the_same_path_is_noticed_and_a_moved_one_is_the_same(tmp_path: Path) -> None:
    model, elsewhere = tmp_path / "model.onnx", tmp_path / "moved.onnx"
    model.write_bytes(b"one model")
    faces = {"detector": "yunet", "yunet_model": str(model)}
    before = prints(faces=faces)
    assert prints(faces=faces) == before
    elsewhere.write_bytes(model.read_bytes())
    assert prints(faces={**faces, "yunet_model": str(elsewhere)}) == before
    model.write_bytes(b"two model")
    os.utime(model, ns=(1, 1))
    assert changed(prints(faces=faces), before) == {"faces"}


@pytest.mark.parametrize("option", ["whisper", "own", "aligners"])
def test_the_files_of_a_folder_count(tmp_path: Path, option: str) -> None:
    folder = tmp_path / "model"
    (folder / "part").mkdir(parents=True)
    (folder / "model.bin").write_bytes(b"weights")
    (folder / "part" / "vocabulary.txt").write_text("a b")
    speech = {"words": "faster-whisper"}
    sections: dict[str, object] = {
        "whisper": {"speech": {**speech, "whisper": str(folder)}},
        "aligners": {"speech": {**speech, "aligners": {"de": str(folder)}}},
        "own": {"speech": speech, "weights": {"own": {"faster-whisper-large-v3": str(folder)}}},
    }[option]
    before = prints(**sections)
    (folder / ".lock").write_text("no part of it")
    assert prints(**sections) == before
    (folder / "part" / "vocabulary.txt").rename(folder / "vocabulary.txt")
    assert changed(prints(**sections), before) == {"speech"}
    (folder / "vocabulary.txt").rename(folder / "part" / "vocabulary.txt")
    (folder / "model.bin").write_bytes(b"WEIGHTS")
    os.utime(folder / "model.bin", ns=(1, 1))
    assert changed(prints(**sections), before) == {"speech"}


def test_a_model_is_read_again_only_where_it_changed(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "syncnet.model"
    model.write_bytes(b"weights")
    before = prints(sync={"syncnet": str(model)})
    assert str(model) in (cache / locate.RECORD).read_text()
    from pipeline.weights import content

    content._read.cache_clear()
    monkeypatch.setattr(locate, "digest_of", lambda _path: pytest.fail("read again"))
    assert prints(sync={"syncnet": str(model)}) == before


def test_a_model_that_is_not_here_is_told_by_its_path(tmp_path: Path) -> None:
    one, other = ({"syncnet": str(tmp_path / name)} for name in ("one", "other"))
    assert prints(sync=one) == prints(sync=one)
    assert changed(prints(sync=one), prints(sync=other)) == {"sync"}
