"""The shipped chain for real, on the demo film: killed, resumed, approved, done. A long form of some ten minutes:
`HUMO_LONG=1 pytest tests/pipeline/workflow/test_chain.py`."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from pipeline.demo.line import DEMO_CONFIG
from pipeline.workflow.run import WorkflowRun
from schemas.command_line import COMMAND
from tests.conftest import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("HUMO_LONG" not in os.environ, reason="curates, trains and evaluates: set HUMO_LONG=1"),
]


def start(path: Path, *more: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([*COMMAND, "run", str(path), *more])


def test_the_chain_is_killed_and_resumed_and_ends(film: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(ROOT / "infra" / "workflow", tmp_path / "chain"))
    shutil.copytree(film, folder / "footage")
    # Two people: a split by person would leave one to learn from.
    shutil.copy(DEMO_CONFIG, folder / "curate.yaml")
    path = folder / "workflow.yaml"
    # Nor can they be asked for without having been learned from.
    text = path.read_text()
    assert '"8"]' in text
    path.write_text(text.replace('"8"]', '"8", --accept, identity, --accept, source, --accept, near-duplicate]'))
    killed = start(path)
    while not (folder / "run" / "pending").exists():
        assert killed.poll() is None
        time.sleep(0.1)
    for process in [*psutil.Process(killed.pid).children(recursive=True), psutil.Process(killed.pid)]:
        process.send_signal(signal.SIGKILL)
    killed.wait()
    assert start(path).wait() == 1, "it waits for the review"
    states = {state.name: state.state for state in WorkflowRun(path).states()}
    assert (states["report"], states["review"], states["encode"]) == ("done", "waits", "not yet")
    training = start(path, "--approve", "review")
    while not (folder / "stage1" / "log.jsonl").exists():
        assert training.poll() is None
        time.sleep(0.1)
    for process in [*psutil.Process(training.pid).children(recursive=True), psutil.Process(training.pid)]:
        process.send_signal(signal.SIGKILL)
    training.wait()
    assert start(path).wait() == 0
    assert {state.state for state in WorkflowRun(path).states()} == {"done"}
