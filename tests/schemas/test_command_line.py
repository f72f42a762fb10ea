"""Exit codes: 2 with one line for wrong use, 1 for work that failed in part, a traceback for a bug."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from schemas.command_line import run


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["curate", "--nonsense"],
        ["status", "no/such/run"],
        ["verify", "no/such/run"],
        ["curate", "no/such/file.mp4", "--out", "no/such/run", "--set", "clips.frame=1"],
        ["curate", "--profile", "gpu", "--out", "no/such/run"],
    ],
)
def test_wrong_use_is_one_line_and_exit_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("humo: ")
    assert "\n" not in error


def test_a_place_that_cannot_be_used_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("nothing")
    for arguments in (
        ["status", str(file)],
        ["curate", str(file), "--out", str(file)],
        ["curate", str(file), "--out", str(file / "run")],
        ["estimate", "--config", str(tmp_path), "--model", "mini", "--processes", "1"],
    ):
        assert run(arguments) == 2, arguments
        error = capsys.readouterr().err.strip()
        assert error.startswith("humo: ")
        assert str(tmp_path) in error
        assert "\n" not in error


def test_light_commands_do_not_wait_for_torch_or_ray() -> None:
    code = "import sys; from schemas.command_line import build; build(); print({'torch', 'ray'} & sys.modules.keys())"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"humo {version('humo')}\n"
