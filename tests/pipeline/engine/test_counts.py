"""What a change costs: the run counts what it computed, and that is what the change concerns and nothing else."""

import json
import shutil
from pathlib import Path

import pytest

from pipeline.store.files import Files
from pipeline.store.relations import Relations
from pipeline.store.snapshots import latest
from tests.pipeline.direct_run import humo_directly
from tests.pipeline.engine.test_film import rows_of, shards_of
from tests.pipeline.made_videos import numbered, steady, texture, write_video

SETTINGS = ["--set", "clips.frames=21", "--set", "clips.min_frames=17"]


def computed(run: Path) -> dict[str, int]:
    found: dict[str, int] = json.loads(humo_directly("status", run, "--json").text)["computed"]
    return found


def more(run: Path, before: dict[str, int]) -> dict[str, int]:
    """What was computed since."""
    return {stage: count - before.get(stage, 0) for stage, count in computed(run).items() if count != before.get(stage)}


@pytest.mark.slow
def test_a_caption_option_redoes_captions_decisions_and_shards(film_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(film_run, tmp_path / "run", ignore=shutil.ignore_patterns(".tmp")))
    files, before, rows, shards = Files(str(run)), computed(run), rows_of(run), shards_of(run)
    status = humo_directly("curate", "--out", run, "--set", "captions.speech=false")
    assert status.code == 0, status.text
    clips = len([row for row in rows["clips"] if row["status"] == "ok"])
    manifest = json.loads((run / "shards" / "manifest.json").read_text())
    # Looks and references compare pictures with the caption: they stand on it.
    on_captions = ("captions", "looks", "references", "decide")
    assert more(run, before) == {**dict.fromkeys(on_captions, clips), "pack": len(manifest["shards"])}
    now = rows_of(run)
    changed = {table for table in rows if rows[table] != now[table]}
    # The ledger names the new fingerprint, and what hangs on captions alone changes.
    assert changed == {"ledger", "captions", "looks", "references", "decisions"} - _equal(rows, now)
    assert set(shards_of(run)).isdisjoint(shards)
    assert Relations(files, latest(files)).connection.execute("SELECT count(*) FROM ledger").fetchall() == [(4,)]
    assert not (run / "pending").exists() or not list((run / "pending").rglob("*.parquet"))
    again = computed(run)
    assert humo_directly("curate", "--out", run).code == 0
    assert more(run, again) == {}


def _equal(one: dict[str, list[dict[str, object]]], other: dict[str, list[dict[str, object]]]) -> set[str]:
    return {table for table in ("looks", "references", "decisions") if one[table] == other[table]}


@pytest.mark.slow
def test_a_source_more_is_compared_and_nothing_else_is_done_again(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    for number in range(3):
        scenes = [numbered(texture(10 * number + scene), scene) for scene in range(3) for _ in range(21)]
        write_video(folder / f"made{number}.mp4", scenes, times_ms=steady(len(scenes)))
    run = tmp_path / "run"
    first, second, third = sorted(folder.glob("*.mp4"))
    assert humo_directly("curate", first, second, "--out", run, *SETTINGS).code == 0
    before, bundles = computed(run), latest(Files(str(run))).bundles
    assert before["clips"] == 2
    assert before["duplicates"] == before["quality"]
    assert humo_directly("curate", third, "--out", run).code == 0
    new = more(run, before)
    clips = new["quality"]
    assert {stage: new[stage] for stage in ("shots", "clips", "faces", "captions", "duplicates")} == {
        "shots": 1, "clips": 1, "faces": clips, "captions": clips, "duplicates": clips
    }  # fmt: skip
    assert "identities" not in new, "nobody is to be seen"
    assert bundles.items() <= latest(Files(str(run))).bundles.items(), "what was committed lies where it lay"
