"""Training on encoded shards is training on the shards they were made from."""

import json
import os
import tarfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from humo.checkpoints import load_model_dir, save_model_dir
from humo.mini.model import mini_model
from schemas.errors import UserError
from tests.ranks import killed_at_last, run_ranks, start_ranks
from tests.training.conftest import SMALL
from tests.training.sample_shards import Sample, write_shards
from training import start
from training.config import TrainingConfig, load_config
from training.dataset import ShardSet, open_shard_set, verify_shards
from training.encode import encode
from training.encoding import BatchEncoder, EncodedBatch
from training.features import read_nulls
from training.loader import Batches
from training.plan import Plan
from training.trainer import train

Config = Callable[..., TrainingConfig]
CPU = torch.device("cpu")
STILL = [
    "data.augmentation={flip: 0, smallest_scale: 1, colour: 0}",
    "data.sizes=[[32, 32]]",
    "data.lengths=[21]",
    "data.encoded.half=false",
]


@pytest.fixture
def square(tmp_path: Path) -> Path:
    """Clips in which neither crop nor window is left to chance, and one that is too short."""
    samples = [
        Sample(key=f"k{n}", person=("ann", "bob")[n % 2], size=(64, 64), tier=("sync", "subject")[n % 3 == 2])
        for n in range(7)
    ]
    samples.append(Sample(key="short", frames=9, size=(64, 64)))
    return write_shards(tmp_path / "pixels", samples)


def batches(shards: ShardSet, config: TrainingConfig) -> Batches:
    return Batches(shards, Plan(shards.rows, data=config.data, stages=config.stages, seed=config.seed), config)


def tensors(batch: EncodedBatch) -> dict[str, torch.Tensor | None]:
    given = batch.conditions
    return {
        "clean": batch.clean_bcthw,
        "text": given.text_bld,
        "audio": given.audio_btwgc,
        "reference": given.reference_bcrhw,
        "zero": given.zero_bcthw,
        "noise": batch.noise_bcthw,
        "time": batch.time_b,
        "face": batch.face_mask_bthw,
        "weight": batch.weight_b,
    }


@pytest.mark.parametrize("form", ["overwrite", "channels"])
def test_batches_are_those_of_the_pixels(form: str, square: Path, tmp_path: Path, small_config: Config) -> None:
    model = mini_model(0, form)  # type: ignore[arg-type]
    save_model_dir(tmp_path / "model", model)
    dropped = "objective.dropout={text: 0.4, image: 0.4, audio: 0.4}"
    config = small_config(*STILL, dropped, f"model.start={tmp_path / 'model'}")
    done = encode(config, data=str(square), out=tmp_path / "encoded")
    assert (done.samples, done.too_short, done.damaged) == (7, 1, 0)
    pixels, encoded = open_shard_set(str(square)), open_shard_set(str(done.manifest))
    verify_shards(encoded, hashes=True)
    assert encoded.manifest.fingerprint != pixels.manifest.fingerprint
    assert encoded.manifest.counts.sync + encoded.manifest.counts.subject == 7
    fast, slow = BatchEncoder(model, CPU, read_nulls(encoded)), BatchEncoder(model, CPU)
    rows, kept = {row.key: row for row in pixels.rows}, set()
    for step in (0, 6, 8):
        slots = Plan(encoded.rows, data=config.data, stages=config.stages, seed=0).slots(step)
        ours = batches(encoded, config).load(slots)
        theirs = batches(pixels, config).load([replace(slot, row=rows[slot.row.key]) for slot in slots])
        kept.update(ours.has_text_b.tolist(), ours.has_image_b.tolist())
        for name, expected in tensors(slow.encode(theirs)).items():
            found = tensors(fast.encode(ours))[name]
            assert (found is None) == (expected is None), name
            if found is not None and expected is not None:
                assert torch.allclose(found, expected, atol=2e-5), name
        assert torch.equal(ours.waveform_bs, theirs.waveform_bs)
    assert kept == {True, False}


def test_windows_and_variants(square: Path, tmp_path: Path, small_config: Config) -> None:
    config = small_config("data.lengths=[5]", "data.encoded={windows: 3, variants: 2}")
    encoded = open_shard_set(str(encode(config, data=str(square), out=tmp_path / "encoded").manifest))
    loaded = batches(encoded, config)
    references = {tuple(loaded[step].reference_bcrhw[0].flatten().tolist()) for step in range(9)}  # type: ignore[attr-defined]
    assert 2 <= len(references) <= 2 * 8
    with tarfile.open(tmp_path / "encoded" / encoded.rows[0].shard) as archive:
        assert {name.partition(".")[2] for name in archive.getnames()} <= {"features.safetensors", "flac", "txt"}


def test_a_run_trains_on_them(square: Path, tmp_path: Path, small_config: Config) -> None:
    config = small_config("validation={windows: 1, samples: 2, every: 4, videos: 1, video_steps: 2}")
    manifest = encode(config, data=str(square), out=tmp_path / "encoded").manifest
    train(config, data=str(manifest), out=tmp_path / "out", resume=False)
    lines = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert [line["valid"] for line in lines] == [4] * 9
    assert lines[-1]["mask_loss"] > 0
    assert list((tmp_path / "out" / "validation" / "step-00000004").glob("*.mp4"))
    other = load_config("mini", ["data.sizes=[[48, 48]]", "data.lengths=[5]", "threads=1"])
    with pytest.raises(UserError, match=r"was encoded with sizes = \[\[32, 32\]\], the run has \[\[48, 48\]\]"):
        train(other, data=str(manifest), out=tmp_path / "other", resume=False)
    tiny = mini_model(0)
    tiny.codec.mean += 1  # type: ignore[attr-defined]
    text = replace(tiny, text_encoder=type(tiny.text_encoder)(seed=9))
    save_model_dir(tmp_path / "model", text)
    changed = small_config(f"model.start={tmp_path / 'model'}")
    with pytest.raises(UserError, match="was encoded with encoders"):
        train(changed, data=str(manifest), out=tmp_path / "other", resume=False)


def test_a_killed_encoding_goes_on_and_ends_the_same(
    square: Path, tmp_path: Path, small_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training import encode as module

    config = small_config()
    whole = encode(config, data=str(square), out=tmp_path / "whole")
    calls = 0
    original = module._Work._members

    def until(self: module._Work, *given: object) -> dict[str, bytes]:
        nonlocal calls
        calls += 1
        if calls == 6:
            raise KeyboardInterrupt
        return original(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(module._Work, "_members", until)
    with pytest.raises(KeyboardInterrupt):
        encode(config, data=str(square), out=tmp_path / "out")
    encode(config, data=str(square), out=tmp_path / "out")
    assert calls < 6 + 8
    assert (tmp_path / "out" / "manifest.json").read_bytes() == whole.manifest.read_bytes()
    assert not list((tmp_path / "out").glob(".partial-*"))
    with pytest.raises(UserError, match="another source or recipe"):
        encode(small_config("data.sizes=[[48, 48]]"), data=str(square), out=tmp_path / "out")
    with pytest.raises(UserError, match="encoded already"):
        encode(config, data=str(whole.manifest), out=tmp_path / "twice")


def test_damaged_samples_are_named_and_left_out(tmp_path: Path, small_config: Config) -> None:
    samples = [Sample(key=f"k{n}", size=(64, 64)) for n in range(3)]
    samples.append(Sample(key="bad", edit=lambda files: {**files, "mp4": b"noise"}))
    data = write_shards(tmp_path / "data", samples)
    done = encode(small_config(), data=str(data), out=tmp_path / "out")
    assert (done.samples, done.damaged) == (3, 1)
    [line] = (tmp_path / "out" / "damaged.jsonl").read_text().splitlines()
    assert json.loads(line)["key"] == "bad"


def test_damage_in_encoded_shards_costs_its_slots_alone(square: Path, tmp_path: Path, small_config: Config) -> None:
    config = small_config(*STILL, "objective.dropout={text: 0, image: 0, audio: 0}")
    encoded = open_shard_set(str(encode(config, data=str(square), out=tmp_path / "encoded").manifest))
    torn = next(row for row in encoded.rows if row.tier == "sync")
    with (tmp_path / "encoded" / torn.shard).open("r+b") as file:
        file.seek(torn.offset)
        file.write(b"x" * torn.bytes)
    slots = Plan(encoded.rows, data=config.data, stages=config.stages, seed=0).slots(8)
    lost = replace(next(slot for slot in slots if slot.task == "sync"), row=torn)
    silent = next(slot for slot in slots if slot.task == "subject" and slot.row.key != torn.key)
    whole = next(slot for slot in slots if slot.task == "sync" and slot.row.key != torn.key)
    encoder = BatchEncoder(mini_model(0), CPU, read_nulls(encoded))
    for others in ([], [silent], [whole]):
        batch = batches(encoded, config).load([lost, *others])
        assert batch.weight_b.tolist() == [0.0, *(1.0 for _ in others)]
        audio_btwgc = encoder.encode(batch).conditions.audio_btwgc
        assert audio_btwgc is not None
        assert audio_btwgc.any(dim=(1, 2, 3, 4)).tolist() == [False, *(slot is whole for slot in others)]


def encode_here(data: Path, out: Path, *, torn: bool) -> None:
    """With `torn` the second process dies while it writes down what became of its shard."""
    if torn and os.environ["RANK"] == "1":
        whole = Path.write_bytes

        def half(self: Path, content: bytes) -> int:
            whole(self, content[: len(content) // 2])
            return os._exit(9) if ".made-" in self.name else len(content)

        Path.write_bytes = half  # type: ignore[method-assign, assignment]
        Path.write_text = lambda self, content: half(self, content.encode())  # type: ignore[method-assign, assignment]
    encode(load_config("mini", [*SMALL, "parallel.shard=32", "parallel.sequence=5"]), data=str(data), out=out)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_any_number_of_processes_encodes_the_same_and_a_killed_one_goes_on(square: Path, tmp_path: Path) -> None:
    """However training is to be spread: that is no matter of encoding."""
    run_ranks(1, partial(encode_here, torn=False), square, tmp_path / "one")
    with killed_at_last(start_ranks(2, partial(encode_here, torn=True), square, tmp_path / "two")) as ranks:
        for rank in ranks:
            rank.join(60)
        assert [bool(rank.exitcode) for rank in ranks] == [True, True]
    run_ranks(2, partial(encode_here, torn=False), square, tmp_path / "two")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_encoding_needs_no_transformer_in_memory(
    square: Path, tmp_path: Path, tiny_model: Path, small_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.start.spread", lambda *given: pytest.fail("the transformer was put on the device"))
    config = small_config(f"model.start={tiny_model}")
    assert encode(config, data=str(square), out=tmp_path / "out").samples == 8


def train_here(data: Path, out: Path, model: Path) -> None:
    """With encoders that only the first process can read."""
    if os.environ["RANK"] == "1":
        start.load_part = lambda *given, **named: pytest.fail("encoders that nothing needs")  # type: ignore[assignment]
    few = [f"stages.{name}.steps=1" for name in ("start", "subject", "sync")]
    shown = [f"validation.{name}" for name in ("every=3", "videos=1", "video_steps=1", "samples=2", "donors=1")]
    config = load_config("mini", [*SMALL, *few, *shown, f"model.start={model}"])
    train(config, data=str(data), out=out, resume=False)


def test_of_encoded_data_the_first_process_alone_has_encoders(
    square: Path, tmp_path: Path, tiny_model: Path, small_config: Config
) -> None:
    encoded = encode(small_config(f"model.start={tiny_model}"), data=str(square), out=tmp_path / "encoded").manifest
    run_ranks(2, train_here, encoded, tmp_path / "out", tiny_model)
    assert list((tmp_path / "out" / "validation" / "step-00000003").glob("*.mp4"))
    exported = load_model_dir(tmp_path / "out" / "model", device=CPU, dtype=torch.float32)
    assert exported.text_encoder.encode(["a"]).equal(mini_model(0).text_encoder.encode(["a"]))


def test_what_float16_does_not_hold_is_refused(
    square: Path, tmp_path: Path, small_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = BatchEncoder.sound
    monkeypatch.setattr(BatchEncoder, "sound", lambda *given: sound(*given) + 70000.0)
    done = encode(small_config(), data=str(square), out=tmp_path / "half")
    assert (done.samples, done.damaged) == (2, 6)
    assert "audio is not finite in float16; data.encoded.half=false" in (tmp_path / "half/damaged.jsonl").read_text()
    done = encode(small_config("data.encoded.half=false"), data=str(square), out=tmp_path / "whole")
    assert (done.samples, done.damaged) == (8, 0)
