"""Which stages share actors, what GPUs they get, and that placement changes no fingerprint."""

from typing import Any

import pytest

from pipeline import placement
from pipeline.config import CurateConfig
from pipeline.engine.fingerprint import fingerprints
from pipeline.flow import CUT, MEASURE
from pipeline.placement import passes
from pipeline.profiles import options_of
from schemas.configuration import merged
from schemas.errors import UserError


@pytest.fixture(autouse=True)
def _everything_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "missing", lambda environment: [])


def config(**over: Any) -> CurateConfig:
    return CurateConfig.model_validate(merged({"profile": "gpu", **options_of("gpu")}, over))


def test_the_local_profile_has_one_pass_over_sources_and_one_over_clips() -> None:
    cut, measure = passes(CurateConfig())
    assert (cut.stages, measure.stages) == (CUT, MEASURE)
    assert cut.gpus == measure.gpus == 0
    assert cut.actors == measure.actors == 2


@pytest.mark.parametrize("gpus", [1, 2, 8, 16, 64])
def test_every_stage_is_in_one_pass_in_order_and_the_gpus_are_filled(gpus: int) -> None:
    found = passes(config(engine={"gpus": gpus}))
    assert [stage for one in found for stage in one.stages] == [*CUT, *MEASURE]
    used = sum(one.actors * one.gpus for one in found)
    assert 0.9 * gpus <= used <= gpus
    by_stage = {one.stages[-1]: one for one in found}
    assert by_stage["captions"].stages == ("captions",)
    assert by_stage["captions"].gpus == (1 if gpus >= 8 else 0.45)


def test_a_placement_of_the_users_counts_over_the_defaults() -> None:
    found = passes(config(engine={"placement": {"captions": {"actors": 3, "gpus": 2}, "quality": {"cpus": 4}}}))
    by_stage = {one.stages: one for one in found}
    assert (by_stage[("captions",)].actors, by_stage[("captions",)].gpus) == (3, 2)
    assert by_stage[("quality",)].cpus == 4


def test_a_captions_server_takes_no_gpu_here() -> None:
    found = passes(config(captions={"backend": "server"}))
    assert next(one for one in found if "captions" in one.stages).gpus == 0


def test_an_environment_that_is_not_here_gets_actors_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "missing", lambda environment: ["something"])
    environments = {stage: one.environment for one in passes(config()) for stage in one.stages}
    assert environments["faces"] == "faces"
    assert environments["looks"] == "looks"
    assert environments["captions"] is None


def test_where_and_how_fast_changes_no_fingerprint_and_what_does() -> None:
    base = fingerprints(config())
    same = {
        "engine": {"gpus": 8, "workers": 7, "placement": {"captions": {"gpus": 1}}, "build_environments": False},
        "captions": {"batch": 3, "server": {"url": "http://elsewhere/v1", "in_flight": 9}},
        "looks": {"batch": 7},
    }
    assert fingerprints(config(**same)) == base
    changed = {}
    for name, over in {
        "weight": {"captions": {"weight": "qwen3-vl-8b"}},
        "own": {"weights": {"own": {"qwen2.5-vl-7b": "elsewhere"}}},
        "tokens": {"captions": {"tokens": 99}},
        "looks": {"looks": {"backend": "none"}},
        "shots": {"shots": {"backend": "scenedetect"}},
    }.items():
        after = fingerprints(config(**over))
        changed[name] = {stage for stage in base if after[stage] != base[stage]}
    assert changed == {
        "weight": {"captions"},
        "own": {"captions"},
        "tokens": {"captions"},
        "looks": {"looks"},
        "shots": {"shots"},
    }


def test_there_is_no_other_profile() -> None:
    with pytest.raises(UserError, match="there are: local, gpu"):
        options_of("tpu")
