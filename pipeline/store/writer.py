"""One writer at a time."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.store.claims import claimed
from pipeline.store.files import Files
from schemas.errors import UserError


@contextmanager
def writing(files: Files) -> Iterator[None]:
    """Hold the run for writing. Raises UserError where another process does.

    On a local disk this is a lock that the system releases when the process dies. Elsewhere it is a claim that shows
    signs of life; one without them is taken for dead after a while. Whatever happens to either, two writers meet at the
    commit, and the second is refused there.
    """
    path = files.local_path("writer.lock")
    if path is None:
        with claimed(files):
            yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"another command is writing to {files.root}; wait for it to end") from error
        yield
