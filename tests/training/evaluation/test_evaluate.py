"""The command: generated or existing videos, killed and taken up, broken ones as rows."""

import csv
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from humo.checkpoints import save_model_dir
from humo.mini.model import mini_model
from schemas.command_line import run
from schemas.errors import UserError
from tests.training.evaluation.conftest import moving_video
from training.evaluation.folder import read_evaluation
from training.evaluation.spread import gpus_each
from training.evaluation.summary import compare, markdown, not_measured, sentence

Videos = Callable[[str, int], Path]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "mini"
    save_model_dir(folder, mini_model(seed=3))
    return folder


def rows(folder: Path) -> dict[str, dict]:
    return {path.stem: json.loads(path.read_text()) for path in sorted((folder / "rows").iterdir())}


def generate(model: Path, cases: Path, out: Path, *more: str) -> list[str]:
    return [
        "evaluate", "--model", str(model), "--cases", str(cases), "--out", str(out), "--steps", "2", "--size", "32x32",
        *more,
    ]  # fmt: skip


KILLED = """
import os, signal, sys
from schemas.command_line import run

left = 3

def kill(event, args):
    global left
    if event == "os.rename" and os.path.basename(os.path.dirname(args[1])) == "rows":
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(kill)
sys.exit(run(sys.argv[1:]))
"""
"""Dies when the third row is written and about to get its name."""


def test_killed_in_the_middle_it_ends_with_the_same_numbers(model: Path, case_file: Path, tmp_path: Path) -> None:
    assert run(generate(model, case_file, tmp_path / "whole")) == 0
    command = [sys.executable, "-c", KILLED, *generate(model, case_file, tmp_path / "killed")]
    ended = subprocess.run(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False)
    assert ended.returncode == -signal.SIGKILL
    written = tmp_path / "killed" / "rows"
    before = {path.name: path.stat().st_mtime_ns for path in written.glob("*.json")}
    assert len(before) == 2
    # Taken up by two workers of Ray: how many there are changes no number either.
    assert run(generate(model, case_file, tmp_path / "killed", "--workers", "2")) == 0
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")
    assert (tmp_path / "killed" / "table.csv").read_text() == (tmp_path / "whole" / "table.csv").read_text()
    # What was done was not done again.
    assert {name: (written / name).stat().st_mtime_ns for name in before} == before


def test_a_broken_and_a_missing_video_are_rows_with_a_reason(
    case_file: Path, videos: Videos, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = videos("made", 1)
    whole = (folder / "b.mp4").read_bytes()
    (folder / "b.mp4").write_bytes(whole[: len(whole) // 3])
    (folder / "c.mp4").write_bytes(b"no video at all")
    (folder / "d.mp4").unlink()
    out = tmp_path / "eval"
    command = ["evaluate", "--videos", str(folder), "--cases", str(case_file), "--out", str(out)]
    assert run(command) == 1
    found = rows(out)
    assert [name for name, row in found.items() if row["status"] == "failed"] == ["b", "c", "d"]
    assert "there is no video" in found["d"]["error"]
    assert all(found[name]["error"] and not found[name]["values"] for name in "bcd")
    assert found["a"]["values"]["motion"] > 0
    assert found["a"]["values"]["clip_t"] is None
    assert "no CLIP weights are configured" in found["a"]["causes"]["clip_t"]
    assert "3 of 6 cases have no numbers" in capsys.readouterr().err
    table = {row["case"]: row for row in csv.DictReader((out / "table.csv").open())}
    assert (table["d"]["status"], table["d"]["motion"]) == ("failed", "")
    summary = {line["about"]["name"]: line for line in json.loads((out / "summary.json").read_text())["metrics"]}
    assert summary["motion"]["measured"]["count"] == 3
    assert summary["motion"]["missing"] == 3
    assert summary["clip_t"]["measured"] is None
    # A video that has come in the meantime is measured; nothing else is done again.
    moving_video(folder / "d.mp4", seed=9)
    assert run(command) == 1
    assert rows(out)["d"]["status"] == "ok"


def test_workers_that_would_wait_for_a_gpu_for_ever_are_refused() -> None:
    with pytest.raises(UserError, match="--workers 4 take a GPU each, and this machine has 1"):
        gpus_each(1, workers=4, may_grow=False)
    assert [gpus_each(there, workers=4, may_grow=grows) for there, grows in ((0, False), (4, False), (1, True))] == [
        0, 1, 1
    ]  # fmt: skip


def test_another_question_is_not_answered_in_the_same_folder(case_file: Path, videos: Videos, tmp_path: Path) -> None:
    folder, out = videos("made", 1), tmp_path / "eval"
    command = ["evaluate", "--videos", str(folder), "--cases", str(case_file), "--out", str(out)]
    assert run(command) == 0
    assert run([*command, "--seed", "5"]) == 2
    assert run(["evaluate", "--cases", str(case_file), "--out", str(out)]) == 2
    assert run([*command[:-1], str(tmp_path)]) == 2
    assert run(["evaluate", "--model", str(tmp_path), "--cases", str(case_file), "--out", str(tmp_path / "x")]) == 2


def evaluated(case_file: Path, folder: Path, out: Path) -> Path:
    assert run(["evaluate", "--videos", str(folder), "--cases", str(case_file), "--out", str(out)]) == 0
    return out


def test_two_evaluations_are_told_apart_by_what_differs(case_file: Path, videos: Videos, tmp_path: Path) -> None:
    import cv2
    import numpy as np

    from humo.video import write_video
    from tests.training.evaluation.conftest import moving_video as make

    first = videos("first", 1)
    # Twelve cases that lose a little sharpness and nothing of their motion.
    content = json.loads(case_file.read_text())
    for number, name in enumerate("ghijkl"):
        content[name] = {**content["a"], "prompt": f"another {number}"}
        make(first / f"{name}.mp4", seed=500 + number)
    case_file.write_text(json.dumps(content))
    second = tmp_path / "second"
    second.mkdir()
    for path in first.iterdir():
        from training.evaluation.clip import read_clip

        clip = read_clip(path, None)  # type: ignore[arg-type]
        blurred = np.stack([cv2.GaussianBlur(frame, (0, 0), 1.5) for frame in clip.frames_thwc])
        write_video(second / path.name, blurred, None)
    made = {
        name: read_evaluation(evaluated(case_file, folder, tmp_path / f"eval-{name}"))
        for name, folder in (("sharp", first), ("blurred", second))
    }
    table = compare(made)
    verdicts = {one.about.name: one.verdict for one in table.of("blurred")}
    assert verdicts["sharpness"] == "worse"
    assert verdicts["clip_t"] == "not measured"
    assert verdicts["motion"] in ("not shown", "less")
    assert "worse in Sharpness" in sentence(table, "blurred")
    rows = {line.split(" | ")[0].strip("| "): line for line in markdown(table).splitlines() if line.startswith("|")}
    assert rows["Sharpness"].startswith("| Sharpness | higher | ")
    # What nobody measured is named beneath the table, with the reason, and takes no row of it.
    assert "CLIP-T" not in rows
    assert any(line.startswith("CLIP-T is NULL: no CLIP weights") for line in not_measured(table))
    same = compare({"one": made["sharp"], "two": made["sharp"]})
    assert not any(one.shown for one in same.comparisons)
    assert "no difference is significant" in sentence(same, "two")


def test_what_was_asked_otherwise_does_not_compare(case_file: Path, videos: Videos, tmp_path: Path) -> None:
    one = evaluated(case_file, videos("one", 1), tmp_path / "eval-one")
    other = tmp_path / "eval-other"
    shutil.copytree(one, other)
    asked = json.loads((other / "eval.json").read_text())
    asked["metrics"][0]["backend"] = "arcface"
    (other / "eval.json").write_text(json.dumps(asked))
    with pytest.raises(UserError, match="identity by different backends"):
        compare({"one": read_evaluation(one), "other": read_evaluation(other)})
    asked["set"]["fingerprint"] = "0" * 16
    (other / "eval.json").write_text(json.dumps(asked))
    with pytest.raises(UserError, match="asked different cases"):
        compare({"one": read_evaluation(one), "other": read_evaluation(other)})
    next((other / "rows").iterdir()).unlink()
    with pytest.raises(UserError, match="lacks 1 cases"):
        read_evaluation(other)
