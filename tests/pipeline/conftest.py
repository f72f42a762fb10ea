"""The demo film, rendered and curated once for all tests that look at a real run."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.demo.film import render_film
from pipeline.demo.line import DEMO_CONFIG


@dataclass(frozen=True, kw_only=True)
class Ran:
    """A command's exit code and what it printed."""

    code: int
    text: str


def humo(*arguments: str | Path) -> Ran:
    """Run the command in a process of its own, as a user does."""
    line = [sys.executable, "-c", "from schemas.command_line import main; main()", *map(str, arguments)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=1800, check=False)
    return Ran(code=done.returncode, text=done.stdout + done.stderr)


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the demo film and its truth table."""
    folder = tmp_path_factory.mktemp("film")
    render_film(folder)
    return folder


@pytest.fixture(scope="session")
def film_run(film: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The film curated by two workers."""
    run = tmp_path_factory.mktemp("film_run") / "run"
    done = humo("curate", film, "--out", run, "--config", DEMO_CONFIG)
    assert done.code == 0, done.text
    return run
