import pickle
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from schemas.errors import UserError
from training.config import TrainingConfig
from training.dataset import IndexRow
from training.plan import Bucket, Plan, bucket_of

Config = Callable[..., TrainingConfig]


def rows(count: int, **changes: object) -> list[IndexRow]:
    made = []
    for number in range(count):
        fields = {
            "key": f"{changes.get('tier', 'sync')}{number:03}",
            "shard": f"{number // 4}.tar",
            "offset": 0,
            "bytes": 512,
            "split": "train",
            "tier": "sync",
            "references": 1,
            "frames": 21,
            "height": 64,
            "width": 64,
            "identities": ("ann",),
        }
        made.append(IndexRow(**{**fields, **changes}))
    return made


def plan_of(config: TrainingConfig, samples: list[IndexRow]) -> Plan:
    return Plan(samples, data=config.data, stages=config.stages, seed=config.seed)


def test_every_step_is_the_same_wherever_it_is_asked_for(small_config: Config) -> None:
    config = small_config()
    plan, again = plan_of(config, rows(10)), plan_of(config, rows(10)[::-1])
    straight = [plan.slots(step) for step in range(plan.total_steps)]
    assert [again.slots(step) for step in reversed(range(again.total_steps))] == straight[::-1]
    assert pickle.loads(pickle.dumps(plan)).slots(5) == straight[5]
    assert plan_of(small_config("seed=1"), rows(10)).slots(0) != straight[0]


def test_an_epoch_is_every_sample_once(small_config: Config) -> None:
    config = small_config("stages.start.steps=10", "stages.subject.steps=5")
    plan = plan_of(config, rows(10))
    drawn = [slot.row.key for step in range(15) for slot in plan.slots(step)]
    for epoch in range(6):
        assert sorted(drawn[epoch * 10 : epoch * 10 + 10]) == [f"sync{number:03}" for number in range(10)]
    assert drawn[:10] != drawn[10:20]


def test_shards_stay_together_within_the_shuffle_window(small_config: Config) -> None:
    config = small_config("stages.start.steps=4", "data.shuffle_window=1")
    plan = plan_of(config, rows(16))
    drawn = [slot.row.shard for step in range(4) for slot in plan.slots(step)]
    assert [len(set(drawn[start : start + 4])) for start in range(0, 16, 4)] == [1, 1, 1, 1]


def test_the_mix_follows_its_schedule_and_sync_slots_hold_sync_samples(small_config: Config) -> None:
    config = small_config("stages.sync.steps=100", "stages.sync.sync_share={start: 0.2, end: 0.5}")
    plan = plan_of(config, rows(6) + rows(6, tier="subject"))
    sync = []
    for step in range(5, 105):
        slots = plan.slots(step)
        sync.append(sum(slot.task == "sync" for slot in slots))
        assert all(slot.row.tier == "sync" for slot in slots if slot.task == "sync")
    assert sum(sync) == pytest.approx(100 * 4 * 0.35, abs=1)
    assert sum(sync[:20]) == pytest.approx(20 * 4 * 0.23, abs=1.5)
    assert sum(sync[-20:]) == pytest.approx(20 * 4 * 0.47, abs=1.5)
    places = Counter(slot.slot for step in range(5, 105) for slot in plan.slots(step) if slot.task == "sync")
    assert set(places) == {0, 1, 2, 3}
    assert {slot.task for step in range(5) for slot in plan.slots(step)} == {"subject"}
    assert {slot.row.tier for step in range(5) for slot in plan.slots(step)} == {"sync", "subject"}


def test_a_batch_has_one_bucket_and_windows_lie_inside_the_clip(small_config: Config) -> None:
    config = small_config("data.sizes=[[32, 32], [32, 64]]", "data.lengths=[5, 9]", "stages.start.steps=60")
    samples = rows(6) + rows(6, tier="subject", width=128, frames=8) + rows(3, tier="subject2", frames=7)
    plan = plan_of(config, [entry for entry in samples if entry.tier != "subject2"])
    assert plan.buckets == [Bucket(32, 32, 9, 1), Bucket(32, 64, 5, 1)]
    buckets = Counter()
    for step in range(60):
        slots = plan.slots(step)
        assert len({slot.bucket for slot in slots}) == 1
        buckets[slots[0].bucket] += 1
        for slot in slots:
            assert 0 <= slot.first_frame <= slot.row.frames - slot.bucket.frames
    assert buckets[plan.buckets[0]] == pytest.approx(30, abs=12)
    firsts = {slot.first_frame for step in range(60) for slot in plan.slots(step) if slot.row.frames == 21}
    assert firsts == set(range(13))


def test_too_short_samples_are_counted_and_left_out(small_config: Config) -> None:
    config = small_config("data.lengths=[9]")
    plan = plan_of(config, rows(3) + rows(2, tier="subject", frames=5))
    assert plan.too_short == 2
    assert bucket_of(rows(1, frames=5)[0], config.data) is None


def test_a_stage_without_samples_is_refused(small_config: Config) -> None:
    with pytest.raises(UserError, match="stage sync has no sync samples"):
        plan_of(small_config(), rows(4, tier="subject"))
    with pytest.raises(UserError, match="stage start has no subject samples .* at least 25 frames"):
        plan_of(small_config("data.lengths=[25]"), rows(4))


def test_positions(small_config: Config) -> None:
    plan = plan_of(small_config(), rows(4))
    assert [(plan.position(step).stage, plan.position(step).step_in_stage) for step in (0, 2, 3, 5, 8)] == [
        (0, 0), (0, 2), (1, 0), (2, 0), (2, 3),
    ]  # fmt: skip
    assert plan.total_steps == 9
    assert np.shape(plan.slots(8)) == (4,)
