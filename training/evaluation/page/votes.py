"""Blind votes: which pairs are shown, in which order and on which side, and what came of them."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from schemas.errors import UserError
from training.evaluation.statistics import share_interval

PAIRS_FILE = "pairs.json"
"""Who is on which side; never served."""
VOTES_FILE = "votes.jsonl"

Choice = Literal["left", "right", "tie"]


class Vote(BaseModel):
    """What a voter said of a pair."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    pair: str
    choice: Choice
    voter: str
    """Drawn by the browser; tells two sittings apart and nothing else."""


@dataclass(frozen=True)
class Pair:
    """Two videos of one case."""

    id: str
    case: str
    left: str
    """The evaluation's name."""
    right: str


@dataclass(frozen=True)
class Tally:
    """Votes between two evaluations. The last vote of a voter on a pair counts."""

    first: str
    second: str
    for_first: int
    for_second: int
    ties: int

    @property
    def interval(self) -> tuple[float, float]:
        """Of the share that prefers the second, among those who prefer one (Wilson, 95 %)."""
        return share_interval(self.for_second, self.for_first + self.for_second)

    def words(self) -> str:
        """In a line."""
        decided = self.for_first + self.for_second
        if not decided:
            return f"{self.second} or {self.first}: no vote for either, {self.ties} ties"
        low, high = self.interval
        sure = "" if low <= 0.5 <= high else f": {self.second if low > 0.5 else self.first} is preferred"
        return (
            f"{self.second} over {self.first}: {self.for_second} of {decided} "
            f"({self.for_second / decided:.0%} [{low:.0%}, {high:.0%}]), {self.ties} ties{sure}"
        )


def make_pairs(names: Sequence[str], cases: Sequence[str], *, seed: str) -> list[Pair]:
    """Every two evaluations on every case, in an order and on sides that nobody can guess from the names."""
    pairs = []
    for case in cases:
        for first, second in combinations(names, 2):
            digest = hashlib.sha256(json.dumps([seed, case, first, second]).encode()).hexdigest()
            left, right = (first, second) if int(digest[-1], 16) % 2 else (second, first)
            pairs.append(Pair(digest[:16], case, left, right))
    return sorted(pairs, key=lambda pair: pair.id)


def read_pairs(page: Path) -> tuple[list[str], list[Pair]]:
    """The evaluations' names, and the pairs. Raises UserError for a folder that is no page."""
    file = page / PAIRS_FILE
    if not file.is_file():
        raise UserError(f"{page} is no page to vote on: make one with `humo compare EVAL EVAL --out {page}`")
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content["names"], [Pair(**pair) for pair in content["pairs"]]


def save_vote(page: Path, content: bytes, known: frozenset[str]) -> Vote:
    """Add a vote to the file, on the disk when this returns. Raises ValueError for anything that is no vote."""
    try:
        vote = Vote.model_validate_json(content)
    except ValidationError as error:
        raise ValueError(f"no vote: {error.errors()[0]['msg']}") from error
    if vote.pair not in known or not 1 <= len(vote.voter) <= 64:
        raise ValueError("no vote on a pair of this page")
    with (page / VOTES_FILE).open("a", encoding="utf-8") as file:
        file.write(vote.model_dump_json() + "\n")
        file.flush()
        os.fsync(file.fileno())
    return vote


def read_votes(page: Path) -> dict[tuple[str, str], Choice]:
    """By voter and pair. A last line that was cut off is left out."""
    file = page / VOTES_FILE
    votes: dict[tuple[str, str], Choice] = {}
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        try:
            vote = Vote.model_validate_json(line)
        except ValidationError:
            continue
        votes[vote.voter, vote.pair] = vote.choice
    return votes


def count_votes(page: Path) -> list[Tally]:
    """Between every two evaluations."""
    names, pairs = read_pairs(page)
    votes = read_votes(page)
    tallies = []
    for first, second in combinations(names, 2):
        counts = {first: 0, second: 0, "": 0}
        for pair in pairs:
            if {pair.left, pair.right} != {first, second}:
                continue
            side = {"left": pair.left, "right": pair.right, "tie": ""}
            for (_, voted), choice in votes.items():
                if voted == pair.id:
                    counts[side[choice]] += 1
        tallies.append(Tally(first, second, counts[first], counts[second], counts[""]))
    return tallies
