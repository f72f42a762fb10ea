from pathlib import Path

import pytest

from schemas.errors import UserError
from training.config import load_config


def test_shipped_configuration_follows_the_papers_order() -> None:
    config = load_config("mini", [])
    assert list(config.stages) == ["start", "subject", "sync"]
    assert "audio" not in config.stages["start"].trains
    assert set(config.stages["sync"].trains) == {"self_attention", "audio", "mask_predictor"}
    # Rising as in the paper (0.2 to 0.5), but higher: the mini run has few steps to learn from sound in.
    assert (config.stages["sync"].sync_share.start, config.stages["sync"].sync_share.end) == (0.5, 0.8)


def test_settings_change_values() -> None:
    config = load_config("mini", ["stages.sync.steps=7", "data.sizes=[[32, 48]]", "objective.dropout.text=0"])
    assert config.stages["sync"].steps == 7
    assert config.data.sizes == [(32, 48)]
    assert config.objective.dropout.text == 0
    assert config.objective.dropout.image == load_config("mini", []).objective.dropout.image


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("data.batchsize=3", "unknown option 'data.batchsize'"),
        ("data.sizes=[[60, 64]]", "multiples of 16"),
        ("data.lengths=[16]", "4n . 1"),
        ("stages.sync.trains=[audio, everything]", "stages.sync.trains.1"),
        ("optimizer.ema_decay=1", "optimizer.ema_decay"),
        ("objective.shifts={big: 2}", "objective.shifts"),
        ("objective.shifts={480x832: 2}", "objective.shifts names 480x832, and data.sizes has 64x64"),
        ("nothing", "must look like"),
    ],
)
def test_wrong_settings_are_named(setting: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        load_config("mini", [setting])


@pytest.mark.parametrize("name", ["maxi", "absent.yaml"])
def test_missing_configuration(name: str) -> None:
    with pytest.raises(UserError, match=name):
        load_config(name, [])


def test_own_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("data: {sizes: [[32, 32]], lengths: [5], batch: 2}\nmodel: {start: mini}\nstages: {}\n")
    with pytest.raises(UserError, match="stages"):
        load_config(str(file), [])
    config = load_config(str(file), ["stages.only={steps: 1, trains: [audio], learning_rate: 0.1}"])
    assert config.total_steps == 1


def test_meaning_leaves_out_how_the_work_is_spread_and_keeps_the_order_of_stages() -> None:
    config = load_config("mini", [])
    spread = load_config(
        "mini",
        [
            "threads=7",
            "data.workers=3",
            "checkpoints.every=5",
            "validation.windows=1",
            "parallel.shard=2",
            "logging.every=3",
        ],
    )
    assert spread.meaning() == config.meaning()
    assert load_config("mini", ["seed=1"]).meaning() != config.meaning()
    swapped = config.model_copy(update={"stages": dict(reversed(config.stages.items()))})
    assert swapped.meaning() != config.meaning()
