"""Where files lie that are on their way into the run: on the run's own disk, else on this machine's."""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from pipeline.store.files import Files
from schemas.errors import UserError

FOLDER = "fetching"


def fetching_folder(files: Files) -> Path:
    """The same folder every time, so that a killed crawl goes on with what had arrived."""
    path = files.local_path(FOLDER)
    if path is not None:
        path.mkdir(parents=True, exist_ok=True)
        return path
    path = _elsewhere(files)
    path.mkdir(mode=0o700, exist_ok=True)
    if path.is_symlink() or path.stat().st_uid != os.getuid():
        raise UserError(f"{path} belongs to somebody else; remove it, or set TMPDIR to a folder of your own")
    return path


def sweep_fetching(files: Files) -> None:
    """Remove what had arrived. Only while no other command writes to the run."""
    files.sweep(FOLDER)
    if files.local_path("") is None and _elsewhere(files).is_dir():
        shutil.rmtree(fetching_folder(files))


def _elsewhere(files: Files) -> Path:
    digest = hashlib.sha256(files.root.encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"humo-{os.getuid()}-{FOLDER}-{digest}"
