import subprocess
import sys
from pathlib import Path

import pytest

from schemas.command_line import run
from tests.training.conftest import SMALL
from tests.training.sample_shards import Sample, write_shards

SETTINGS = [part for setting in SMALL for part in ("--set", setting)]


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(["train", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("humo: ")
    assert captured.err.count("\n") == 1
    return captured.err


def test_wrong_use_is_one_line_and_exit_code_2(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    given = ["--config", "mini", "--out", out]
    assert "no manifest at" in complaint(capsys, *given, "--data", str(tmp_path / "absent"))
    wrong = complaint(capsys, *given, "--data", str(shards), "--set", "data.sise=1")
    assert "unknown option 'data.sise'" in wrong
    only_val = write_shards(tmp_path / "val", [Sample(key="k", split="val")])
    assert "no samples in its training split" in complaint(capsys, *given, *SETTINGS, "--data", str(only_val))
    assert "nothing to resume" in complaint(capsys, *given, *SETTINGS, "--data", str(shards), "--resume")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "something").touch()
    assert "give --resume" in complaint(capsys, *given, *SETTINGS, "--data", str(shards))
    assert "--out" in complaint(capsys, "--config", "mini", "--data", str(shards))


def test_announcing_the_command_imports_nothing_heavy() -> None:
    program = "import sys, training.commands; sys.exit(bool({'torch', 'numpy', 'av', 'pyarrow'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_run_tells_where_the_model_lies_and_what_it_learned(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = [part for name in ("start", "subject", "sync") for part in ("--set", f"stages.{name}.steps=1")]
    out = tmp_path / "out"
    assert run(["train", "--config", "mini", "--data", str(shards), "--out", str(out), *SETTINGS, *short]) == 0
    told = capsys.readouterr().out.splitlines()
    assert str(out / "model") in told[0]
    assert told[1].startswith("swapped audio: ")
    assert told[2].startswith("swapped reference: ")


def test_damage_ends_in_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = [Sample(key=f"k{n}") for n in range(4)]
    samples.append(Sample(key="bad", edit=lambda files: {**files, "ref0.png": b""}))
    manifest = write_shards(tmp_path / "data", samples)
    arguments = ["--config", "mini", "--data", str(manifest), "--out", str(tmp_path / "out"), *SETTINGS]
    assert run(["train", *arguments, "--set", "data.hold_out=0"]) == 1
    assert "1 samples could not be used" in capsys.readouterr().err


def test_encoded_shards_train_as_well(shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    encoded = tmp_path / "encoded"
    assert run(["encode", str(shards), "--out", str(encoded), *SETTINGS]) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"{encoded / 'manifest.json'}: 13 samples encoded")
    assert run(["encode", str(encoded), "--out", str(tmp_path / "again"), *SETTINGS]) == 2
    assert "is encoded already" in capsys.readouterr().err
    short = [part for name in ("start", "subject", "sync") for part in ("--set", f"stages.{name}.steps=1")]
    arguments = ["--config", "mini", "--data", str(encoded), "--out", str(tmp_path / "out"), *SETTINGS, *short]
    assert run(["train", *arguments]) == 0
