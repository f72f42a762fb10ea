"""What every test may use: the real footage where it is at hand, and one thread a process on a busy machine."""

import gc
import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
# Hundreds of processes are started, and each would compile the packages again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# Ray's workers are polite by default, and would wait for all other tests.
os.environ.setdefault("RAY_worker_niceness", "0")

from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("humo", deadline=None, max_examples=50)
settings.load_profile("humo")

ROOT = Path(__file__).parents[1]


def pytest_collection_finish() -> None:
    """What the modules hold, torch's above all, stays: it is not looked through with every collection of garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def footage() -> Path:
    """Real clips and stills with known answers, by HUMO_FOOTAGE or beside the checkout; skips aloud without them."""
    folder = Path(os.environ.get("HUMO_FOOTAGE", ROOT.parent / "shared" / "footage"))
    if not (folder / "index.json").is_file():
        pytest.skip(f"no footage at {folder}: set HUMO_FOOTAGE to run this test")
    return folder
