"""Rows as they are committed: what was measured, or why it was not."""

import math
from collections import defaultdict
from typing import Any, TypedDict

import pyarrow as pa

from pipeline.stage import Inapplicable, Row, Unmeasurable
from schemas.tables import UNHASHED_COLUMNS, Status


class About(TypedDict):
    """What the rows of a part say of how they came about. `seconds`: of the processor."""

    backend: str
    fingerprint: str
    seconds: float


class Quarantined(Unmeasurable):
    """Set aside without another attempt: `deaths` workers died at it."""

    def __init__(self, reason: str, *, deaths: int) -> None:
        super().__init__(reason)
        self.deaths = deaths


def completed(row: Row, *, backend: str, fingerprint: str, seconds: float, attempt: int = 1) -> Row:
    """A measured row. NaN and infinity become NULL: a rule must never compare with them.

    `attempt`: 1 and the workers that died at the item, and the times that its failure was asked for again.
    """
    values = {name: _finite(value) for name, value in row.items()}
    return {
        "status": "ok",
        **values,
        "backend": backend,
        "fingerprint": fingerprint,
        "seconds": seconds,
        "attempt": attempt,
    }


def unmeasured(id_: str, error: Exception, *, backend: str, fingerprint: str, seconds: float, attempt: int = 1) -> Row:
    """The row of an item that could not be measured, with the reason. `attempt`: as in `completed`, but for one that
    was set aside unseen the last attempt was that at which its last worker died."""
    status: Status = "inapplicable" if isinstance(error, Inapplicable) else "failed"
    if isinstance(error, Quarantined):
        attempt += error.deaths - 1
    return {
        "id": id_,
        "status": status,
        "error": reason(error),
        "backend": backend,
        "fingerprint": fingerprint,
        "seconds": seconds,
        "attempt": attempt,
    }


def differing(one: pa.Table, other: pa.Table) -> set[str]:
    """The clips of which two parts of a table do not say the same, but for what stands outside hashes."""
    sides: list[dict[str, list[Row]]] = []
    for part in (one, other):
        by_clip: dict[str, list[Row]] = defaultdict(list)
        for row in part.drop_columns(list(UNHASHED_COLUMNS)).to_pylist():
            by_clip[row.get("clip_id") or row["id"]].append(row)
        sides.append(by_clip)
    here, there = sides
    return {clip for clip in here.keys() | there.keys() if here.get(clip) != there.get(clip)}


def reason(error: Exception) -> str:
    """An error as a row records it: its class, unless the stage gave the reason itself, and its message."""
    if isinstance(error, Unmeasurable | Inapplicable):
        return str(error)
    return f"{type(error).__name__}: {error}"


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return _finite(value.item())
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
