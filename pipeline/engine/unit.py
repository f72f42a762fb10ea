"""Units of work: what travels between passes. Small rows only; frames and sound stay in files."""

from dataclasses import asdict, dataclass, field
from typing import Any

CLIPS_PER_UNIT = 32
"""Clips of one source that are measured and written together. A kill costs at most so many."""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A run of clips of one source: the `CLIPS_PER_UNIT` from the `start`-th on, in time order, of `clips_part`.

    A source that gives no clips travels as one empty unit, so that what was found out about it is committed too.
    """

    source_id: str
    parts: dict[str, list[str]]
    """Table -> parts of the source so far."""
    clips_part: str | None
    start: int
    number: int
    of: int
    retries: dict[str, int]
    """Item stage -> how often its failed rows of this source were asked for again."""
    work: dict[str, float] = field(default_factory=dict)
    error: str | None = None
    """Why the source gives nothing, where it failed as a whole."""

    def to_dict(self) -> dict[str, Any]:
        """As it travels."""
        return asdict(self)
