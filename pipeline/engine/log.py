"""Structured logs: one JSON object a line, with the run, the stage and the item, on the standard error.

Ray keeps the workers' among its own logs; on Kubernetes the node's collector takes them from there.
"""

import json
import logging
import sys
from datetime import UTC, datetime

_LOGGER = logging.getLogger("humo.events")
_RUN: dict[str, str] = {}


def begin(*, run: str, session: str) -> None:
    """Write this process's events, with the run and the command that they belong to."""
    _RUN.update(run=run, session=session)
    _LOGGER.setLevel(logging.INFO)
    _LOGGER.propagate = False
    if not _LOGGER.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(message)s"))
        _LOGGER.addHandler(handler)


def event(what: str, **facts: str | int | float) -> None:
    """Something happened: `failed`, with stage, item and reason; `unit`, with its counts. Nothing before `begin`."""
    if _RUN:
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        _LOGGER.info(json.dumps({"at": at, "event": what, **_RUN, **facts}))
