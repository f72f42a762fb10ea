"""Claims: how one writer is told from another on object storage, which has no locks, and without a server for them.

A writer puts a file of its own into the folder and changes it again and again while it lives. Whoever comes later
watches the others' files: one that changes belongs to a writer; one that does not, for as long as several of its beats,
to a dead one. No clocks are compared. A claim counts once a listing after it shows no other living one; object stores
show every file that was there before a listing began, so of two writers that come together at least one sees the other.
"""

import json
import os
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from pipeline.store.files import Files
from schemas.errors import UserError

FOLDER = "writers"
BEAT_S = 10.0
"""Between signs of life."""
DEAD_AFTER = 4.5
"""Beats without a sign of life after which a writer is taken for dead."""
LOOK_S = 1.0
TRIES = 5
"""Two that come at the same moment withdraw, and try again after a while that differs."""

_signs: dict[str, float] = {}
"""Root of a run that this process holds -> when it last gave a sign of life, by this machine's monotonic clock."""


@contextmanager
def claimed(files: Files) -> Iterator[None]:
    """Hold the run while the block lasts. Raises UserError where another writer lives."""
    path = f"{FOLDER}/{uuid4().hex}.json"
    for _ in range(TRIES):
        dead = _without_life(files)
        began = time.monotonic()
        files.create(path, _said(0))
        others = set(_claims(files)) - {path} - dead
        if not others:
            break
        files.remove(path)
        time.sleep(random.uniform(0, LOOK_S))
    else:
        raise _refusal(files, "another command")
    _signs[files.root] = began
    for claim in dead:
        files.remove(claim)
    stop = threading.Event()
    beating = threading.Thread(target=_beat, args=(files, path, stop), daemon=True, name="claim")
    beating.start()
    try:
        yield
    finally:
        stop.set()
        beating.join()
        del _signs[files.root]
        files.remove(path)


def refuse_overdue(files: Files) -> None:
    """Raises UserError where this process holds the run and gave no sign of life for as long as the dead do.

    Others may have taken the run over by then.
    """
    last = _signs.get(files.root)
    if last is not None and time.monotonic() - last > DEAD_AFTER * BEAT_S:
        raise UserError(
            f"{files.root} could not be reached for so long that another command may have taken it over; "
            "give the same command again"
        )


def _without_life(files: Files) -> set[str]:
    """The claims of dead writers, which it takes a while to tell. Raises UserError where one shows life."""
    seen = {path: said for path in _claims(files) if (said := _read(files, path)) is not None}
    until = time.monotonic() + DEAD_AFTER * BEAT_S
    while seen and time.monotonic() < until:
        time.sleep(LOOK_S)
        for path, before in list(seen.items()):
            now = _read(files, path)
            if now is None:
                # Its writer ended.
                del seen[path]
            elif now != before:
                raise _refusal(files, str(json.loads(now).get("writer", "another command")))
    return set(seen)


def _refusal(files: Files, who: str) -> UserError:
    return UserError(f"another command is writing to {files.root} ({who}); wait for it to end")


def _claims(files: Files) -> list[str]:
    return [f"{FOLDER}/{name}" for name in files.names(FOLDER)]


def _read(files: Files, path: str) -> bytes | None:
    try:
        return files.read(path)
    except FileNotFoundError:
        return None


def _said(beat: int) -> bytes:
    writer = f"process {os.getpid()} on {socket.gethostname()}"
    return json.dumps({"writer": writer, "beat": beat}).encode()


def _beat(files: Files, path: str, stop: threading.Event) -> None:
    beat = 0
    while not stop.wait(BEAT_S):
        beat += 1
        began = time.monotonic()
        try:
            files.replace(path, _said(beat))
        except Exception:  # noqa: BLE001 (every store has errors of its own, and botocore's are not OSErrors)
            # It does not answer for a moment: the next beat tells; without any, commits are refused.
            continue
        _signs[files.root] = began
