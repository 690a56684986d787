"""Comparing on a shared machine: ratios of pairs measured side by side, and how far to trust them.

Speed drifts here by more than the differences we look for: a neighbour wakes up, a clock changes. So two
arms are measured next to each other again and again, each such pair gives one ratio, drift cancels within a
pair, and the median over pairs ignores the ones that a neighbour spoilt. An arm measured against itself shows
how much of a difference is noise.

1. An interval is one of order statistics: it holds the median of *any* distribution at least as often as it says, at
   the number of values that there is (David & Nagaraja, Order Statistics, 2003, 7.1). With fewer than six values
   none can, and there is none.
2. Ratios are looked at by their logarithms, so that half and double are equally far from 1.
3. Where verdicts are drawn over many cells they are corrected for their number (Holm 1979).
4. Starts of a program differ by more than rounds of one start do; :func:`over_starts` takes one value of each.

Pure functions over arrays, without chance. ``tests/measure/test_coverage.py`` proves by simulation what is said here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy import stats


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray


__all__ = [
    "CONFIDENCE",
    "FEWEST_FOR_INTERVAL",
    "FEWEST_STARTS",
    "Estimate",
    "Verdict",
    "coefficient_of_variation",
    "median_estimate",
    "median_ratio",
    "noise_floor",
    "over_starts",
    "shift_ratio",
    "slopes",
    "starts_ratio",
    "verdict_of",
    "verdicts",
]

CONFIDENCE: Final = 0.95

FEWEST_FOR_INTERVAL: Final = 6
"""The extremes of five values hold the median in 93.8 % of cases only, those of six in 96.9 %."""

FEWEST_STARTS: Final = 3
"""Of a program, for an interval over starts: a variance of two is hardly one."""


class Verdict(StrEnum):
    """What may be said of a ratio."""

    HIGHER = "higher"
    LOWER = "lower"
    UNRESOLVED = "not resolvable"
    """This run cannot tell it from 1."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and the interval that holds the true one in at least 95 % of runs.

    Fields:
        value: the median, or as `method` says.
        low, high: ends of the interval; None with too few values.
        n: how many values it is of.
        method: ``order statistics``, ``t over starts``, ``rank sums``, or ``none`` without an interval.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    method: str

    def __str__(self) -> str:
        """``0.81 (0.79-0.83)``"""
        return (
            f"{self.value:.2f}" if self.low is None else f"{self.value:.2f} ({self.low:.2f}-{self.high:.2f})"
        )

    @property
    def half_width(self) -> float | None:
        """Half of the interval, as a share of the value; None without one."""
        if self.low is None or self.high is None or not self.value:
            return None
        return (self.high - self.low) / 2 / abs(self.value)

    def holds(self, value: float) -> bool:
        """Whether the interval holds it; without an interval nothing is excluded."""
        return self.low is None or self.high is None or self.low <= value <= self.high


def median_estimate(values: ArrayLike, *, confidence: float = CONFIDENCE) -> Estimate:
    """The median of ``values`` with the narrowest interval of order statistics that is wide enough.

    Raises:
        ValueError: no values, or one that is not finite.
    """
    sample = np.sort(_finite(values))
    count = len(sample)
    value = float(np.median(sample))
    rank = _rank(count, confidence)
    if rank is None:
        return Estimate(value, None, None, count, "none")
    return Estimate(value, float(sample[rank]), float(sample[count - 1 - rank]), count, "order statistics")


def median_ratio(numerators: ArrayLike, denominators: ArrayLike) -> Estimate:
    """The median of the pairwise ratios. Element ``i`` of both was measured side by side.

    Raises:
        ValueError: no pairs, unequal lengths, or a value that is not finite and positive.
    """
    upper, lower = _finite(numerators), _finite(denominators)
    if len(upper) != len(lower):
        raise ValueError(f"pairs: {len(upper)} numerators and {len(lower)} denominators")
    return _exponential(median_estimate(_logarithms(upper) - _logarithms(lower)))


def over_starts(values: ArrayLike) -> Estimate:
    """The mean ratio over starts of a program, one value (its median ratio) of each, and an interval of Student's t.

    It holds what varies between starts (memory layout, which core, what else ran), which no number of rounds within
    one start shows. Means and interval are of logarithms.

    Raises:
        ValueError: no values, or one that is not finite and positive.
    """
    logs = _logarithms(_finite(values))
    count, mean = len(logs), float(np.mean(logs))
    if count < FEWEST_STARTS:
        return Estimate(math.exp(mean), None, None, count, "none")
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1) * np.std(logs, ddof=1) / math.sqrt(count))
    return _exponential(Estimate(mean, mean - reach, mean + reach, count, "t over starts"))


def shift_ratio(numerators: ArrayLike, denominators: ArrayLike) -> Estimate:
    """How one run's values relate to those of another, which were not measured side by side.

    The median of all ratios of one with another (Hodges & Lehmann 1963), and the interval of ratios that a rank sum
    test does not refuse; both of logarithms.

    Raises:
        ValueError: no values, or one that is not finite and positive.
    """
    upper, lower = _logarithms(_finite(numerators)), _logarithms(_finite(denominators))
    differences = np.sort((upper[:, None] - lower[None, :]).ravel())
    fewest = min(len(upper), len(lower))
    value = float(np.median(differences))
    outside = _rank_sum_quantile(len(upper), len(lower)) if fewest >= FEWEST_FOR_INTERVAL else -1
    if outside < 0:
        return _exponential(Estimate(value, None, None, fewest, "none"))
    low, high = float(differences[outside]), float(differences[len(differences) - 1 - outside])
    return _exponential(Estimate(value, low, high, fewest, "rank sums"))


def starts_ratio(numerators: ArrayLike, denominators: ArrayLike) -> Estimate:
    """How one run's starts relate to those of another: the ratio of their means, with Welch's interval, of logarithms.

    Raises:
        ValueError: no values, or one that is not finite and positive.
    """
    upper, lower = _logarithms(_finite(numerators)), _logarithms(_finite(denominators))
    value, fewest = float(upper.mean() - lower.mean()), min(len(upper), len(lower))
    if fewest < FEWEST_STARTS:
        return _exponential(Estimate(value, None, None, fewest, "none"))
    interval = stats.ttest_ind(upper, lower, equal_var=False).confidence_interval(CONFIDENCE)
    low, high = float(interval.low), float(interval.high)
    if not (math.isfinite(low) and math.isfinite(high)):  # nothing varied
        low = high = value
    return _exponential(Estimate(value, low, high, fewest, "t over starts"))


def noise_floor(again: Estimate) -> float | None:
    """How far from 1 a ratio can be and still be noise, from the ratio of an arm against itself.

    The end of the interval that is farther from 1, as a factor less 1: 0.25 is said of 0.8 as well as of 1.25. None
    without an interval: then nobody knows.
    """
    if again.low is None or again.high is None or again.low <= 0:
        return None
    return math.exp(max(abs(math.log(again.low)), abs(math.log(again.high)))) - 1


def verdict_of(ratio: Estimate | None) -> Verdict:
    """Of a single ratio: it is resolved when its interval does not hold 1."""
    if ratio is None or ratio.holds(1):
        return Verdict.UNRESOLVED
    return Verdict.HIGHER if ratio.value > 1 else Verdict.LOWER


def verdicts(ratios: Mapping[str, Sequence[float]]) -> dict[str, Verdict]:
    """Of many cells at once, so that all of them together claim a difference that is none in at most 5 % of runs.

    Holm's procedure over the p-values of t tests of the logarithms; a cell's own interval must exclude 1 as well, so
    that table and verdict agree.

    Args:
        ratios: of each cell, one ratio for each pair.
    """
    ordered = sorted((_p_value(values), cell) for cell, values in ratios.items())
    found = dict.fromkeys(ratios, Verdict.UNRESOLVED)
    for place, (p_value, cell) in enumerate(ordered):
        if p_value > (1 - CONFIDENCE) / (len(ordered) - place):
            break
        values = np.asarray(ratios[cell], np.float64)
        found[cell] = verdict_of(median_ratio(values, np.ones(len(values))))
    return found


def coefficient_of_variation(values: ArrayLike) -> float:
    """Standard deviation over mean; 0 for a single value."""
    sample = _finite(values)
    return float(np.std(sample, ddof=1) / np.mean(sample)) if len(sample) > 1 else 0.0


def slopes(amounts: ArrayLike, costs: ArrayLike) -> NDArray[np.float64]:
    """The least-squares slope of each row of ``costs`` over ``amounts``: cost of one more.

    Args:
        amounts: shape ``(k,)``, at least two different ones.
        costs: shape ``(rounds, k)``; a row was measured side by side.
    """
    centred = np.asarray(amounts, np.float64)
    centred = centred - centred.mean()
    spread = float(centred @ centred)
    if spread == 0:
        raise ValueError("a slope needs two different amounts")
    per_round: NDArray[np.float64] = np.asarray(costs, np.float64) @ centred / spread
    return per_round


def _finite(values: ArrayLike) -> NDArray[np.float64]:
    sample = np.asarray(values, np.float64).ravel()
    if not len(sample) or not np.isfinite(sample).all():
        raise ValueError("statistics need at least one value, and only finite ones")
    return sample


def _logarithms(values: NDArray[np.float64]) -> NDArray[np.float64]:
    if values.min() <= 0:
        raise ValueError("a ratio is taken of positive values only")
    logs: NDArray[np.float64] = np.log(values)
    return logs


def _exponential(logs: Estimate) -> Estimate:
    return Estimate(
        math.exp(logs.value),
        None if logs.low is None else math.exp(logs.low),
        None if logs.high is None else math.exp(logs.high),
        logs.n,
        logs.method,
    )


@cache
def _rank(count: int, confidence: float) -> int | None:
    """The highest rank from 0 such that the interval between it and its mirror image is wide enough."""
    if count < FEWEST_FOR_INTERVAL:
        return None
    outside = (1 - confidence) / 2
    rank = int(stats.binom.ppf(outside, count, 0.5))
    while rank >= 0 and stats.binom.cdf(rank, count, 0.5) > outside:
        rank -= 1
    return rank if rank >= 0 else None


@cache
def _rank_sum_quantile(upper: int, lower: int) -> int:
    """How many of the sorted differences lie outside of the interval at either end; -1: it would need more of them.

    The normal approximation of the rank sum's distribution, with its correction for continuity rounded outwards.
    """
    middle = upper * lower / 2
    spread = math.sqrt(upper * lower * (upper + lower + 1) / 12)
    return math.floor(middle - 0.5 - stats.norm.ppf((1 + CONFIDENCE) / 2) * spread) - 1


def _p_value(values: Sequence[float]) -> float:
    """Of the hypothesis that the ratios are 1."""
    if len(values) < FEWEST_FOR_INTERVAL:
        return 1.0
    logs = _logarithms(_finite(values))
    spread = float(np.std(logs, ddof=1)) / math.sqrt(len(logs))
    if spread == 0:
        return 1.0 if not logs[0] else 0.0
    return float(2 * stats.t.sf(abs(float(np.mean(logs)) / spread), len(logs) - 1))
