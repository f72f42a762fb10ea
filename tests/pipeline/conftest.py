"""The demo film, rendered and curated once for all tests that look at a real run."""

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from pipeline.demo.film import render_film
from pipeline.demo.line import DEMO_CONFIG
from schemas.command_line import COMMAND


@dataclass(frozen=True, kw_only=True)
class Ran:
    """A command's exit code and what it printed."""

    code: int
    text: str


def humo(*arguments: str | Path) -> Ran:
    """Run the command in a process of its own, as a user does."""
    line = [*COMMAND, *map(str, arguments)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=1800, check=False)
    return Ran(code=done.returncode, text=done.stdout + done.stderr)


def once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that the first process of the tests to ask for it makes, for all of them."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with FileLock(f"{folder}.lock"):
        if not Path(f"{folder}.made").exists():
            make(folder)
            Path(f"{folder}.made").touch()
    return folder


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the demo film and its truth table."""
    return once(tmp_path_factory, "film", render_film)


@pytest.fixture(scope="session")
def film_run(film: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The film curated by two workers. Only for reading: others read it at the same time."""

    def curate(run: Path) -> None:
        done = humo("curate", film, "--out", run, "--config", DEMO_CONFIG)
        assert done.code == 0, done.text

    return once(tmp_path_factory, "film_run", curate)
