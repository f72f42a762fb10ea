"""Which candidates become references, within the bounds in force."""

from collections import defaultdict
from collections.abc import Iterable

import pyarrow as pa

from pipeline.decide.config import ReferenceBounds
from pipeline.stage import Row


def choose_references(
    candidates: pa.Table, clips: Iterable[str], speakers: dict[str, int], bounds: ReferenceBounds, descriptor: str
) -> list[Row]:
    """A row for every clip: how many references it has, and which candidates they are, best first.

    `speakers`: clip id -> the track that speaks. A clip's references come from all its tracks in turn, the best of
    each first, so that with several people none is forgotten; the speaker's are also given on their own.
    """
    lower, upper = bounds.similarity(descriptor)
    within: dict[str, list[Row]] = defaultdict(list)
    for row in candidates.to_pylist():
        if row["status"] == "ok" and lower <= row["similarity"] <= upper and row["size"] >= bounds.size:
            within[row["clip_id"]].append(row)
    return [_choice(clip, within.get(clip, []), speakers.get(clip), bounds) for clip in sorted(clips)]


def _score(row: Row) -> float:
    """Identity times difference: the same person, looking as unlike as the bounds allow."""
    differs = row["differs"] or {}
    parts = [min((differs.get("pose_deg") or 0.0) / 45.0, 1.0), differs.get("light") or 0.0, differs.get("look") or 0.0]
    return float(row["similarity"] * (1.0 + sum(parts) / len(parts)))


def _choice(clip: str, rows: list[Row], speaker: int | None, bounds: ReferenceBounds) -> Row:
    by_track: dict[int, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: (-_score(row), row["id"])):
        by_track[row["track"]].append(row)
    turns = max((len(found) for found in by_track.values()), default=0)
    in_turn = [found[turn] for turn in range(turns) for _, found in sorted(by_track.items()) if turn < len(found)]
    own = by_track.get(speaker, []) if speaker is not None else []
    return {
        "id": clip,
        "count": len(rows),
        "speaker_count": len(own) if speaker is not None else None,
        "best_similarity": max((row["similarity"] for row in rows), default=None),
        "chosen": [row["id"] for row in in_turn[: bounds.limit]],
        "speaker_chosen": [row["id"] for row in own[: bounds.limit]],
    }
