"""Metrics: what workers count becomes counters by stage; a real Prometheus finds what the dashboard asks for."""

import json
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import CurateConfig
from pipeline.engine import log, metrics, ray_run
from pipeline.engine.curate import curate
from pipeline.engine.metrics import DriverMetrics, WorkerMetrics
from pipeline.engine.work import TOLD_ONLY, Work, kind_of
from pipeline.stage import Inapplicable, Unmeasurable
from pipeline.store.files import Files
from tests.conftest import ROOT
from tests.pipeline.conftest import humo
from tests.pipeline.direct_run import no_ray
from tests.pipeline.made_videos import numbered, steady, texture, write_video

GPU = "ray_node_gpus_utilization"
"""What only machines with GPUs tell."""


class Kept:
    """Stands in for a metric of Ray."""

    said: dict[tuple[str, tuple[tuple[str, str], ...]], float]

    def __init__(self, name: str, **_about: Any) -> None:
        self._name = name

    def inc(self, amount: float, tags: dict[str, str] | None = None) -> None:
        assert amount > 0
        key = (self._name, tuple(sorted((tags or {}).items())))
        Kept.said[key] = Kept.said.get(key, 0) + amount

    def set(self, value: float) -> None:
        Kept.said[self._name, ()] = value


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    Kept.said = {}
    monkeypatch.setattr(metrics, "Counter", Kept)
    monkeypatch.setattr(metrics, "Gauge", Kept)
    return Kept.said


def test_counters_have_their_stage_and_failures_their_reason(said: dict[Any, float]) -> None:
    work = Work()
    work.count("seconds.faces", 2.5)
    work.count("computed.faces", 3)
    work.count("deaths", 0)
    work.failed("faces", "a_1_2", Unmeasurable("the clip cannot be decoded: frame 17"))
    work.failed("faces", "a_2_3", Unmeasurable("the clip cannot be decoded: frame 18"))
    work.failed("faces", "a_3_4", ZeroDivisionError("in 3 of 4"))
    work.failed("speech", "a_3_4", Inapplicable("no sound"))
    WorkerMetrics().count(work.counts)
    assert said == {
        ("humo_seconds", (("stage", "faces"),)): 2.5,
        ("humo_items", (("stage", "faces"),)): 3,
        ("humo_failures", (("reason", "the clip cannot be decoded"), ("stage", "faces"))): 2,
        ("humo_failures", (("reason", "ZeroDivisionError"), ("stage", "faces"))): 1,
    }
    assert [name for name in work.counts if name.startswith(TOLD_ONLY)] == [
        "failures.faces.the clip cannot be decoded",
        "failures.faces.ZeroDivisionError",
    ]


def test_what_waits_is_told_before_anything_came_through(
    said: dict[Any, float], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Else the alert that nothing moves would have nothing to look at where no worker ever comes."""

    class NoWorker(Exception):
        pass

    def none_came(*_: object) -> None:
        raise NoWorker

    write_video(tmp_path / "a.mp4", (texture(0) for _ in range(5)), times_ms=steady(5))
    monkeypatch.setattr(ray_run, "run_passes", none_came)
    monkeypatch.setattr(ray_run, "running_ray", no_ray)
    with pytest.raises(NoWorker):
        curate(
            Files(str(tmp_path / "run")), [str(tmp_path / "a.mp4")], CurateConfig(), address=None, limit=None,
            progress=lambda *_: None,
        )  # fmt: skip
    # No share of nothing is told: a new run keeps an unknown part of what comes.
    assert said == {("humo_sources_waiting", ()): 1, ("humo_kept_hours", ()): 0}


def test_kinds_of_reasons_are_few() -> None:
    assert (
        kind_of(Unmeasurable("quarantined at attempt 2 of 2: no result within 3 s")) == "quarantined at attempt # of #"
    )
    assert kind_of(Unmeasurable("x" * 500)) == "x" * 60


def test_the_driver_says_what_waits_and_what_was_kept(said: dict[Any, float]) -> None:
    told = DriverMetrics()
    told.waiting(7)
    told.kept(2.0, 8.0)
    assert said == {
        ("humo_sources_waiting", ()): 7,
        ("humo_kept_hours", ()): 2.0,
        ("humo_kept_share", ()): 0.25,
    }


def test_an_event_is_a_line_with_run_stage_and_item(capsys: pytest.CaptureFixture[str]) -> None:
    log._LOGGER.handlers.clear()
    try:
        log.begin(run="s3://runs/a", session="abc")
        Work().failed("faces", "a_1_2", Unmeasurable("too dark"))
        line = json.loads(capsys.readouterr().err)
    finally:
        log._RUN.clear()
        log._LOGGER.handlers.clear()
    assert {name: line[name] for name in ("event", "run", "session", "stage", "item", "reason")} == {
        "event": "failed",
        "run": "s3://runs/a",
        "session": "abc",
        "stage": "faces",
        "item": "a_1_2",
        "reason": "Unmeasurable: too dark",
    }


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _query(port: int, expression: str) -> list[Any]:
    address = f"http://127.0.0.1:{port}/api/v1/query?query={urllib.parse.quote(expression)}"
    with urllib.request.urlopen(address, timeout=20) as answer:
        found: list[Any] = json.load(answer)["data"]["result"]
        return found


@pytest.mark.slow
@pytest.mark.skipif("HUMO_LONG" not in os.environ, reason="starts Ray and Prometheus: set HUMO_LONG=1")
def test_prometheus_finds_a_series_for_every_query_of_the_dashboard(tmp_path: Path) -> None:
    pytest.importorskip("opencensus", reason="metrics need what 'humo[cluster]' brings")
    prometheus = shutil.which("prometheus")
    if prometheus is None:
        pytest.skip("no prometheus on this machine (Debian: apt-get install prometheus)")
    from ray.cluster_utils import Cluster

    exported, asked = _free_port(), _free_port()
    (tmp_path / "prometheus.yaml").write_text(
        f"global: {{scrape_interval: 1s}}\nrule_files: [{ROOT}/infra/metrics/alerts.yaml]\n"
        f"scrape_configs: [{{job_name: ray, static_configs: [{{targets: ['127.0.0.1:{exported}']}}]}}]\n"
    )
    footage = tmp_path / "footage"
    footage.mkdir()
    for number in range(3):
        scenes = [numbered(texture(10 * number + scene), scene) for scene in range(3) for _ in range(21)]
        write_video(footage / f"made{number}.mp4", scenes, times_ms=steady(len(scenes)))
    (footage / "broken.mp4").write_bytes(b"no video")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 6, "metrics_export_port": exported})
    server = subprocess.Popen(
        [prometheus, f"--config.file={tmp_path}/prometheus.yaml", f"--storage.tsdb.path={tmp_path}/tsdb",
         f"--web.listen-address=127.0.0.1:{asked}"],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    dashboard = json.loads((ROOT / "infra" / "metrics" / "dashboard.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    queries = [re.sub(r"\[\$__rate_interval\]", "[10m]", query) for query in queries]
    missing = queries
    try:
        done = humo("curate", footage, "--out", tmp_path / "run", "--address", cluster.address,
                    "--set", "clips.frames=21", "--set", "clips.min_frames=17")  # fmt: skip
        assert done.code == 1, done.text
        deadline = time.monotonic() + 90
        while missing and time.monotonic() < deadline:
            time.sleep(2)
            missing = [query for query in missing if not _query(asked, query)]
        names = urllib.request.urlopen(f"http://127.0.0.1:{exported}/metrics", timeout=20).read().decode()
    finally:
        server.terminate()
        server.wait()
        cluster.shutdown()
    told = sorted({line.split("{")[0] for line in names.splitlines() if "humo" in line and line[0] != "#"})
    assert [query for query in missing if GPU not in query] == [], told
