"""How far reviewers agree, on the clips that both of them accepted or rejected."""

from dataclasses import dataclass

from pipeline.store.relations import Relations
from pipeline.verdicts.standing import LAST_WORDS


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Of two reviewers: clips that both judged, how many alike, and Cohen's kappa: 1 always, 0 as by chance.

    `kappa` is None where both gave one and the same answer to everything, which tells nothing about chance.
    """

    one: str
    other: str
    clips: int
    alike: int
    kappa: float | None


def agreements(relations: Relations) -> list[Agreement]:
    """Every pair with clips in common, those with most first."""
    rows = relations.connection.execute(
        f"""WITH said AS (SELECT clip_id, reviewer, kind = 'accept' AS good FROM ({LAST_WORDS}) WHERE facet = 'outcome')
            SELECT one.reviewer, other.reviewer, count(*), count(*) FILTER (one.good = other.good),
                   count(*) FILTER (one.good), count(*) FILTER (other.good)
            FROM said AS one JOIN said AS other USING (clip_id) WHERE one.reviewer < other.reviewer
            GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2"""
    ).fetchall()
    return [
        Agreement(one=one, other=other, clips=clips, alike=alike, kappa=kappa(clips, alike, first, second))
        for one, other, clips, alike, first, second in rows
    ]


def kappa(clips: int, alike: int, first: int, second: int) -> float | None:
    """Cohen's kappa of two reviewers. `first`, `second`: how many clips each accepted."""
    by_chance = (first * second + (clips - first) * (clips - second)) / clips**2
    return None if by_chance == 1 else (alike / clips - by_chance) / (1 - by_chance)
