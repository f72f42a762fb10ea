"""Room on the run's disk: foreseen before a run, and no item's fault where it runs out."""

import errno
import shutil

from pipeline.store.files import Files
from schemas.errors import UserError

GIGABYTE = 10**9


class DiskFull(Exception):
    """There is no room left where the run, or its temporary files, are written."""


def refuse_full(error: Exception) -> None:
    """Raises DiskFull where that is what an error means: it must not be recorded as an item's failure."""
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
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
