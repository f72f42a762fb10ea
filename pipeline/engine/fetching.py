"""Where files lie that are on their way into the run: on the run's own disk, else on this machine's."""

import shutil
from pathlib import Path

from pipeline.store.files import Files
from pipeline.store.scratch import folder_for, own

FOLDER = "fetching"


def fetching_folder(files: Files) -> Path:
    """The same folder every time, so that a killed crawl goes on with what had arrived."""
    path = files.local_path(FOLDER)
    if path is not None:
        path.mkdir(parents=True, exist_ok=True)
        return path
    return own(folder_for(files.root, FOLDER))


def sweep_fetching(files: Files) -> None:
    """Remove what had arrived. Only while no other command writes to the run."""
    files.sweep(FOLDER)
    if files.local_path("") is None and folder_for(files.root, FOLDER).is_dir():
        shutil.rmtree(fetching_folder(files))
