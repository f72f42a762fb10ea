from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from humo.mini.model import mini_model
from tests.training.sample_shards import Sample, write_shards
from training.batch import Batch
from training.config import TrainingConfig
from training.dataset import ShardSet, open_shard_set
from training.draws import Draw, generator
from training.encoding import BatchEncoder
from training.held_out import HeldOut
from training.loader import Batches, batches_from
from training.plan import Plan
from training.windows import ClipCache, cut_window

Config = Callable[..., TrainingConfig]


def batches_of(opened: ShardSet, config: TrainingConfig) -> Batches:
    rows = [row for row in opened.rows if row.split == "train"]
    return Batches(opened, Plan(rows, data=config.data, stages=config.stages, seed=config.seed), config)


def same(first: Batch, second: Batch) -> bool:
    for field in fields(first):
        ours, theirs = getattr(first, field.name), getattr(second, field.name)
        if not (torch.equal(ours, theirs) if isinstance(ours, torch.Tensor) else ours == theirs):
            return False
    return True


def test_shapes_and_what_each_task_holds(shards: Path, small_config: Config) -> None:
    batches = batches_of(open_shard_set(str(shards)), small_config())
    assert len(batches) == 9
    for step in (0, 7):
        batch = batches[step]
        assert batch.video_bfhwc.shape == (4, 5, 32, 32, 3)
        assert batch.waveform_bs.shape == (4, 5 * 640)
        assert batch.references_brhwc.shape == (4, 1, 32, 32, 3)
        assert batch.face_mask_bthw.shape == (4, 2, 2, 2)
        assert batch.noise_bcthw.shape == (4, 16, 3, 4, 4)
        assert batch.weight_b.tolist() == [1, 1, 1, 1]
        assert batch.damaged == ()
        for slot in range(4):
            is_sync = batch.tasks[slot] == "sync"
            assert bool(batch.face_mask_bthw[slot].any()) == is_sync
            assert is_sync or not batch.has_audio_b[slot]
            assert is_sync or not batch.waveform_bs[slot].any()
    assert "sync" in batches[7].tasks
    assert "sync" not in batches[0].tasks


def test_picture_and_sound_are_cut_at_the_same_moment(shards: Path, small_config: Config) -> None:
    """In the drawn clips the mouth opens with the voice, so the two must agree within a window."""
    opened = open_shard_set(str(shards))
    config = small_config("data.sizes=[[64, 64]]", "data.lengths=[21]")
    batches = batches_of(opened, config)
    cache = ClipCache(1 << 30)
    slots = [slot for step in range(5, 9) for slot in batches._plan.slots(step) if slot.task == "sync"]
    agreements = []
    for slot in slots:
        clip = cache.get(opened, slot)
        assert clip.waveform is not None
        chance = generator(0, Draw.CROP, slot.step, slot.slot)
        window = cut_window(clip, slot, augmentation=config.data.augmentation, crop=chance, variation=chance)
        assert np.array_equal(window.waveform_s, clip.waveform[slot.first_frame * 640 :][: 21 * 640])
        loud = window.waveform_s.reshape(21, 640).std(axis=1)
        faces = clip.faces[slot.first_frame : slot.first_frame + 21]
        red = []
        for picture, [face] in zip(clip.video_fhwc[slot.first_frame :], faces, strict=False):
            x0, y0, x1, y1 = face.box
            height, width = picture.shape[:2]
            mouth = picture[int((y0 + 0.6 * (y1 - y0)) * height) : int(y1 * height), int(x0 * width) : int(x1 * width)]
            red.append(((mouth[..., 0].astype(int) - mouth[..., 1]) > 60).sum())
        agreements.append(np.corrcoef(loud, red)[0, 1])
    assert np.median(agreements) > 0.8


def test_dropout_comes_at_its_rates_and_independently(shards: Path, small_config: Config) -> None:
    config = small_config("objective.dropout={text: 0.5, image: 0.25, audio: 0.1}")
    batches = batches_of(open_shard_set(str(shards)), config)
    slot = batches._plan.slots(0)[0]
    stays = np.array([batches._draw(replace(slot, step=step))[2] for step in range(2000)])
    assert stays.mean(axis=0) == pytest.approx([0.5, 0.75, 0.9], abs=0.04)
    assert np.abs(np.corrcoef(stays.T) - np.eye(3)).max() < 0.06


def test_any_number_of_workers_gives_the_same_batches(shards: Path, small_config: Config) -> None:
    batches = batches_of(open_shard_set(str(shards)), small_config())
    alone = list(batches_from(batches, 4, workers=0))
    assert [batch.step for batch in alone] == [4, 5, 6, 7, 8]
    shared = list(batches_from(batches, 4, workers=2))
    assert all(same(ours, theirs) for ours, theirs in zip(alone, shared, strict=True))


def test_a_cache_too_small_for_anything_changes_nothing(shards: Path, small_config: Config) -> None:
    opened = open_shard_set(str(shards))
    batch = batches_of(opened, small_config("data.cache_mb=0"))[6]
    assert same(batch, batches_of(opened, small_config())[6])


def test_the_cache_keeps_the_last_used_within_its_limit(shards: Path, small_config: Config) -> None:
    opened = open_shard_set(str(shards))
    slots = {slot.row.key: slot for slot in batches_of(opened, small_config())._plan.slots(0)}
    first, second, third = list(slots.values())[:3]
    size = {slot.row.key: ClipCache(1 << 30).get(opened, slot).nbytes for slot in (first, second, third)}
    cache = ClipCache(size[first.row.key] + max(size[second.row.key], size[third.row.key]))
    kept = cache.get(opened, first)
    cache.get(opened, second)
    assert cache.get(opened, first) is kept
    cache.get(opened, third)
    assert cache.get(opened, first) is kept


def test_a_damaged_sample_keeps_its_place_at_weight_zero(tmp_path: Path, small_config: Config) -> None:
    def broken(files: dict[str, bytes]) -> dict[str, bytes]:
        return {**files, "mp4": files["mp4"][: len(files["mp4"]) // 2]}

    good = [Sample(key=f"k{number}") for number in range(4)]
    whole = open_shard_set(str(write_shards(tmp_path / "whole", good)))
    bad = [replace(sample, edit=broken) if sample.key == "k2" else sample for sample in good]
    holed = open_shard_set(str(write_shards(tmp_path / "holed", bad)))
    config = small_config("data.shuffle_window=1")
    for step in (0, 6):
        expected, found = batches_of(whole, config)[step], batches_of(holed, config)[step]
        assert found.keys == expected.keys
        [lost] = [place for place, key in enumerate(found.keys) if key == "k2"]
        assert [damage.key for damage in found.damaged] == ["k2"]
        assert "mp4" in found.damaged[0].reason
        for place in range(4):
            assert found.weight_b[place] == float(place != lost)
            if place != lost:
                assert torch.equal(found.video_bfhwc[place], expected.video_bfhwc[place])
            assert torch.equal(found.noise_bcthw[place], expected.noise_bcthw[place])
        assert not found.video_bfhwc[lost].any()


def test_times_are_moved_by_the_shift_of_their_size(tmp_path: Path, small_config: Config) -> None:
    """In training and in what is measured on held-out samples."""
    samples = [Sample(key=f"k{n}", frames=5, size=[(32, 32), (32, 64)][n % 2]) for n in range(4)]
    opened = open_shard_set(str(write_shards(tmp_path, samples)))
    sizes = "data.sizes=[[32, 32], [32, 64]]"
    plain, moved = small_config(sizes), small_config(sizes, "objective.shifts={32x64: 6}")
    seen = set()
    for step in range(9):
        before, after = batches_of(opened, plain)[step], batches_of(opened, moved)[step]
        s, wide = before.time_b, before.noise_bcthw.shape[-1] == 8
        seen.add(wide)
        # From shift 2 to 6 is a shift by 3.
        assert torch.allclose(after.time_b, 3 * s / (1 + 2 * s) if wide else s)
    assert seen == {True, False}
    measured = {}
    for config in (plain, moved):
        held = HeldOut(opened, batches_of(opened, config)._plan, config)
        for bucket, slots in held.slots(opened.rows, windows=1, beyond=0).items():
            own = BatchEncoder(mini_model(0), torch.device("cpu")).encode(held.load(slots))
            model = Mock(side_effect=lambda latents, *given, **named: SimpleNamespace(velocity_bcthw=latents))
            held.errors(model, own, own.conditions)
            times = [float(call.args[1][0]) / 1000 for call in model.call_args_list]
            measured[config is moved, bucket.width] = torch.tensor(times)
    s = measured[False, 64]
    assert torch.allclose(measured[True, 64], 3 * s / (1 + 2 * s))
    assert measured[True, 32].equal(measured[False, 32])


def test_noise_belongs_to_the_slot(shards: Path, small_config: Config) -> None:
    batch = batches_of(open_shard_set(str(shards)), small_config())[3]
    expected = generator(0, Draw.NOISE, 3, 2).standard_normal((16, 3, 4, 4), np.float32)
    assert np.array_equal(batch.noise_bcthw[2].numpy(), expected)


@pytest.mark.parametrize("shares", [2, 4])
def test_shares_of_the_processes_are_together_the_whole_step(shards: Path, small_config: Config, shares: int) -> None:
    """Every drawn number and every pixel of a slot is the same, whichever process has it."""
    opened, config = open_shard_set(str(shards)), small_config()
    rows = [row for row in opened.rows if row.split == "train"]
    plan = Plan(rows, data=config.data, stages=config.stages, seed=config.seed)
    whole = Batches(opened, plan, config)[7]
    dealt = [Batches(opened, plan, config, share=(number, shares))[7] for number in range(shares)]
    for number, part in enumerate(whole.parts(4 // shares)):
        assert same(dealt[number], part)
    assert {slot for batch in dealt for slot in batch.slots} == {0, 1, 2, 3}
