"""What was taken down of a source: spans of its presentation clock, in microseconds."""

from collections.abc import Iterable, Sequence

from pipeline.stage import Row

Span = Sequence[int]


def overlaps(clip: Row, removed: Iterable[Span]) -> bool:
    """Whether a clip shows any part of these spans; a new cut of the same footage may begin elsewhere."""
    return any(clip["start_us"] < end and start < clip["end_us"] for start, end in removed)
