"""Alerts by Prometheus' own tool: each rings where it should, and none rings at work that goes well."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT

GOES_WELL = {
    "ray_humo_sources_waiting": "50x120",
    'ray_humo_progress_total{what="units"}': "0+10x120",
    'ray_humo_progress_total{what="sources"}': "0+2x120",
    'ray_humo_progress_total{what="failed sources"}': "0+0.1x120",
    'ray_humo_items_total{stage="faces"}': "0+100x120",
    'ray_humo_failures_total{stage="faces",reason="no frames"}': "0+1x120",
    "ray_humo_deaths_total": "0+0.1x120",
    'ray_node_mem_used{instance="a"}': "80x120",
    'ray_node_mem_total{instance="a"}': "100x120",
    'ray_node_disk_usage{instance="a"}': "80x120",
    'ray_node_disk_free{instance="a"}': "20x120",
    'ray_node_gpus_utilization{instance="a"}': "90x120",
}
TROUBLE: dict[str, tuple[dict[str, str | None], set[str]]] = {
    "all is well": ({}, set()),
    # None: a series that is not there at all, as where no worker ever came.
    "no worker came": (
        {name: None for name in GOES_WELL if "waiting" not in name and "node" not in name},
        {"HumoStandsStill"},
    ),
    "workers hang": ({'ray_humo_progress_total{what="units"}': "7x120"}, {"HumoStandsStill"}),
    "done, and idle": (
        {'ray_humo_progress_total{what="units"}': "7x120", "ray_humo_sources_waiting": "0x120"},
        set(),
    ),
    "sources fail": ({'ray_humo_progress_total{what="failed sources"}': "0+1x120"}, {"HumoManySourcesFail"}),
    "a stage fails": (
        {'ray_humo_failures_total{stage="faces",reason="no frames"}': "0+30x120"},
        {"HumoStageFails"},
    ),
    "workers die": ({"ray_humo_deaths_total": "0+1x120"}, {"HumoWorkersDie"}),
    "memory": ({'ray_node_mem_used{instance="a"}': "97x120"}, {"HumoNodeMemory"}),
    "disk": ({'ray_node_disk_free{instance="a"}': "2x120"}, {"HumoNodeDisk"}),
    "GPUs wait": ({'ray_node_gpus_utilization{instance="a"}': "10x120"}, {"HumoGpusIdle"}),
}


def test_each_alert_rings_for_its_trouble_alone(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool on this machine (Debian: apt-get install prometheus)")
    rules = ROOT / "infra" / "metrics" / "alerts.yaml"
    named = {rule["alert"] for rule in yaml.safe_load(rules.read_text())["groups"][0]["rules"]}
    assert set().union(*(rings for _, rings in TROUBLE.values())) == named
    tests: list[dict[str, Any]] = []
    for name, (changed, rings) in TROUBLE.items():
        series = {**GOES_WELL, **changed}
        asked = 'count by (alertname) (ALERTS{alertstate="firing"})'
        wanted = [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in sorted(rings)]
        tests.append(
            {
                "name": name,
                "interval": "1m",
                "input_series": [{"series": one, "values": values} for one, values in series.items() if values],
                "promql_expr_test": [{"expr": asked, "eval_time": "70m", "exp_samples": wanted}],
            }
        )
    path = tmp_path / "tests.yaml"
    path.write_text(yaml.safe_dump({"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": tests}))
    done = subprocess.run([promtool, "test", "rules", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
