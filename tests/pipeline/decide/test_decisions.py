"""Decisions over committed rows: tiers, unknowns, duplicates, references, splits; and deciding again."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.config import CurateConfig
from pipeline.decide.config import DecideConfig, ReferenceBounds
from pipeline.decide.decisions import decide
from pipeline.decide.funnel import funnel
from pipeline.decide.references import choose_references
from pipeline.engine.decide_again import decide_again
from pipeline.store.relations import Relations
from pipeline.store.snapshots import latest
from schemas.configuration import validated
from schemas.errors import UserError
from tests.pipeline.synthetic_run import FakeClip, write_synthetic_run

CLIPS = [
    FakeClip(source=1, start_s=1),
    FakeClip(source=1, start_s=2),
    FakeClip(source=1, start_s=3, quality={"sharpness": 0.01}),
    FakeClip(source=1, start_s=4, quality={"luma": None}),
    FakeClip(source=1, start_s=5, sync={"offset_frames": 8}),
    FakeClip(source=1, start_s=6, sync={"p_value": None}),
    FakeClip(source=2, start_s=1, person="p_two"),
    FakeClip(source=2, start_s=2, person="p_two", similarity=0.99),
    FakeClip(source=3, start_s=1, person="p_three"),
    FakeClip(source=4, start_s=1, group="g", quality={"sharpness": 0.4}),
    FakeClip(source=5, start_s=1, group="g", quality={"sharpness": 0.6}),
]

BOUNDS = {"lower": 0.45, "upper": 0.92}
CONFIG = CurateConfig(decide=DecideConfig(references=ReferenceBounds(**BOUNDS)))


def decided(tmp_path: Path, clips: list[FakeClip] = CLIPS, **options: Any) -> dict[str, dict[str, Any]]:
    files = write_synthetic_run(tmp_path, clips)
    config = validated(DecideConfig, {"references": BOUNDS, **options}, where="test")
    relations = Relations(files, latest(files))
    chosen = choose_references(relations, config.references, "classical", folder=tmp_path, fingerprint="test")
    relations.show("references", chosen["references"])
    made = decide(relations, config, folder=tmp_path, fingerprint="test")
    return {row["id"]: row for row in pq.read_table(made["decisions"]).to_pylist()}


def verdicts(rows: dict[str, dict[str, Any]]) -> list[str]:
    return [
        rows[clip.key]["tier"] if rows[clip.key]["outcome"] == "keep" else rows[clip.key]["outcome"] for clip in CLIPS
    ]


def test_every_clip_gets_the_tier_it_deserves(tmp_path: Path) -> None:
    rows = decided(tmp_path)
    found = ["sync", "sync", "reject", "unknown", "subject", "subject", "sync", "reject", "reject", "reject", "sync"]
    assert verdicts(rows) == found
    assert rows[CLIPS[2].key]["failed_rules"][0] == {
        "tier": "subject",
        "rule": "quality.sharpness >= 0.4",
        "values": "quality.sharpness = 0.01",
    }
    assert rows[CLIPS[3].key]["unknown_rules"][0]["values"] == "quality.luma = NULL"
    assert rows[CLIPS[9].key]["failed_rules"][-1]["values"] == f"kept copy = {CLIPS[10].key}"


def test_the_copy_that_is_kept_is_the_best_of_those_otherwise_kept(tmp_path: Path) -> None:
    rows = decided(tmp_path, subject=["quality.sharpness between 0.15 and 0.5"], sync=["speech.ratio >= 0.5"])
    assert rows[CLIPS[9].key]["outcome"] == "keep"
    assert rows[CLIPS[10].key]["outcome"] == "reject"


def test_what_hangs_together_is_in_one_split(tmp_path: Path) -> None:
    rows = decided(tmp_path, val_fraction=0.5)
    # Sources 1, 4 and 5 share p_one; source 2 is p_two, source 3 is p_three.
    components = {rows[clip.key]["component"] for clip in CLIPS}
    assert len(components) == 3
    assert len({rows[clip.key]["split"] for clip in CLIPS if clip.person == "p_one"}) == 1


def test_the_funnel_adds_up(tmp_path: Path) -> None:
    files = write_synthetic_run(tmp_path, CLIPS)
    again = decide_again(Relations(files, latest(files)), CONFIG, dry_run=True)
    found = again.funnel
    assert found.clips == len(CLIPS)
    left = found.clips
    for step in found.steps:
        assert left - step.failed - step.unknown == step.passed
        left = step.passed
    assert found.steps[-1].passed == found.kept["sync"] == 4
    subject_steps = [step for step in found.steps if step.tier == "subject"]
    assert subject_steps[-1].passed == found.kept["sync"] + found.kept["subject"] == 6


def test_a_dry_run_writes_nothing_and_agrees_with_the_real_one(tmp_path: Path) -> None:
    files = write_synthetic_run(tmp_path, CLIPS)
    decide_again(Relations(files, latest(files)), CONFIG, dry_run=False)
    config = CurateConfig(
        decide=DecideConfig(
            sync=("abs(sync.offset_frames) <= 10", "sync.p_value <= 0.005"), references=CONFIG.decide.references
        )
    )
    before = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    dry = decide_again(Relations(files, latest(files)), config, dry_run=True)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == before
    real = decide_again(Relations(files, latest(files)), config, dry_run=False)
    assert dry == real
    assert [(one.before, one.after, one.clips, one.examples) for one in dry.changes] == [
        ("subject", "sync", 1, [CLIPS[4].key])
    ]
    relations = Relations(files, latest(files))
    assert funnel(relations, config.decide) == real.funnel


def test_bounds_the_wrong_way_round_are_refused() -> None:
    with pytest.raises(UserError, match="lower must not be above upper"):
        validated(DecideConfig, {"references": {"lower": 0.9, "upper": 0.5}}, where="test")


def test_a_clip_that_lacks_what_a_sample_is_made_of_is_unknown(tmp_path: Path) -> None:
    lacking = [
        FakeClip(source=1, start_s=1),
        FakeClip(source=1, start_s=2, caption=None),
        FakeClip(source=1, start_s=3, sync={"speaker_track": None}),
    ]
    rows = decided(tmp_path, lacking, subject=["quality.luma > 0"], sync=["quality.luma > 0"])
    assert [(row["outcome"], row["tier"]) for row in rows.values()] == [
        ("keep", "sync"),
        ("unknown", "none"),
        ("keep", "subject"),
    ]


@pytest.mark.parametrize("rule", ["quality.signature > 1", "quality.luma = 'a'", "references.chosen = 1"])
def test_a_rule_that_compares_unlike_things_is_one_line(tmp_path: Path, rule: str) -> None:
    with pytest.raises(UserError, match="cannot be used"):
        decided(tmp_path, CLIPS[:2], subject=[rule])


def test_caps_hold_and_are_named_by_the_clips_that_they_cost(tmp_path: Path) -> None:
    clips = [FakeClip(source=source, start_s=second) for source in (1, 2) for second in range(1, 7)]
    rows = decided(tmp_path, clips, caps={"source": 4, "identity": 5})
    kept = [row["id"] for row in rows.values() if row["outcome"] == "keep"]
    assert len(kept) == 5
    assert max(sum(key.startswith(source) for key in kept) for source in (clips[0].source_id, clips[-1].source_id)) <= 4
    over = [row["failed_rules"][0]["rule"] for row in rows.values() if row["outcome"] == "reject"]
    assert sorted(over) == ["caps: at most 4 of a source"] * 4 + ["caps: at most 5 of an identity"] * 3
    again = decided(tmp_path / "again", clips[::-1], caps={"source": 4, "identity": 5})
    assert [row["id"] for row in again.values() if row["outcome"] == "keep"] == kept
