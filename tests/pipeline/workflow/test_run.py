"""A workflow does what is missing and nothing else, through kills, gates and changes before it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.workflow import run as module
from pipeline.workflow.config import read_workflow
from pipeline.workflow.run import WorkflowRun
from schemas.command_line import run as command
from schemas.errors import UserError, WorkFailed

# Stands in for `humo`: copy IN OUT (and a line into the log), slow (waits for a file), resumed, failing.
STANDIN = """
import sys, time
from pathlib import Path
name, *given = sys.argv[1:]
with open("log", "a") as log:
    log.write(" ".join(sys.argv[1:]) + "\\n")
if name == "copy":
    Path(given[1]).parent.mkdir(parents=True, exist_ok=True)
    Path(given[1]).write_text("made of " + Path(given[0]).read_text())
if name == "slow":
    Path(given[1]).with_suffix(".begun").touch()
    while not Path("go").exists():
        time.sleep(0.02)
    Path(given[1]).write_text("made of " + Path(given[0]).read_text())
if name == "fail":
    Path("left").touch()
    sys.exit(int(given[0]))
"""

CHAIN: list[dict[str, Any]] = [
    {"name": "curate", "humo": ["copy", "footage/a", "run/shards"], "takes": ["footage"], "makes": ["run/shards"]},
    {"name": "review", "gate": "Look at it."},
    {"name": "train", "humo": ["copy", "run/shards", "model/weights"], "makes": ["model"]},
    {"name": "evaluate", "humo": ["copy", "model/weights", "scores"], "makes": ["scores"]},
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workflow file, footage, and a stand-in for the commands."""
    (tmp_path / "standin.py").write_text(STANDIN)
    (tmp_path / "footage").mkdir()
    (tmp_path / "footage" / "a").write_text("film")
    monkeypatch.setattr(module, "COMMAND", (sys.executable, str(tmp_path / "standin.py")))
    return tmp_path


def write(folder: Path, steps: list[dict[str, Any]]) -> Path:
    path = folder / "workflow.yaml"
    path.write_text(yaml.safe_dump({"steps": steps}))
    return path


def go(path: Path, approve: str | None = None) -> str:
    """How the run ended."""
    going = WorkflowRun(path)
    try:
        if approve:
            going.approve(approve)
        going.run(lambda _line: None)
    except WorkFailed as error:
        return str(error)
    return "done"


def log(folder: Path) -> list[str]:
    """Commands since the last look."""
    path = folder / "log"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return [line.split()[-1] for line in lines]


def states(path: Path) -> dict[str, str]:
    return {state.name: state.state for state in WorkflowRun(path).states()}


def test_steps_are_done_once_and_a_gate_waits_for_what_it_was_given(folder: Path) -> None:
    path = write(folder, CHAIN)
    assert states(path) == {"curate": "to do", "review": "not yet", "train": "not yet", "evaluate": "not yet"}
    with pytest.raises(UserError, match="does not wait for approval yet"):
        WorkflowRun(path).approve("review")
    ended = go(path)
    assert ended.startswith("review waits (not approved yet): Look at it.")
    assert f"humo run {path} --approve review" in ended
    assert log(folder) == ["run/shards"]
    assert go(path) == ended
    assert log(folder) == []
    assert go(path, approve="review") == "done"
    assert log(folder) == ["model/weights", "scores"]
    assert (folder / "scores").read_text() == "made of made of made of film"
    assert go(path) == "done"
    assert log(folder) == []
    assert set(states(path).values()) == {"done"}
    # New footage: new shards, and they are asked about again.
    (folder / "footage" / "a").write_text("another film")
    assert go(path).startswith("review waits (its command, its inputs or a step before changed)")
    assert log(folder) == ["run/shards"]
    assert go(path, approve="review") == "done"
    assert log(folder) == ["model/weights", "scores"]


def test_what_is_made_again_and_comes_out_the_same_changes_nothing_after_it(folder: Path) -> None:
    path = write(folder, [CHAIN[0], *CHAIN[2:]])
    assert go(path) == "done"
    log(folder)
    (folder / "footage" / "b").write_text("not looked at")
    assert go(path) == "done"
    assert log(folder) == ["run/shards"]
    # An output that was lost or changed is made again.
    (folder / "model" / "weights").write_text("overwritten")
    assert go(path) == "done"
    assert log(folder) == ["model/weights"]
    (folder / "scores").unlink()
    assert states(path)["evaluate"] == "to do"
    assert go(path) == "done"
    assert log(folder) == ["scores"]
    # Another command is another step.
    changed = [CHAIN[0], {**CHAIN[2], "humo": ["copy", "footage/a", "model/weights"]}, CHAIN[3]]
    assert go(write(folder, changed)) == "done"
    assert log(folder) == ["model/weights", "scores"]


def test_what_was_made_of_something_else_is_moved_aside_before_a_step_is_done_again(folder: Path) -> None:
    """As training needs it: told to go on with a run on other shards, it would end at once with the old model."""
    train = {
        "name": "train", "humo": ["copy", "run/shards", "model/weights"], "makes": ["model/weights"],
        "takes": ["train.yaml"], "afresh": ["model"],
        "resume": {"where": "model/weights", "arguments": ["--resume"]},
    }  # fmt: skip
    (folder / "train.yaml").write_text("steps: 1")
    path = write(folder, [CHAIN[0], train])
    assert go(path) == "done"
    assert log(folder) == ["run/shards", "model/weights"]
    # The same configuration, written again, is no other one; and what was lost is made by going on.
    (folder / "train.yaml").write_text("steps: 1")
    assert go(path) == "done"
    assert log(folder) == []
    (folder / "model" / "weights").write_text("half")
    assert go(path) == "done"
    assert log(folder) == ["--resume"]
    (folder / "footage" / "a").write_text("another film")
    assert go(path) == "done"
    assert log(folder) == ["run/shards", "model/weights"]
    assert (folder / "model.1" / "weights").read_text() == "made of made of film"
    assert (folder / "model" / "weights").read_text() == "made of made of another film"
    # Killed half-way, and changed before it goes on: what was begun is of something else, too.
    (folder / "train.yaml").write_text("steps: 2")
    failing = [CHAIN[0], {**train, "humo": ["fail", "2"]}]
    assert "ended with 2" in go(write(folder, failing))
    (folder / "model").mkdir()
    (folder / "model" / "weights").write_text("half of something else")
    log(folder)
    assert go(write(folder, [CHAIN[0], train])) == "done"
    assert log(folder) == ["model/weights"]
    assert sorted(place.name for place in folder.glob("model*")) == ["model", "model.1", "model.2", "model.3"]


def test_a_command_that_fails_ends_it_unless_only_items_failed(folder: Path) -> None:
    failing: dict[str, Any] = {"name": "a", "humo": ["fail", "1"], "makes": ["left"]}
    assert go(write(folder, [failing])).startswith("step 'a' ended with 1")
    assert go(write(folder, [{**failing, "failures": "go-on"}])) == "done"
    assert go(write(folder, [{**failing, "humo": ["fail", "2"], "failures": "go-on"}])).startswith(
        "step 'a' ended with 2"
    )
    assert go(write(folder, [{**failing, "humo": ["copy", "footage/a", "x"], "makes": ["y"]}])).startswith(
        "step 'a' ended well, but made no"
    )


def test_a_killed_workflow_goes_on_where_it_was(folder: Path) -> None:
    slow = {
        "name": "train",
        "humo": ["slow", "run/shards", "model"],
        "makes": ["model"],
        "resume": {"where": "model.begun", "arguments": ["--resume"]},
    }
    path = write(folder, [CHAIN[0], slow])
    code = f"""import sys; from pathlib import Path; from pipeline.workflow import run
run.COMMAND = (sys.executable, {str(folder / "standin.py")!r})
run.WorkflowRun(Path({str(path)!r})).run(print)"""
    driver = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (folder / "model.begun").exists() or not list(folder.rglob("running.json")):
        assert driver.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    # The step outlives it, and nobody starts it a second time beside.
    left = json.loads((folder / "workflow" / "running.json").read_text())
    with pytest.raises(UserError, match=f"still goes on, as process {left['pid']}"):
        WorkflowRun(path).run(lambda _line: None)
    os.kill(left["pid"], signal.SIGKILL)
    while Path(f"/proc/{left['pid']}").exists() and "Z" not in Path(f"/proc/{left['pid']}/stat").read_text().split()[2]:
        time.sleep(0.02)
    (folder / "go").touch()
    assert go(path) == "done"
    assert log(folder) == ["run/shards", "model", "--resume"], "what was done is kept, what was begun is resumed"
    assert (folder / "model").read_text() == "made of made of film"


@pytest.mark.parametrize(
    ("steps", "wrong"),
    [
        ([{"name": "a", "humo": ["x"]}], "needs 'makes'"),
        ([{"name": "a", "humo": ["x"], "makes": ["y"], "needs": ["b"]}], "does not come before it"),
        ([{"name": "a", "gate": "?"}, {"name": "a", "gate": "?"}], "two steps are named"),
        ([{"name": "a", "gate": "?", "humo": ["x"]}], "either 'humo' or 'gate'"),
        ([{"name": "a b", "gate": "?"}], "should match pattern"),
        ([{"name": "a", "humo": ["x"], "makes": ["y"], "afresh": ["../y"]}], "moves what lies beside the workflow"),
        ([{"name": "a", "gate": "?", "afresh": ["y"]}], "takes and makes nothing"),
        ([{"name": "a", "gate": "?", "shell": "rm"}], "unknown option"),
    ],
)
def test_a_workflow_that_cannot_be_is_refused(tmp_path: Path, steps: list[dict[str, Any]], wrong: str) -> None:
    with pytest.raises(UserError, match=wrong):
        read_workflow(write(tmp_path, steps))


def test_the_command_shows_where_it_stands(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(folder, CHAIN)
    assert command(["run", str(path), "--dry-run"]) == 0
    assert "curate: to do (not done yet)" in capsys.readouterr().out
    assert command(["run", str(path)]) == 1
    assert "review waits" in capsys.readouterr().err
    assert command(["run", str(path), "--json"]) == 0
    assert [step["state"] for step in json.loads(capsys.readouterr().out)["steps"]] == [
        "done", "waits", "not yet", "not yet"
    ]  # fmt: skip
    assert command(["run", str(path), "--approve", "train"]) == 2
    assert command(["run", str(folder / "none.yaml")]) == 2
