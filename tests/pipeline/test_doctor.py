"""The doctor names what is missing and how to get it: on a bare machine, with half the weights, with a wrong one."""

import hashlib
from pathlib import Path

import pytest

from pipeline import doctor
from pipeline.backends.catalogue import BACKENDS
from pipeline.config import CurateConfig
from pipeline.engine.preflight import check_backends
from pipeline.weights import locate, table
from pipeline.weights.weight import Weight, WeightFile
from schemas.errors import UserError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(locate.CACHE, str(tmp_path))
    return tmp_path


def findings() -> dict[str, doctor.Finding]:
    return {finding.what: finding for finding in doctor.examine()}


def test_a_missing_package_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(finding.state != doctor.MISSING for finding in doctor.examine() if " " not in finding.what)
    monkeypatch.setattr(doctor, "CORE", ("torch", "no-such-package"))
    found = findings()
    assert found["no-such-package"].state == "missing"
    assert "pip install" in found["no-such-package"].advice
    assert found["profile local"].state == "not ready"
    assert found["torch"].state.startswith("2.13.0")


def test_on_a_bare_machine_every_backend_and_weight_has_its_command() -> None:
    found = findings()
    for backend in BACKENDS:
        one = found[f"backend {backend.option}={backend.value}"]
        for name in backend.weights:
            assert f"weight {name} missing" in one.state
            assert f"humo fetch {name}" in one.advice
    for name, weight in table.weights().items():
        one = found[f"weight {name}"]
        assert one.state == "missing"
        assert weight.licence in one.advice
        assert one.advice.endswith(f"humo fetch {name}")
    assert "non-commercial research only" in found["weight insightface-buffalo-l"].advice


def test_half_the_weights_and_a_wrong_one_are_told_apart(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def made(name: str) -> Weight:
        files = tuple(
            WeightFile(path=path, url=f"https://example.org/{path}", sha256=hashlib.sha256(path.encode()).hexdigest())
            for path in ("one", "two")
        )
        return Weight(name=name, source="https://example.org", licence="MIT", files=files)

    listed = {name: made(name) for name in ("whole", "half", "wrong", "absent", *table.weights())}
    for module in (doctor, table):
        monkeypatch.setattr(module, "weights", lambda: listed)
    for name, files in {"whole": ("one", "two"), "half": ("one",), "wrong": ("one", "two")}.items():
        (cache / name).mkdir()
        for path in files:
            (cache / name / path).write_text(path)
    (cache / "wrong" / "two").write_text("something else")
    found = findings()
    assert found["weight whole"].state == "present"
    assert "humo fetch" not in found["weight whole"].advice
    assert found["weight half"].state == "incomplete (two is not there)"
    assert found["weight wrong"].state == "wrong (two has another checksum)"
    assert found["weight absent"].state == "missing"
    for name in ("half", "wrong", "absent"):
        assert found[f"weight {name}"].advice.endswith(f"humo fetch {name}")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"shots": {"backend": "transnetv2"}},
            "shots.backend=transnetv2: the weight transnetv2 is missing: humo fetch transnetv2",
        ),
        ({"captions": {"backend": "qwen_vl"}, "frames": {"count": 4}}, "humo fetch qwen2.5-vl-7b"),
        ({"captions": {"backend": "server"}, "frames": {"count": 4}}, "set captions.server.url"),
        ({"captions": {"backend": "server"}}, "set frames.count"),
        ({"faces": {"descriptor": "sface"}}, "needs landmarks"),
        ({"engine": {"placement": {"caption": {"gpus": 1}}}}, "there is no such stage"),
    ],
)
def test_what_is_missing_stops_a_run_before_it_starts(options: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_backends(CurateConfig.model_validate(options), cluster=False)


def test_without_a_gpu_nothing_falls_back(tmp_path: Path) -> None:
    own = {"transnetv2": str(tmp_path)}
    options = {"shots": {"backend": "transnetv2"}, "weights": {"own": own}, "engine": {"device": "cuda"}}
    if doctor.has_gpu():
        pytest.skip("this machine has a GPU")
    with pytest.raises(UserError, match=r"shows none.*engine.device=cpu"):
        check_backends(CurateConfig.model_validate(options), cluster=False)
