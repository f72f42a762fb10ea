import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.training.test_trainer import weights
from training.config import TrainingConfig, Trouble
from training.ledger import Diverged
from training.trainer import train
from training.trouble import Usual, learned, trouble_with

Config = Callable[..., TrainingConfig]


@pytest.mark.parametrize(("loss", "norm"), [(math.nan, 1), (1, math.inf), (math.inf, math.nan)])
def test_what_is_no_number_is_trouble_from_the_first_step(loss: float, norm: float) -> None:
    assert trouble_with(loss, norm, Usual(), Trouble()) == f"loss {loss}, gradient norm {norm}"


def test_a_spike_is_judged_by_what_is_usual() -> None:
    settings, usual = Trouble(spike=3, after=10), Usual()
    for _ in range(9):
        usual = learned(usual, 2.0)
    assert trouble_with(1, 100, usual, settings) is None
    usual = learned(usual, 2.0)
    assert usual.norm == 2
    assert trouble_with(1, 5.9, usual, settings) is None
    assert trouble_with(1, 7, usual, settings) == "gradient norm 7, 3.5 times the usual"
    assert trouble_with(1, 7, usual, Trouble()) is None
    skipped = learned(usual, None)
    assert (skipped.norm, skipped.steps, skipped.skipped) == (2, 10, 1)
    assert learned(skipped, 2.0).skipped == 0


def test_a_skipped_step_changes_nothing_and_its_samples_are_on_record(
    shards: Path, tmp_path: Path, small_config: Config
) -> None:
    config = small_config(
        "trouble={policy: skip, spike: 0.9, after: 1}", "checkpoints={every: 1, keep: 20}", "stages.start.steps=4"
    )
    result = train(config, data=str(shards), out=tmp_path / "out", resume=False)
    lines = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    skipped = [line["step"] for line in lines if line["skipped"]]
    inside = [step for step in skipped if step not in (3, 5, 9)]
    assert inside
    assert len(skipped) == result.skipped
    for step in inside:
        before, after = weights(tmp_path / "out", step), weights(tmp_path / "out", step + 1)
        assert all(torch.equal(before[name], after[name]) for name in before)
    noted = [json.loads(line) for line in (tmp_path / "out" / "skipped.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in noted] == skipped
    assert all(len(entry["keys"]) >= 1 and "times the usual" in entry["reason"] for entry in noted)


def test_patience_ends(shards: Path, tmp_path: Path, small_config: Config) -> None:
    config = small_config(
        "trouble={policy: skip, patience: 2}",
        "stages.start.learning_rate=1e30",
        "stages.start.warmup=0",
        "stages.start.steps=20",
    )
    with pytest.raises(Diverged, match="3 steps in a row were skipped"):
        train(config, data=str(shards), out=tmp_path / "out", resume=False)
    assert len((tmp_path / "out" / "skipped.jsonl").read_text().splitlines()) == 3
