"""A plan's numbers, worked out by hand from a sample of two hours."""

import json
from dataclasses import replace
from math import sqrt
from pathlib import Path

import pytest

from pipeline.capacity.config import PlanConfig, read_plan
from pipeline.capacity.estimate import SHARD_BYTES, estimate
from pipeline.capacity.sample import Sample, measure
from pipeline.config import CurateConfig
from pipeline.engine.decide_again import decide_again
from pipeline.engine.packing import pack_into
from pipeline.flow import STAGE
from pipeline.store.relations import Relations
from pipeline.store.snapshots import commit, latest
from schemas.command_line import run as command
from schemas.errors import UserError
from schemas.tables import TABLES
from tests.pipeline.synthetic_run import FakeClip, write_synthetic_run

ROWS = {"sources": 4, "clips": 100, "tracks": 200, "candidates": 1600, "quality": 100}
SAMPLE = Sample(
    hours=2.0,
    bytes=9_000_000_000,
    rows={**dict.fromkeys(TABLES, 0), **ROWS},
    seconds={**dict.fromkeys([*STAGE, "decode"], 0.0), "shots": 600.0, "faces": 1200.0, "decide": 1.0, "pack": 2.0},
    gpu_seconds={},
    stored={"media/clips": 4_000_000_000, "tables": 10_000_000, "shards": 1_073_741_824},
    files={"media/clips": 100, "tables": 40, "shards": 5},
    kept=20,
    kept_hours=0.5,
    commit_bytes=1500.0,
    probes=None,
)
CONFIG = PlanConfig.model_validate(
    {
        "sample": "unused",
        "days": 10,
        "machines": {"cores": 10, "busy": 0.5, "network_gbit": 8, "driver_gb": 20},
        "prices": {"core_hour": 0.1, "tb_month": 20, "months": 3, "million_writes": 5},
        "slopes": {
            "duplicates": 0, "identities": 0, "candidates": 0, "references": 0, "decide": 100, "pack": 2000,
            "pair_ns": 10, "track_bytes": 1000,
        },
    }
)  # fmt: skip


def test_a_thousand_hours_by_hand() -> None:
    found = estimate(SAMPLE, CONFIG, 1000)
    # 500 times the sample: 900 s of item stages an hour of footage are 250 core-hours, on 5 busy cores 50 hours.
    assert found.seconds["shots"] == 300_000
    assert found.seconds["faces"] == 600_000
    assert found.phases["cores"] == pytest.approx(50)
    # 4.5 TB at 1 GB/s are 4500 s.
    assert found.phases["network"] == pytest.approx(1.25)
    # Decisions: 1 s as on the sample, and 100 us for each of 49,900 clips more. Shards: 2 s, and 2 ms for each of 9,980
    # samples more; what the sample's two seconds went into was mostly the beginning.
    assert found.seconds["decide"] == pytest.approx(1 + 4.99)
    assert found.seconds["pack"] == pytest.approx(2 + 19.96)
    # 100,000 tracks in place of 200: 10^10 pairs at 10 ns are 100 s.
    assert found.seconds["identities"] == pytest.approx(100, rel=1e-4)
    assert found.phases["sets"] == pytest.approx((5.99 + 21.96 + 100) / 3600, rel=1e-4)
    assert found.hours_taken == pytest.approx(50 + found.phases["sets"])
    assert found.bottleneck == "cores"
    # 250 core-hours in 10 days less the sets, at one half busy.
    assert found.cores_to_ask_for == 3
    assert found.storage_gb["media/clips"] == pytest.approx(2000)
    assert found.counts["face tracks (vectors)"] == 100_000
    assert found.counts["shards"] == 500 * 1_073_741_824 / SHARD_BYTES == 1000
    assert found.counts["bundles of rows"] == 25, "800,000 candidates lie in 25 bundles of 32,768 rows"
    assert found.counts["commits"] == 13
    assert found.kept_hours == 250
    assert found.bill["cores"] == pytest.approx((500 + found.phases["sets"]) * 0.1)
    terabytes = (2000 + 5 + 536.870912) / 1000
    assert found.bill["storage"] == pytest.approx(terabytes * 20 * 3)
    assert found.bill["writes"] == pytest.approx((50_000 + 1000 + 25 * 11) / 1e6 * 5)


def test_the_sample_itself_is_what_it_took() -> None:
    found = estimate(SAMPLE, CONFIG, 2)
    assert found.seconds == {"shots": 600, "faces": 1200, "decide": 1, "pack": 2}


def test_what_breaks_first_is_the_bound_that_is_met_first() -> None:
    found = estimate(SAMPLE, CONFIG, 1000).breaks
    at = {limit.what.split(" ")[0] + limit.what.split(" ")[1]: limit.at_hours for limit in found}
    assert [limit.at_hours for limit in found] == sorted(limit.at_hours for limit in found)
    # 100 tracks an hour: (100 h)² pairs of 10 ns are a day at sqrt(86400 / 1e-4) hours.
    assert at["thesearch"] == pytest.approx(sqrt(86_400 / 1e-4))
    # A track takes 1000 bytes: 100 kB an hour, 20 GB at 200,000 hours.
    assert at["facetracks"] == pytest.approx(200_000)
    # 50 files an hour: 10^9 at 20 million hours.
    assert at["arun"] == pytest.approx(2e7)
    assert found[0].what.startswith("the search")
    assert all(limit.answer for limit in found)


def test_what_is_said_to_break_is_what_the_plan_for_so_many_hours_shows() -> None:
    sets = next(limit for limit in estimate(SAMPLE, CONFIG, 1000).breaks if limit.what.startswith("the set stages"))
    there = estimate(SAMPLE, CONFIG, sets.at_hours)
    assert there.phases["sets"] == pytest.approx(CONFIG.bounds.set_hours, rel=1e-3)
    assert estimate(SAMPLE, CONFIG, sets.at_hours).seconds["pack"] > 100, "packing is one of them"


def test_search_takes_the_square_and_becomes_the_bottleneck() -> None:
    found = estimate(SAMPLE, CONFIG, 1e8)
    # 10^10 tracks: 10^20 pairs of 10 ns are 10^12 s.
    assert found.seconds["identities"] == pytest.approx(1e12, rel=1e-6)
    assert (found.bottleneck, found.cores_to_ask_for) == ("sets", None)


def test_an_index_looks_at_fewer_pairs() -> None:
    found = estimate(replace(SAMPLE, probes=10), CONFIG, 1e6)
    # 10^8 tracks in 4 * 10^4 partitions of 2500: each is compared with the means twice, and with ten partitions. The
    # means are found by 256 comparisons of each with each other. These 1.091 * 10^13 pairs of 10 ns are 1.091 * 10^5 s.
    assert found.seconds["identities"] == pytest.approx(1.091e5, rel=1e-3)
    search = next(limit for limit in found.breaks if limit.what.startswith("the search"))
    # A day of such pairs: (100 h)^1.5 * (2 * 4 + 10 / 4) * 10 ns, and 100 h * 256 * 4^2 * 10 ns.
    tracks = 100 * search.at_hours
    assert tracks**1.5 * 10.5e-8 + tracks * 4096e-8 == pytest.approx(86_400, rel=1e-3)


def test_gpu_stages_need_gpus() -> None:
    raw = CONFIG.model_copy(update={"gpu_seconds_per_clip": {"captions": 0.9}})
    with pytest.raises(UserError, match="machines.gpus"):
        estimate(SAMPLE, raw, 1000)
    machines = CONFIG.machines.model_copy(update={"gpus": 5})
    found = estimate(SAMPLE, raw.model_copy(update={"machines": machines}), 1000)
    # 50,000 clips at 0.9 s are 12.5 GPU-hours, on 5 GPUs that work half of the time 5 hours.
    assert found.phases["gpus"] == pytest.approx(5)
    assert found.bill["gpus"] == pytest.approx(5 * 5 * 2.5)


def test_gpu_seconds_of_the_sample_are_its_own_and_can_be_replaced() -> None:
    machines = CONFIG.machines.model_copy(update={"gpus": 5})
    on_gpus = replace(SAMPLE, gpu_seconds={"captions": 90.0, "faces": 9.0})
    with pytest.raises(UserError, match=r"captions, faces run on GPUs: give machines\.gpus"):
        estimate(on_gpus, CONFIG, 1000)
    found = estimate(on_gpus, CONFIG.model_copy(update={"machines": machines}), 1000)
    # 500 times the sample's 99 s, on 5 GPUs that work half of the time.
    assert found.gpu_seconds == {"captions": 45_000, "faces": 4_500}
    assert found.phases["gpus"] == pytest.approx(49_500 / 2.5 / 3600)
    other = CONFIG.model_copy(update={"machines": machines, "gpu_seconds_per_clip": {"captions": 0.5}})
    assert estimate(on_gpus, other, 1000).gpu_seconds == {"captions": 25_000, "faces": 4_500}


def test_a_sample_is_read_from_a_run_and_what_was_done_twice_counts_once(tmp_path: Path) -> None:
    files = write_synthetic_run(tmp_path / "run", [FakeClip(source=1, start_s=n, similarity=0.9) for n in range(4)])
    config = CurateConfig()
    decide_again(Relations(files, latest(files)), config, dry_run=False)
    commit(files, latest(files), pack_into(files, latest(files), config))
    snapshot = latest(files).with_work({"seconds.faces": 12.0, "computed.faces": 8, "seconds.decode": 3.0})
    snapshot = snapshot.with_work({"decodes.measure": 6, "seconds.shots": 5.0, "computed.shots": 1, "gpu.faces": 3.0})
    found = measure(files, snapshot, config)
    assert found.hours == pytest.approx(100 / 3600)
    assert found.seconds["faces"] == 6.0, "eight clips were measured for the four that are there"
    assert found.gpu_seconds == {"faces": 1.5}
    assert found.seconds["decode"] == 2.0
    assert found.seconds["shots"] == 5.0
    assert (found.rows["clips"], found.rows["tracks"], found.files["media/clips"]) == (4, 4, 4)
    assert found.stored["media/clips"] == sum(
        path.stat().st_size for path in (tmp_path / "run/media/clips").rglob("*.mp4")
    )
    assert replace(found, kept=0).rows == found.rows


def test_the_command_reads_a_file_or_a_run_and_says_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = write_synthetic_run(tmp_path / "run", [FakeClip(source=1, start_s=n, similarity=0.9) for n in range(4)])
    config = CurateConfig()
    decide_again(Relations(files, latest(files)), config, dry_run=False)
    (tmp_path / "plan.yaml").write_text("sample: run\ndays: 5\nprices: {core_hour: 1}\n")
    assert read_plan(str(tmp_path / "plan.yaml"), {}).sample == str(tmp_path / "run")
    assert command(["plan", str(tmp_path / "plan.yaml"), "--hours", "1000", "--hours", "5e6", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["estimates"]
    assert [one["hours"] for one in said] == [1000, 5e6]
    assert command(["plan", str(tmp_path / "run")]) == 0
    assert "What breaks first" in capsys.readouterr().out
    (tmp_path / "plan.yaml").write_text("sample: run\nprice: 3\n")
    assert command(["plan", str(tmp_path / "plan.yaml")]) == 2
    assert "unknown option 'price'" in capsys.readouterr().err
    assert command(["plan", str(tmp_path / "nothing")]) == 2
    assert "neither a YAML file nor a run folder" in capsys.readouterr().err
