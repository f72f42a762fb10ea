"""The run's own name for browsers, so that what waits in one of them for this run is sent to no other.

A file of its own, made once: pages of runs that are older than it need no commit, and no writer's lock, to have one.
"""

import secrets

from pipeline.store.files import Files
from schemas.errors import UserError

FILE = "review.id"


def run_id(files: Files) -> str:
    """32 hexadecimal digits: the same in every server, and for ever. Raises UserError where nothing can be written."""
    try:
        if not files.exists(FILE):
            files.create(FILE, secrets.token_hex(16).encode())
    except PermissionError as error:
        raise UserError(f"{files.root} cannot be written to, and that is where a review keeps its verdicts") from error
    return files.read(FILE).decode()
