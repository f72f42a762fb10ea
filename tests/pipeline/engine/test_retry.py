"""Failed rows again: what had not failed, and stands on nothing that had, is not asked for a second time."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.config import CurateConfig
from pipeline.engine import curate as engine
from pipeline.engine.retry import with_retries
from pipeline.stages.captions import MeasurementsStage
from pipeline.stages.clips import ClipsConfig
from pipeline.stages.quality import QualityStage
from pipeline.store.files import Files
from pipeline.store.relations import Relations
from pipeline.store.snapshots import commit, latest
from schemas.errors import UserError
from schemas.tables import UNHASHED_COLUMNS
from tests.pipeline.direct_run import curate_directly
from tests.pipeline.made_videos import numbered, steady, texture, write_video

CONFIG = CurateConfig(clips=ClipsConfig(frames=21, min_frames=17))


@pytest.fixture(autouse=True)
def no_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "run_sets", lambda _files, snapshot, _config, **_: snapshot)


def retried(files: Files, stage: str | None) -> int:
    base = latest(files)
    again, rows = with_retries(base, Relations(files, base), stage=stage, error=None)
    commit(files, base, again)
    return rows


def rows_of(files: Files, table: str) -> list[dict[str, Any]]:
    rows = Relations(files, latest(files)).arrow(table).drop_columns(list(UNHASHED_COLUMNS))
    return list(rows.to_pylist())


@pytest.mark.parametrize("stage", [None, "quality"])
def test_only_what_failed_and_what_stands_on_it_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str | None
) -> None:
    pictures = [numbered(texture(scene), scene) for scene in range(2) for _ in range(21)]
    video = write_video(tmp_path / "made.mp4", pictures, times_ms=steady(len(pictures)))
    asked: dict[str, list[str]] = {"quality": [], "captions": []}
    start, measure = QualityStage.start, MeasurementsStage.measure
    broken = True

    def started(self: Any, clip: Any) -> Any:
        asked["quality"].append(clip.id)
        if broken and clip.start_us == 0:
            raise RuntimeError("broken")
        return start(self, clip)

    def measured(self: Any, clip: Any, inputs: Any) -> Any:
        asked["captions"].append(clip.id)
        return measure(self, clip, inputs)

    monkeypatch.setattr(QualityStage, "start", started)
    monkeypatch.setattr(MeasurementsStage, "measure", measured)
    files, calm = Files(str(tmp_path / "run")), Files(str(tmp_path / "calm"))
    curate_directly(files.root, [video], CONFIG)
    (first,) = (row["id"] for row in rows_of(files, "clips") if row["start_us"] == 0)
    failed = [table for table in ("quality", "captions") for row in rows_of(files, table) if row["status"] == "failed"]
    assert failed == ["quality", "captions"], "captions stand on quality"
    for _ in range(2):
        # The second time it heals.
        asked = {name: [] for name in asked}
        assert retried(files, stage) == (2 if stage is None else 1)
        curate_directly(files.root, [], CONFIG)
        assert asked["quality"] == [first]
        assert asked["captions"] in ([first], []), "those that stand on nothing that failed are as they were"
        broken = False
    assert asked["captions"] == [first]
    curate_directly(calm.root, [video], CONFIG)
    for table in ("quality", "captions", "looks"):
        assert rows_of(files, table) == rows_of(calm, table)


def test_places_that_failed_are_counted_and_may_be_named(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("missing.mp4\n")
    files = Files(str(tmp_path / "run"))
    curate_directly(files.root, [tmp_path / "list.txt"], CONFIG)
    assert (retried(files, None), retried(files, "crawl"), retried(files, "captions")) == (1, 1, 0)
    assert (retried(files, "locations"), retried(files, "tracks")) == (1, 0), "by the table that the rows are in"
    with pytest.raises(UserError, match="give one of crawl, shots"):
        retried(files, "pack")
