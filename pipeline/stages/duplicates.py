"""Duplicates: clips that are the same footage, and the best copy of each."""

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from pipeline.backends.copy_search import CopySearch
from pipeline.backends.signature import LOOKS_SIDE, MOVES_SIDE
from pipeline.decide.components import connected
from pipeline.stage import Row, SetRows
from pipeline.stages.options.duplicates import VERSION, DuplicatesConfig

BACKEND = f"looks {LOOKS_SIDE}x{LOOKS_SIDE}, moves {MOVES_SIDE}x{MOVES_SIDE}/{VERSION}"

EQUALLY_GOOD = 0.07
"""Copies within this share of the best are as good (a logo sharpens by so much); the smallest id is kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Known:
    """A clip that can be compared."""

    id: str
    worth: float
    seen: str
    run: str | None
    """The run that keeps it, where that is another one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Before:
    """What was found for an earlier state: a digest of the clip's signature, its copies, and how far these are."""

    seen: str
    copies: list[str]
    apart: list[float]


def find_duplicates(
    quality: Iterable[Row],
    config: DuplicatesConfig,
    *,
    folder: Path,
    before: Iterable[Row] = (),
    elsewhere: Iterable[Row] = (),
) -> Iterator[SetRows]:
    """A row of `duplicates` for every clip: its group, whether a better copy exists, and which.

    A group has the name of its smallest clip id; a clip without copies is a group of its own. The best copy is that of
    the most `worth` (see `worth`), and among those equally good the one with the smallest id. `distance` is that to the
    nearest copy. A clip without a signature has no group: NULL, with the cause. A copy of a clip that another run keeps
    is a duplicate of that one, and `duplicate_run` names the run.

    Args:
        quality: rows of the table with the clip's width and height, sorted by id.
        config: what counts as a copy.
        folder: an empty folder, for the signatures.
        before: id, seen, copies and apart of the rows that this function gave for an earlier state; clips in them
            that are as they were are not compared with each other again. They change how long it takes, and nothing
            else.
        elsewhere: such rows of clips that other runs keep, with the `run` of each.
    """
    search = CopySearch(folder, limit=config.distance)
    known: list[_Known] = []
    for row in chain(quality, elsewhere):
        if known and not row.get("run") and known[-1].id >= row["id"]:
            raise ValueError(f"rows of quality must be sorted by id: {row['id']} stands after {known[-1].id}")
        if row["signature"]:
            search.add(row["signature"])
            seen = hashlib.blake2b(row["signature"], digest_size=8).hexdigest()
            known.append(_Known(id=row["id"], worth=worth(row), seen=seen, run=row.get("run")))
        elif not row.get("run"):
            yield SetRows(rows=[{"id": row["id"], "error": f"no signature: quality {row['status']}"}])
    earlier = {
        row["id"]: _Before(seen=row["seen"], copies=row["copies"], apart=row["apart"]) for row in before if row["seen"]
    }
    place_of = {clip.id: place for place, clip in enumerate(known) if clip.run is None}
    old = [clip.run is None and (was := earlier.get(clip.id)) is not None and was.seen == clip.seen for clip in known]
    gone = sum(id_ not in place_of or not old[place_of[id_]] for id_ in earlier)
    edges = dict(search.copies(old, dict(_found_before(known, old, earlier, place_of)), gone=gone))
    near: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for (one, other), apart in edges.items():
        near[one].append((other, apart))
        near[other].append((one, apart))
    groups: dict[int, list[int]] = defaultdict(list)
    ends = np.array(list(edges), dtype=np.int64).reshape(-1, 2)
    for place, label in enumerate(connected(ends[:, 0], ends[:, 1], count=len(known)).tolist()):
        groups[label].append(place)
    for members in groups.values():
        own = [place for place in members if known[place].run is None]
        yield SetRows(rows=list(_rows(own, members, known, near)))
    yield SetRows(computed=old.count(False))


def worth(row: Row) -> float:
    """How much detail a clip's picture holds: its sharpness times the side of a square of as many pixels.

    Shrinking sharpens and enlarging blurs, so that sharpness alone would take the smaller of two copies.
    """
    return float(row["sharpness"] or 0.0) * math.sqrt(float(row["width"] or 0) * float(row["height"] or 0))


def _rows(
    own: list[int], members: list[int], known: list[_Known], near: dict[int, list[tuple[int, float]]]
) -> Iterator[Row]:
    kept_elsewhere = sorted((known[place].run or "", known[place].id) for place in members if known[place].run)
    run, best = kept_elsewhere[0] if kept_elsewhere else (None, _best([known[place] for place in own]))
    for place in own:
        copies = sorted((known[other].id, apart) for other, apart in near[place] if known[other].run is None)
        is_duplicate = run is not None or known[place].id != best
        yield {
            "id": known[place].id,
            "group": known[own[0]].id,
            "is_duplicate": is_duplicate,
            "duplicate_of": best if is_duplicate else None,
            "duplicate_run": run,
            "worth": known[place].worth,
            "distance": min((apart for _, apart in near[place]), default=None),
            "copies": [copy for copy, _ in copies],
            "apart": [apart for _, apart in copies],
            "seen": known[place].seen,
        }


def _best(clips: list[_Known]) -> str:
    """The id of the best of these, which are sorted by id; none where all of a group are elsewhere."""
    enough = (1 - EQUALLY_GOOD) * max((clip.worth for clip in clips), default=0.0)
    return next((clip.id for clip in clips if clip.worth >= enough), "")


def _found_before(
    known: list[_Known], old: list[bool], earlier: dict[str, _Before], place_of: dict[str, int]
) -> Iterator[tuple[tuple[int, int], float]]:
    for place, clip in enumerate(known):
        if old[place]:
            was = earlier[clip.id]
            for copy, apart in zip(was.copies, was.apart, strict=True):
                if copy in place_of and old[place_of[copy]]:
                    yield (min(place, place_of[copy]), max(place, place_of[copy])), apart
