"""What is measured on clips needs no footage: it may lie in an archive, or have been taken down in part."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.config import CurateConfig
from pipeline.engine import curate as engine
from pipeline.engine.takedown import without_spans
from pipeline.stages.captions import CaptionsConfig
from pipeline.stages.clips import ClipsConfig
from pipeline.stages.options.crawl import CrawlConfig
from pipeline.store.files import Files
from pipeline.store.relations import Relations
from pipeline.store.snapshots import commit, latest
from tests.pipeline.direct_run import curate_directly
from tests.pipeline.made_videos import numbered, steady, texture, write_video

CONFIG = CurateConfig(
    clips=ClipsConfig(frames=21, min_frames=17),
    # A file system in memory is any host, to a crawl.
    crawl=CrawlConfig(private_addresses=True),
)
OTHER_CAPTIONS = CONFIG.model_copy(update={"captions": CaptionsConfig(speech=False)})
OTHER_CLIPS = CONFIG.model_copy(update={"clips": ClipsConfig(frames=17, min_frames=17)})


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Two shots, each of one clip."""
    pictures = [numbered(texture(scene), scene) for scene in range(2) for _ in range(21)]
    return write_video(tmp_path / "made.mp4", pictures, times_ms=steady(len(pictures)))


@pytest.fixture(autouse=True)
def no_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "run_sets", lambda _files, snapshot, _config, **_: snapshot)


def rows(files: Files, query: str) -> list[tuple[Any, ...]]:
    return Relations(files, latest(files)).connection.execute(query).fetchall()


def test_archived_footage_is_needed_for_new_clips_alone(video: Path, tmp_path: Path) -> None:
    files = Files(str(tmp_path / "run"))
    curate_directly(files.root, [str(video)], CONFIG)
    before = rows(files, "SELECT fingerprint FROM captions")
    video.unlink()
    again = curate_directly(files.root, [], OTHER_CAPTIONS)
    assert (again.computed, again.gone) == (1, [])
    assert rows(files, "SELECT fingerprint FROM captions") != before
    assert curate_directly(files.root, [], OTHER_CLIPS).gone == [str(video)]


def test_fetched_footage_is_brought_to_a_worker_where_it_is_decoded_alone(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = Files(f"memory://{tmp_path.name}")
    elsewhere.create("footage/made.mp4", video.read_bytes())
    files = Files(f"{elsewhere.root}/run")
    fetched: list[str] = []
    fetch = Files.fetch

    def noted(self: Files, path: str, target: Path) -> None:
        fetched.append(path)
        fetch(self, path, target)

    monkeypatch.setattr(Files, "fetch", noted)
    curate_directly(files.root, [f"{elsewhere.root}/footage/made.mp4"], CONFIG)
    assert sum(path.startswith("media/sources/") for path in fetched) == 1
    fetched.clear()
    curate_directly(files.root, [], OTHER_CAPTIONS)
    assert not any(path.startswith("media/sources/") for path in fetched)

    # What a takedown of one of its clips leaves.
    ((source, *span), _) = rows(files, "SELECT source_id, start_us, end_us FROM clips ORDER BY id")
    commit(files, latest(files), without_spans(files, latest(files), {source: [span]}))
    for path in files.walk("media/sources"):
        files.remove(path)
    again = curate_directly(files.root, [], CONFIG)
    assert (again.computed, again.gone) == (1, [])
    (told,) = curate_directly(files.root, [], OTHER_CLIPS).gone
    assert "taken down" in told
    # The file itself, beside the run, will do.
    assert curate_directly(files.root, [str(video)], OTHER_CLIPS).gone == []
    assert list(files.walk("media/sources")) == []
