"""Units of work: what travels between passes. Small rows only; frames and sound stay in files."""

from dataclasses import asdict, dataclass, field
from typing import Any

CLIPS_PER_UNIT = 32
"""Clips of one source that are measured and written together. A kill costs at most so many."""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A run of clips of one source: the `CLIPS_PER_UNIT` from the `start`-th on, in time order; unit `number` `of` all.

    A source that gives no clips (`clips` 0) travels as one empty unit, so that what was found out about it is
    committed too.
    """

    source_id: str
    terms: str
    """What the rows are computed with: `pipeline.engine.plan.Terms` as JSON."""
    start: int
    clips: int
    number: int
    of: int
    work: dict[str, float] = field(default_factory=dict)
    error: str | None = None
    """Why the source gives nothing, where it failed as a whole."""

    def to_dict(self) -> dict[str, Any]:
        """As it travels."""
        return asdict(self)


def unit_starts(clips: int) -> list[int]:
    """Where the units of a source with so many clips begin; one empty unit where it has none."""
    return list(range(0, clips, CLIPS_PER_UNIT)) or [0]
