"""Comparing on a shared machine: ratios of pairs measured side by side, and how far to trust them.

Speed drifts here by more than the differences we look for: a neighbour wakes up, a clock changes. So two
arms are measured next to each other again and again, each such pair gives one ratio, drift cancels within a
pair, and the median over pairs ignores the ones that a neighbour spoilt. An arm measured against itself shows
how much of a difference is noise.

Pure functions over arrays. The resampling is seeded: the same data gives the same interval.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from scipy import stats


if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


__all__ = [
    "CONFIDENCE",
    "Estimate",
    "coefficient_of_variation",
    "median_estimate",
    "median_ratio",
    "noise_floor",
    "slopes",
]

CONFIDENCE: Final = 0.95
RESAMPLES: Final = 4_999
"""Enough for two digits of a 95 % interval's ends (Efron & Tibshirani 1993, 19.3: 1,000 and more)."""

FEWEST_FOR_INTERVAL: Final = 3
"""With one or two values every resample is one of them; an interval would only look like one."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A median and its 95 % bootstrap interval.

    Fields:
        value: the median.
        low, high: ends of the interval; None with fewer than three values.
        method: ``BCa``, ``percentile`` where BCa is degenerate (equal values), or ``none``.
    """

    value: float
    low: float | None
    high: float | None
    method: str

    def __str__(self) -> str:
        """``0.81 (0.79-0.83)``"""
        return (
            f"{self.value:.2f}" if self.low is None else f"{self.value:.2f} ({self.low:.2f}-{self.high:.2f})"
        )


def median_estimate(values: ArrayLike, *, seed: int) -> Estimate:
    """The median of ``values`` with its bootstrap interval.

    Raises:
        ValueError: no values, or one that is not finite.
    """
    sample = _finite(values)
    median = float(np.median(sample))
    if len(sample) < FEWEST_FOR_INTERVAL:
        return Estimate(median, None, None, "none")
    low, high = _bootstrap(sample, "BCa", seed)
    if math.isfinite(low) and math.isfinite(high):
        return Estimate(median, low, high, "BCa")
    return Estimate(median, *_bootstrap(sample, "percentile", seed), "percentile")


def median_ratio(numerators: ArrayLike, denominators: ArrayLike, *, seed: int) -> Estimate:
    """The median of the pairwise ratios. Element ``i`` of both was measured side by side.

    Raises:
        ValueError: no pairs, unequal lengths, or a value that is not finite and positive.
    """
    upper, lower = _finite(numerators), _finite(denominators)
    if len(upper) != len(lower):
        raise ValueError(f"pairs: {len(upper)} numerators and {len(lower)} denominators")
    if upper.min() <= 0 or lower.min() <= 0:
        raise ValueError("a ratio is taken of positive values only")
    return median_estimate(upper / lower, seed=seed)


def noise_floor(again: Estimate) -> float:
    """How far from 1 a ratio can be and still be noise, from the ratio of an arm against itself.

    The end of the interval farther from 1; without an interval, the distance of the ratio itself.
    """
    ends = (again.value,) if again.low is None or again.high is None else (again.low, again.high)
    return max(abs(end - 1) for end in ends)


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


def _bootstrap(
    sample: NDArray[np.float64], method: Literal["BCa", "percentile"], seed: int
) -> tuple[float, float]:
    """Ends of the interval; not finite where the method is degenerate."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scipy warns of degenerate data; the caller sees it in the ends
        interval = stats.bootstrap(
            (sample,),
            np.median,
            n_resamples=RESAMPLES,
            confidence_level=CONFIDENCE,
            method=method,
            rng=np.random.default_rng(seed),
        ).confidence_interval
    return float(interval.low), float(interval.high)
