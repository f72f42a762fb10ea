"""Diff: rows by table, options, and samples by their bytes, whichever shards they lie in."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import CurateConfig
from pipeline.decide.config import DecideConfig, ReferenceBounds
from pipeline.diff import Diff, diff
from pipeline.engine.decide_again import decide_again
from pipeline.engine.packing import pack_into
from pipeline.pack.config import PackConfig
from pipeline.store.relations import Relations
from pipeline.store.snapshots import commit, latest
from schemas.errors import UserError
from tests.pipeline.direct_run import humo_directly
from tests.pipeline.synthetic_run import FakeClip, write_synthetic_run

CLIPS = [FakeClip(source=source, start_s=second, similarity=0.7) for source in (1, 2) for second in (1, 2, 3)]


def packed(folder: Path, clips: list[FakeClip], **pack: Any) -> str:
    bounds = ReferenceBounds(lower=0.5, upper=0.9)
    config = CurateConfig(decide=DecideConfig(references=bounds, val_fraction=0), pack=PackConfig(**pack))
    files = write_synthetic_run(folder, clips, config)
    decide_again(Relations(files, latest(files)), config, dry_run=False)
    commit(files, latest(files), pack_into(files, latest(files), config))
    return str(folder)


def by_table(found: Diff) -> dict[str, tuple[int, int, int, int]]:
    return {one.what: (one.same, one.changed, one.only_a, one.only_b) for one in found.differences}


def test_equal_runs_have_no_difference(tmp_path: Path) -> None:
    a, b = packed(tmp_path / "a", CLIPS), packed(tmp_path / "b", CLIPS)
    found = diff(a, b)
    assert (by_table(found), found.options) == ({}, {})
    assert by_table(diff(f"{a}/shards/manifest.json", f"{b}/shards/manifest.json")) == {"samples": (6, 0, 0, 0)}


def test_rows_and_samples_that_differ_are_counted_and_named(tmp_path: Path) -> None:
    other = [
        *CLIPS[1:5],
        FakeClip(source=2, start_s=3, similarity=0.7, quality={"luma": 0.6}),
        FakeClip(source=2, start_s=9, similarity=0.7),
    ]
    a, b = packed(tmp_path / "a", CLIPS), packed(tmp_path / "b", other, samples=1)
    found = diff(a, b)
    tables = by_table(found)
    assert tables["quality"] == (4, 1, 1, 1)
    assert tables["clips"] == (5, 0, 1, 1)
    quality = next(one for one in found.differences if one.what == "quality")
    assert (quality.changed_ids, quality.only_a_ids, quality.only_b_ids) == (
        [CLIPS[5].key],
        [CLIPS[0].key],
        [other[5].key],
    )
    assert found.options == {"pack.samples": (1000, 1)}
    (samples,) = diff(f"{a}/shards/manifest.json", f"{b}/shards").differences
    # Every clip's reference is the person's first other clip, which is another one in B.
    assert samples.same + samples.changed == 5
    assert (samples.only_a_ids, samples.only_b_ids) == ([CLIPS[0].key], [other[5].key])
    assert CLIPS[5].key in samples.changed_ids


def test_a_run_and_a_manifest_are_no_pair(tmp_path: Path) -> None:
    run = packed(tmp_path / "a", CLIPS)
    with pytest.raises(UserError, match="a run with a run"):
        diff(run, f"{run}/shards/manifest.json")
    with pytest.raises(UserError, match="no manifest"):
        diff(str(tmp_path / "none"), str(tmp_path / "none"))


def test_the_command_says_the_same_in_both_forms(tmp_path: Path) -> None:
    a, b = packed(tmp_path / "a", CLIPS), packed(tmp_path / "b", CLIPS[:5])
    text = humo_directly("diff", a, b).text
    assert "clips: 5 same, 0 changed, 1 only in A, 0 only in B" in text
    assert json.loads(humo_directly("diff", a, b, "--json").text)["differences"][0]["only_a"] == 1
    assert "no difference" in humo_directly("diff", a, a).text


def test_the_card_beside_the_manifest_says_what_is_in_it(tmp_path: Path) -> None:
    run = Path(packed(tmp_path / "a", CLIPS))
    card = json.loads((run / "shards" / "card.json").read_text())
    assert card["kept"]["samples"] == 6
    assert card["kept"]["hours"] == pytest.approx(6 * 5 / 25 / 3600)
    assert (card["kept"]["sources"], card["kept"]["identities"]) == (2, 1)
    assert [(row["licence"], row["samples"]) for row in card["licences"]] == [("cc0", 6)]
    assert {row["table"] for row in card["backends"]} >= {"clips", "faces", "captions", "sync"}
    assert card["rules"]["lower"] == 0.5
    assert card["manifest"]["fingerprint"] == json.loads((run / "shards" / "manifest.json").read_text())["fingerprint"]
    text = (run / "shards" / "card.md").read_text()
    assert "| cc0 | not stated | 6 |" in text
    assert "6 samples" in text
