import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from humo.checkpoints import load_model_dir
from humo.mini.model import mini_model
from humo.parameters import parameter_group
from schemas.errors import UserError
from tests.training.conftest import SMALL
from tests.training.sample_shards import Sample, write_shards
from training.config import TrainingConfig
from training.ledger import Diverged
from training.trainer import TrainingResult, train

Config = Callable[..., TrainingConfig]


def weights(out: Path, step: int | None = None) -> dict[str, torch.Tensor]:
    """Of a checkpoint that one process wrote, the newest without `step`."""
    folders = {int(folder.name.removeprefix("step-")): folder for folder in (out / "checkpoints").glob("step-*")}
    [file] = folders[max(folders) if step is None else step].glob("*.safetensors")
    stored = load_file(file)
    return {name.removeprefix("weights."): value for name, value in stored.items() if name.startswith("weights.")}


@pytest.fixture(scope="module")
def undisturbed(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainingResult]:
    from training.config import load_config

    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    return out, train(load_config("mini", SMALL), data=str(shards), out=out, resume=False)


def test_a_run_leaves_what_it_promises(undisturbed: tuple[Path, TrainingResult]) -> None:
    out, result = undisturbed
    assert result.steps == 9
    assert result.damaged == 0
    left = {"board", "checkpoints", "data", "log.jsonl", "model", "run.json", "swap_test.json"}
    assert {path.name for path in out.iterdir()} == left
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(9))
    assert [line["stage"] for line in lines] == ["start"] * 3 + ["subject"] * 2 + ["sync"] * 4
    assert all(line["valid"] == 4 for line in lines)
    assert lines[0]["loss_sync"] is None
    assert lines[-1]["loss_sync"] > 0
    assert lines[-1]["mask_loss"] > 0
    assert json.loads((out / "swap_test.json").read_text())["reference"]["pairs"] == result.swaps[1].pairs > 0
    assert json.loads((out / "run.json").read_text())["config"]["seed"] == 0


def test_the_exported_model_is_the_last_average(undisturbed: tuple[Path, TrainingResult]) -> None:
    out, result = undisturbed
    model = load_model_dir(result.model, device=torch.device("cpu"), dtype=torch.float32)
    stored = weights(out)
    for name, parameter in model.transformer.named_parameters():
        assert torch.equal(parameter, stored[name]), name


def test_each_stage_changes_what_it_trains_and_nothing_else(shards: Path, tmp_path: Path, small_config: Config) -> None:
    config = small_config("checkpoints={every: 1, keep: 20}")
    train(config, data=str(shards), out=tmp_path / "out", resume=False)
    fresh = mini_model(config.seed).transformer.state_dict()
    states = [fresh] + [weights(tmp_path / "out", step) for step in (3, 5, 9)]
    for (name, stage), before, after in zip(config.stages.items(), states, states[1:], strict=False):
        for parameter, value in after.items():
            moved = not torch.equal(value, before[parameter])
            assert moved == (parameter_group(parameter) in stage.trains), (name, parameter)


@pytest.mark.parametrize(("steps", "every"), [(3, 1), (7, 2)])
def test_a_resumed_run_ends_as_the_undisturbed_one(
    shards: Path,
    tmp_path: Path,
    small_config: Config,
    undisturbed: tuple[Path, TrainingResult],
    monkeypatch: pytest.MonkeyPatch,
    steps: int,
    every: int,
) -> None:
    """Taken up at a stage's beginning and inside a stage."""
    from training import trainer

    class Stopped(Exception):
        pass

    original = trainer.Trainer._train_step

    def until(self: trainer.Trainer, *given: object) -> None:
        if self._step == steps:
            raise Stopped
        original(self, *given)  # type: ignore[arg-type]

    out = tmp_path / "out"
    monkeypatch.setattr(trainer.Trainer, "_train_step", until)
    with pytest.raises(Stopped):
        train(small_config(f"checkpoints.every={every}"), data=str(shards), out=out, resume=False)
    monkeypatch.undo()
    result = train(small_config("data.workers=1"), data=str(shards), out=out, resume=True)
    expected, found = weights(undisturbed[0]), weights(out)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert result.swaps == undisturbed[1].swaps


def test_resuming_a_finished_run_trains_no_more(shards: Path, tmp_path: Path, small_config: Config) -> None:
    out = tmp_path / "out"
    config = small_config(*(f"stages.{name}.steps=1" for name in ("start", "subject", "sync")))
    # One that died while it wrote down what it begins with is no run yet.
    (out / "data").mkdir(parents=True)
    (out / ".partial-run.json").write_text("{")
    train(config, data=str(shards), out=out, resume=False)
    before = (out / "log.jsonl").read_text()
    train(config, data=str(shards), out=out, resume=True)
    assert (out / "log.jsonl").read_text() == before


def test_another_configuration_or_data_set_is_refused(
    shards: Path, tmp_path: Path, small_config: Config, undisturbed: tuple[Path, TrainingResult]
) -> None:
    out = undisturbed[0]
    with pytest.raises(UserError, match=r"stages\.2\.learning_rate was 0\.0\d+, is now 0\.5"):
        train(small_config("stages.sync.learning_rate=0.5"), data=str(shards), out=out, resume=True)
    other = write_shards(tmp_path, [Sample(key=f"k{n}") for n in range(4)])
    differs = (
        r"began on the manifest \w+, and .* is \w+: 6 of its 6 shards .* of its 13 samples 0 are among the 4 there"
    )
    with pytest.raises(UserError, match=differs):
        train(small_config(), data=str(other), out=out, resume=True)
    with pytest.raises(UserError, match="is there already: give --resume"):
        train(small_config(), data=str(shards), out=out, resume=False)
    with pytest.raises(UserError, match="nothing to resume"):
        train(small_config(), data=str(shards), out=tmp_path / "absent", resume=True)


def test_changes_that_are_accepted_count_from_there_on(shards: Path, tmp_path: Path, small_config: Config) -> None:
    few = [f"stages.{name}.steps=2" for name in ("start", "subject", "sync")]
    out = tmp_path / "out"
    begun = small_config(*few, "checkpoints.every=1")
    train(begun, data=str(shards), out=out, resume=False)
    longer = small_config(*few[:2], "stages.sync={steps: 4, learning_rate: 0.0001}")
    with pytest.raises(UserError, match="--accept-changes"):
        train(longer, data=str(shards), out=out, resume=True)
    other = write_shards(tmp_path / "data", [Sample(key=f"k{n}", person=("ann", "bob")[n % 2]) for n in range(8)])
    with pytest.raises(UserError, match="of its 13 samples 0 are among the 8 there"):
        train(begun, data=str(other), out=out, resume=True)
    before = (out / "run.json").read_bytes()
    fewer = small_config(*(f"stages.{name}.steps=1" for name in ("start", "subject", "sync")))
    with pytest.raises(UserError, match="6 steps are done, and the configuration ends after 3"):
        train(fewer, data=str(shards), out=out, resume=True, accept_changes=True)
    (out / "checkpoints" / "step-00000006").rename(tmp_path / "aside")
    more = small_config(*few, "stages.sync.trains=[self_attention, audio, mask_predictor, other]")
    with pytest.raises(UserError, match=r"step-00000005 does not fit .* missing keys: ema\."):
        train(more, data=str(other), out=out, resume=True, accept_changes=True)
    assert (out / "run.json").read_bytes() == before, "what could not be gone on with has changed the run"
    assert train(longer, data=str(other), out=out, resume=True, accept_changes=True).steps == 8
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 1, 2, 3, 4, 5, 5, 6, 7]
    # What was accepted is now what the run is.
    train(longer, data=str(other), out=out, resume=True)


def test_a_run_ends_on_the_shards_it_began_on(tmp_path: Path, small_config: Config) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    few = small_config(*(f"stages.{name}.steps=1" for name in ("start", "subject", "sync")))
    train(few, data=str(write_shards(data, [Sample(key=f"k{n}") for n in range(8)])), out=out, resume=False)
    before = weights(out)
    repacked = write_shards(data, [Sample(key=f"other{n}") for n in range(8)])
    train(few, data=str(repacked), out=out, resume=True)
    assert all(torch.equal(before[name], found) for name, found in weights(out).items())
    train(few, data=str(repacked), out=tmp_path / "new", resume=False)
    assert any(not torch.equal(before[name], found) for name, found in weights(tmp_path / "new").items())


def test_a_lying_manifest_is_refused_before_the_first_step(tmp_path: Path, small_config: Config) -> None:
    manifest = write_shards(tmp_path / "data", [Sample(key=f"k{n}") for n in range(4)])
    shard = next((tmp_path / "data").glob("*.tar"))
    content = bytearray(shard.read_bytes())
    content[1000] ^= 255
    shard.write_bytes(content)
    with pytest.raises(UserError, match="it is not what was packed"):
        train(small_config(), data=str(manifest), out=tmp_path / "out", resume=False)
    assert not (tmp_path / "out").exists()


def test_a_damaged_sample_is_recorded_and_the_run_goes_on(tmp_path: Path, small_config: Config) -> None:
    good = [Sample(key=f"k{n}", person=("ann", "bob")[n % 2]) for n in range(6)]
    bad = [
        replace(sample, edit=lambda files: {**files, "flac": b"noise"}) if sample.key == "k1" else sample
        for sample in good
    ]
    manifest = write_shards(tmp_path / "data", bad)
    result = train(small_config("data.hold_out=0"), data=str(manifest), out=tmp_path / "out", resume=False)
    assert result.damaged == 1
    [line] = (tmp_path / "out" / "damaged.jsonl").read_text().splitlines()
    assert json.loads(line)["key"] == "k1"
    assert "flac" in json.loads(line)["reason"]
    valid = [json.loads(line)["valid"] for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert 3 in valid


def test_a_batch_without_a_good_sample_stops_the_run(tmp_path: Path, small_config: Config) -> None:
    broken = [Sample(key=f"k{n}", edit=lambda files: {**files, "mp4": b"noise"}) for n in range(4)]
    manifest = write_shards(tmp_path / "data", broken)
    with pytest.raises(Diverged, match="no sample of the batch can be used"):
        train(small_config(), data=str(manifest), out=tmp_path / "out", resume=False)


def test_nan_stops_the_run_with_the_samples_names(shards: Path, tmp_path: Path, small_config: Config) -> None:
    config = small_config("stages.start.learning_rate=1e30", "stages.start.warmup=0")
    with pytest.raises(Diverged, match=r"step \d of stage start: loss .*samples s"):
        train(config, data=str(shards), out=tmp_path / "out", resume=False)
    assert not (tmp_path / "out" / "model").exists()


def test_training_may_begin_from_a_model_directory(
    shards: Path, tmp_path: Path, small_config: Config, undisturbed: tuple[Path, TrainingResult]
) -> None:
    begun = small_config(
        f"model.start={undisturbed[1].model}", "stages.start.learning_rate=1e-12", "stages.start.steps=1"
    )
    train(begun, data=str(shards), out=tmp_path / "out", resume=False)
    first = json.loads((tmp_path / "out" / "log.jsonl").read_text().splitlines()[0])
    fresh = json.loads((undisturbed[0] / "log.jsonl").read_text().splitlines()[0])
    assert first["loss"] < fresh["loss"]
