"""The demo film end to end: decisions equal its truth table; in the long form whatever the workers and the order."""

import json
import os
from pathlib import Path

import pytest

from pipeline.demo.check import judge
from pipeline.demo.line import DEMO_CONFIG
from pipeline.demo.truth import TRUTH_FILE, read_truth
from pipeline.store.files import Files
from pipeline.store.relations import Relations
from pipeline.store.snapshots import latest
from schemas.tables import CLIP_TABLES, TABLES, UNHASHED_COLUMNS
from tests.pipeline.direct_run import humo_directly


def shards_of(run: Path) -> dict[str, str]:
    manifest = json.loads((run / "shards" / "manifest.json").read_text())
    return {shard["url"]: shard["sha256"] for shard in manifest["shards"]}


def rows_of(run: Path) -> dict[str, list[dict[str, object]]]:
    """Every current row, without what stands outside hashes."""
    files = Files(str(run))
    relations = Relations(files, latest(files))
    return {name: relations.arrow(name).drop_columns(list(UNHASHED_COLUMNS)).to_pylist() for name in TABLES}


def curate(run: Path, *inputs: Path) -> str:
    done = humo_directly("curate", *inputs, "--out", run, "--config", DEMO_CONFIG)
    assert done.code == 0, done.text
    return done.text


def test_decisions_equal_the_truth_table(film: Path, film_run: Path) -> None:
    files = Files(str(film_run))
    judged = judge(read_truth(film / TRUTH_FILE), Relations(files, latest(files)))
    assert [f"{one.shot.id} ({one.shot.kind}): {one.problem}" for one in judged if one.problem] == []
    kinds = {one.shot.kind for one in judged}
    assert kinds == {"good", "faceless", "silent", "late", "blurred", "black", "duplicate"}
    assert sum(len(one.clips) for one in judged if one.shot.kind == "good") >= 18


def test_no_candidate_is_of_the_same_shot_a_copy_of_it_or_somebody_else(film_run: Path) -> None:
    files = Files(str(film_run))
    found = (
        Relations(files, latest(files))
        .connection.execute(
            """SELECT count(*), count(*) FILTER (own.shot_id = other.shot_id),
                  count(*) FILTER (mine."group" = its."group"),
                  count(*) FILTER (person.identity <> shown.identity)
           FROM candidates JOIN clips AS own ON own.id = clip_id JOIN clips AS other ON other.id = reference_clip_id
           JOIN duplicates AS mine ON mine.id = clip_id JOIN duplicates AS its ON its.id = reference_clip_id
           JOIN identities AS person ON person.clip_id = candidates.clip_id AND person.track = candidates.track
           JOIN identities AS shown ON shown.clip_id = reference_clip_id AND shown.track = reference_track"""
        )
        .fetchall()
    )
    ((count, *wrong),) = found
    assert count > 100
    assert wrong == [0, 0, 0]


def test_every_clip_level_table_has_a_row_for_every_clip(film_run: Path) -> None:
    rows = rows_of(film_run)
    clips = [row["id"] for row in rows["clips"]]
    for table in (*CLIP_TABLES, "decisions"):
        assert [row["id"] for row in rows[table]] == clips, table


def test_each_pass_decoded_once(film_run: Path) -> None:
    status = json.loads(humo_directly("status", film_run, "--json").text)
    clips = next(table["ok"] for table in status["tables"] if table["table"] == "clips")
    assert status["decodes"] == {"shots": 4, "clips": 4, "measure": clips}
    assert status["redo"] == {}
    assert status["failures"] == []


def test_the_same_command_again_does_nothing(film: Path, film_run: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in film_run.rglob("*") if path.is_file()}
    shards = shards_of(film_run)
    assert "0 of them computed now" in curate(film_run, film)
    assert shards_of(film_run) == shards
    after = {path: path.stat().st_mtime_ns for path in film_run.rglob("*") if path.is_file()}
    changed = {path.name for path in after if after[path] != before.get(path)}
    assert changed <= {"writer.lock"}


@pytest.mark.slow
@pytest.mark.skipif("HUMO_LONG" not in os.environ, reason="curates the demo film twice more: set HUMO_LONG=1")
def test_without_ray_and_half_of_the_film_first_it_ends_the_same(film: Path, film_run: Path, tmp_path: Path) -> None:
    reels = sorted(film.glob("*.mp4"))
    run = tmp_path / "run"
    curate(run, *reels[2:])
    curate(run, film)
    assert shards_of(run) == shards_of(film_run)
    assert rows_of(run) == rows_of(film_run)


def test_a_changed_threshold_runs_no_model(film_run: Path) -> None:
    dry = humo_directly("decide", film_run, "--set", "decide.references.upper=0.5", "--dry-run", "--json")
    assert dry.code == 0, dry.text
    assert json.loads(dry.text)["funnel"]["kept"]["sync"] == 0
    assert json.loads(humo_directly("status", film_run, "--json").text)["redo"] == {}


def test_what_a_changed_option_would_redo(film_run: Path) -> None:
    from pipeline.config import CurateConfig
    from pipeline.engine.run_file import read_run
    from pipeline.stages.captions import CaptionsConfig
    from pipeline.status import status_of

    files = Files(str(film_run))
    config = CurateConfig.model_validate(read_run(files)["configuration"])
    same = status_of(files, latest(files), config)
    assert same.redo == {}
    other = config.model_copy(update={"sync": config.sync.model_copy(update={"voice_over_p": 0.01})})
    assert set(status_of(files, latest(files), other).redo) == {"sync", "references", "decide", "pack"}
    assert CaptionsConfig() == config.captions


def test_trace_tells_where_a_sample_came_from(film: Path, film_run: Path) -> None:
    files = Files(str(film_run))
    relations = Relations(files, latest(files))
    (key,) = relations.connection.execute("SELECT id FROM decisions WHERE tier = 'sync' ORDER BY id").fetchall()[0]
    story = json.loads(humo_directly("trace", film_run, key, "--json").text)
    assert story["locations"][0]["uri"].startswith(str(film))
    assert story["locations"][0]["licence"] == "public-domain"
    assert story["shard"][0]["tier"] == "sync"
    assert story["sync"][0]["offset_frames"] in (-1, 0, 1)
    assert humo_directly("trace", film_run, "0" * 16 + "_0_1").code == 2


def test_verify_passes(film_run: Path) -> None:
    done = humo_directly("verify", film_run)
    assert done.code == 0, done.text
