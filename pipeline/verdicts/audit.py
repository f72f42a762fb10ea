"""Random audits: how many clips to look at, which, and what the answers say about all of them."""

import json
import math
from dataclasses import dataclass
from typing import Any

from pipeline.store.relations import Relations
from pipeline.verdicts.standing import LAST_WORDS

SPREAD = 1.959964
"""Standard deviations of a normal distribution that hold 95 % of it."""

POPULATIONS = {
    "sync": "outcome = 'keep' AND tier = 'sync'",
    "subject": "outcome = 'keep' AND tier = 'subject'",
    "kept": "outcome = 'keep'",
    "rejected": "outcome = 'reject'",
    "unknown": "outcome = 'unknown'",
}
"""What may be audited, as conditions on decisions."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What an audit says so far: of `judged` clips `good` ones were called good. The interval holds in 95 of 100.

    In an audit of rejected clips a good one is one that was rejected wrongly.
    """

    size: int
    judged: int
    good: int
    share: float | None
    low: float | None
    high: float | None

    @property
    def words(self) -> str:
        """As a line says it."""
        if self.share is None or self.low is None or self.high is None:
            return "nothing judged yet"
        # One number would not do: near 0 and 1 the interval is longer on one side.
        return f"{self.share:.1%} ({self.low:.1%} to {self.high:.1%})"


def sample_size(*, half_width: float, expected: float, population: int) -> int:
    """Clips to judge so that the estimate is precise to +- `half_width` (0 to 1), in 95 of 100 audits.

    Cochran's formula with the correction for a finite population. `expected`: the share that is likely good.
    """
    wanted = SPREAD**2 * expected * (1 - expected) / half_width**2
    corrected = wanted / (1 + (wanted - 1) / population) if population else 0.0
    return min(population, max(1, -int(-corrected // 1))) if population else 0


def estimate(*, size: int, judged: int, good: int, population: int) -> Estimate:
    """Share of good clips with Wilson's interval, which is right for few clips and for shares near 0 and 1 too.

    Corrected for a finite population as `sample_size` is: the variance of a share falls by (N - n) / (N - 1), as if so
    many more clips had been judged. Who judged them all knows the share.
    """
    if not judged:
        return Estimate(size=size, judged=0, good=0, share=None, low=None, high=None)
    share = good / judged
    low = high = share
    if judged < population:
        clips = judged * (population - 1) / (population - judged)
        squared = SPREAD**2 / clips
        middle = (share + squared / 2) / (1 + squared)
        half = math.sqrt(squared * share * (1 - share) + squared**2 / 4) / (1 + squared)
        # Rounding must not leave 0 or 1 behind.
        low, high = max(0.0, middle - half), min(1.0, middle + half)
    return Estimate(size=size, judged=judged, good=good, share=share, low=low, high=high)


def count_of(relations: Relations, population: str) -> int:
    """Clips of a population."""
    query = f"SELECT count(*) FROM decisions WHERE {POPULATIONS[population]}"
    return int(relations.connection.execute(query).fetchall()[0][0])


def draw(relations: Relations, population: str, *, size: int, seed: str) -> list[str]:
    """Clips drawn at random without replacement, in random order; the same for the same seed and decisions."""
    query = f"SELECT id FROM decisions WHERE {POPULATIONS[population]} ORDER BY md5(? || id), id LIMIT {int(size)}"
    return [id_ for (id_,) in relations.connection.execute(query, [seed]).fetchall()]


def result(relations: Relations, audit: dict[str, Any]) -> Estimate:
    """Of an audit, a row of `verdicts`. A clip is good where somebody accepts it and nobody says anything else."""
    details = json.loads(audit["details"])
    clips = details["clips"]
    judged, good = relations.connection.execute(
        f"""SELECT count(*), count(*) FILTER (fine) FROM (
                SELECT clip_id, bool_and(kind = 'accept') AS fine FROM ({LAST_WORDS})
                WHERE clip_id IN (SELECT unnest(?)) GROUP BY clip_id)""",
        [clips],
    ).fetchall()[0]
    return estimate(size=len(clips), judged=judged, good=good, population=details["of"])
