"""Intervals and verdicts hold what they say, by simulation of runs whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dtls_emu.measure.statistics import (
    Verdict,
    median_estimate,
    median_ratio,
    over_starts,
    shift_ratio,
    verdicts,
)


SEED = 20_26
RUNS = 1_500
"""A coverage of 95 % is then known to within 1.1 points (two standard errors)."""

TOLERANCE = 0.012


def noise(rng, kind, shape):
    """Of logarithms, with median 0: as measured (normal), with what a busy neighbour spoils (t), and one-sided."""
    if kind == "normal":
        return rng.normal(0, 0.05, shape)
    if kind == "heavy":
        return 0.03 * rng.standard_t(2, shape)
    return 0.05 * (rng.exponential(1, shape) - math.log(2))


@pytest.mark.parametrize("kind", ["normal", "heavy", "skewed"])
@pytest.mark.parametrize("count", [6, 7, 9, 12, 25])
def test_an_interval_of_a_median_holds_it_as_often_as_it_says(kind, count):
    """95 % at any number of values from six on, whatever the distribution."""
    rng = np.random.default_rng([SEED, count])
    print(f"seed {SEED}, {count}")
    held = sum(median_estimate(values).holds(0) for values in noise(rng, kind, (RUNS, count)))
    assert held / RUNS >= 0.95 - TOLERANCE


@pytest.mark.parametrize("count", [1, 3, 5])
def test_fewer_than_six_values_have_no_interval(count):
    """The extremes of five hold the median in 93.8 % of cases: a 95 % interval would be a lie."""
    estimate = median_ratio(np.arange(1, count + 1), np.ones(count))
    assert (estimate.low, estimate.high, estimate.n, estimate.method) == (None, None, count, "none")


@pytest.mark.parametrize("starts", [3, 5, 10])
def test_an_interval_over_starts_holds_what_varies_between_them(starts):
    """One start's own interval does not: its rounds share whatever this start is like."""
    rng = np.random.default_rng([SEED, starts])
    print(f"seed {SEED}, {starts}")
    held = alone = 0
    for _ in range(RUNS):
        own = rng.normal(0, 0.05, starts)  # what a start is like
        rounds = np.exp(own[:, None] + rng.normal(0, 0.02, (starts, 9)) + math.log(0.7))
        held += over_starts(np.median(rounds, axis=1)).holds(0.7)
        alone += median_ratio(rounds[0], np.ones(9)).holds(0.7)
    assert held / RUNS >= 0.95 - TOLERANCE
    assert alone / RUNS < 0.5


@pytest.mark.parametrize("kind", ["normal", "heavy", "skewed"])
@pytest.mark.parametrize("count", [6, 9, 25])
def test_runs_that_were_not_measured_side_by_side_are_compared_honestly(kind, count):
    """The ratio of one to another, each with noise of its own."""
    rng = np.random.default_rng([SEED, count])
    print(f"seed {SEED}, {count}")
    held = 0
    for _ in range(RUNS // 3):
        first, second = np.exp(noise(rng, kind, (2, count)))
        held += shift_ratio(0.8 * first, second).holds(0.8)
    assert held / (RUNS // 3) >= 0.95 - 2 * TOLERANCE


@pytest.mark.parametrize("kind", ["normal", "heavy"])
def test_a_table_of_equal_arms_claims_a_difference_in_one_run_of_twenty_at_most(kind):
    """Forty cells at once; without a correction nearly every run would."""
    rng = np.random.default_rng(SEED)
    print(f"seed {SEED}")
    wrong = naive = 0
    runs = 300
    for _ in range(runs):
        cells = {
            str(number): values.tolist() for number, values in enumerate(np.exp(noise(rng, kind, (40, 9))))
        }
        wrong += any(verdict is not Verdict.UNRESOLVED for verdict in verdicts(cells).values())
        naive += any(not median_ratio(values, np.ones(9)).holds(1) for values in cells.values())
    assert wrong / runs <= 0.05 + 2 * TOLERANCE
    assert naive / runs > 0.5


def test_a_difference_that_is_there_is_found_among_many():
    """Two thirds of the rate, nine rounds, forty cells."""
    rng = np.random.default_rng(SEED)
    print(f"seed {SEED}")
    cells = {str(number): np.exp(rng.normal(0, 0.05, 9)).tolist() for number in range(40)}
    cells["slow"] = (0.67 * np.exp(rng.normal(0, 0.05, 9))).tolist()
    cells["fast"] = (1.5 * np.exp(rng.normal(0, 0.05, 9))).tolist()
    found = verdicts(cells)
    assert (found["slow"], found["fast"]) == (Verdict.LOWER, Verdict.HIGHER)
