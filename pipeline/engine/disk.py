"""The run's disk: its room is foreseen before a run, and where it runs out or fails, that is no item's fault."""

import errno
import shutil

from pipeline.store.files import Files
from pipeline.store.outage import NO_ROOM, StorageFailed
from schemas.errors import UserError

GIGABYTE = 10**9


class DiskFull(Exception):
    """There is no room left where the run, or its temporary files, are written."""


def refuse_storage(error: Exception) -> None:
    """Raises DiskFull or StorageFailed where that is what an error means: no item is to blame for it."""
    if isinstance(error, StorageFailed):
        raise error
    if getattr(error, "errno", None) in NO_ROOM:
        raise DiskFull(f"[Errno {errno.ENOSPC}] {error}") from error


def check_room(files: Files, footage_bytes: int, *, share: float) -> None:
    """Raises UserError where the run's disk has less room than so large a share of the footage needs.

    A run elsewhere has no disk to look at.
    """
    path = files.local_path("")
    needed = share * footage_bytes
    if path is None or not needed:
        return
    free = shutil.disk_usage(path).free
    if free < needed:
        raise UserError(
            f"{files.root} has {free / GIGABYTE:.1f} GB left, where {footage_bytes / GIGABYTE:.1f} GB of footage may "
            f"need {needed / GIGABYTE:.1f} GB: make room, or give a smaller engine.disk_share"
        )
