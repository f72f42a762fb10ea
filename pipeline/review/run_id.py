"""The run's own name for browsers, so that what waits in one of them for this run is sent to no other.

A file of its own, made once: pages of runs that are older than it need no commit, and no writer's lock, to have one.
"""

import secrets

from pipeline.store.files import Files

FILE = "review.id"


def run_id(files: Files) -> str:
    """32 hexadecimal digits: the same in every server, and for ever."""
    if not files.exists(FILE):
        files.create(FILE, secrets.token_hex(16).encode())
    return files.read(FILE).decode()
