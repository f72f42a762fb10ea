"""How sure a number is: bootstrap intervals, paired differences, and votes.

Intervals are 95 % percentile bootstraps over cases. A difference counts as shown where a sign-flip test of the paired
differences, corrected for the number of comparisons made (Holm 1979, "A simple sequentially rejective multiple test
procedure"), stays below 5 %. The bootstrap alone is too sure of itself with few cases; the test is not: with five cases
it can show nothing, whatever they say. Cases of one person are not independent: the intervals are of these cases' kind.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from training.swap_test import bootstrap_interval

RESAMPLES = 10_000
EXACT = 14
"""Up to so many pairs every pattern of signs is tried."""
FLIPS = 20_000
"""Patterns of signs drawn for more."""
LEVEL = 0.05


@dataclass(frozen=True)
class Mean:
    """A mean over cases."""

    count: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """Of paired cases: the other's value minus the baseline's."""

    pairs: int
    mean: float
    low: float
    high: float
    p_value: float
    """Of the sign-flip test, not corrected."""


def mean_of(values: Sequence[float]) -> Mean | None:
    """Mean with its interval; None without values."""
    if not values:
        return None
    array = np.asarray(values, np.float64)
    low, high = bootstrap_interval(array, resamples=RESAMPLES, seed=0)
    return Mean(len(array), float(array.mean()), low, high)


def difference_of(baseline: Sequence[float], other: Sequence[float]) -> Difference | None:
    """Of values in the same order of cases; None without pairs."""
    if not baseline:
        return None
    apart = np.asarray(other, np.float64) - np.asarray(baseline, np.float64)
    low, high = bootstrap_interval(apart, resamples=RESAMPLES, seed=0)
    return Difference(len(apart), float(apart.mean()), low, high, sign_flip_p(apart))


def sign_flip_p(differences: NDArray[np.float64]) -> float:
    """Two-sided p-value: how often the mean is as far from 0 when every difference may have either sign."""
    count = len(differences)
    if count <= EXACT:
        patterns = np.arange(2**count)[:, None] >> np.arange(count) & 1
        reached, tried = 0, len(patterns)
    else:
        patterns = np.random.default_rng(0).integers(0, 2, (FLIPS, count))
        # The data's own pattern is one of those that could be.
        reached, tried = 1, FLIPS + 1
    means = np.abs((1 - 2 * patterns) @ differences) / count
    seen = abs(differences.mean())
    return float((reached + (means >= seen * (1 - 1e-9)).sum()) / tried)


def holm(p_values: Sequence[float]) -> list[float]:
    """Corrected for as many tests as there are, in the order given."""
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        corrected[index] = highest
    return corrected


def share_interval(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927)."""
    if trials == 0:
        return 0.0, 1.0
    z = float(norm.ppf(0.975))
    share = successes / trials
    middle = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * float(np.sqrt(share * (1 - share) / trials + z * z / (4 * trials**2)))
    return max(0.0, middle - half), min(1.0, middle + half)
