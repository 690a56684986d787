"""The comparison of paired trials, against distributions whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dtls_emu.measure.statistics import (
    Estimate,
    coefficient_of_variation,
    median_estimate,
    median_ratio,
    noise_floor,
    slopes,
)


SEED = 20_26


def test_drift_shared_by_a_pair_cancels():
    """A machine that slows down tenfold during the run changes no ratio."""
    drift = np.linspace(10, 1, 25)
    estimate = median_ratio(0.8 * drift, drift, seed=SEED)
    assert estimate.value == pytest.approx(0.8)
    assert (estimate.low, estimate.high) == pytest.approx((0.8, 0.8))


def test_an_outlier_does_not_move_the_median():
    """A few spoilt pairs do not decide."""
    plain = np.ones(21)
    arm = np.full(21, 0.5)
    arm[:3] = 100.0
    assert median_ratio(arm, plain, seed=SEED).value == 0.5


def test_interval_covers_the_true_ratio_about_as_often_as_it_says():
    """Over 200 seeded experiments with 2 % noise, the 95 % interval holds the truth in 88 % to 100 %."""
    rng = np.random.default_rng(SEED)
    covered = 0
    for _ in range(200):
        estimate = median_ratio(0.8 * rng.normal(1, 0.02, 25), rng.normal(1, 0.02, 25), seed=SEED)
        assert estimate.low is not None
        assert estimate.high is not None
        assert estimate.low <= estimate.value <= estimate.high
        covered += estimate.low <= 0.8 <= estimate.high
    assert 176 <= covered <= 200, f"seed {SEED}: covered {covered} of 200"


def test_same_seed_gives_the_same_interval():
    """The resampling is seeded."""
    values = np.random.default_rng(SEED).normal(1, 0.1, 20)
    assert median_estimate(values, seed=1) == median_estimate(values, seed=1)
    assert median_estimate(values, seed=1).method == "BCa"


def test_equal_values_fall_back_to_the_percentile_interval():
    """BCa is degenerate when every resample is the same; warnings are errors here, so none escapes either."""
    assert median_estimate([2.0] * 5, seed=SEED) == Estimate(2.0, 2.0, 2.0, "percentile")


@pytest.mark.parametrize("values", [[3.0], [3.0, 3.0]])
def test_one_or_two_values_have_no_interval(values):
    """An interval over one or two values would only look like one."""
    assert median_estimate(values, seed=SEED) == Estimate(3.0, None, None, "none")


@pytest.mark.parametrize(
    ("upper", "lower"),
    [
        ([], []),
        ([1.0], [1.0, 2.0]),
        ([1.0], [0.0]),
        ([-1.0], [1.0]),
        ([math.nan], [1.0]),
        ([1.0], [math.inf]),
    ],
)
def test_what_is_no_ratio_is_refused(upper, lower):
    """No pairs, unequal lengths, zero, negative or not finite."""
    with pytest.raises(ValueError, match=r"pairs|ratio|finite"):
        median_ratio(upper, lower, seed=SEED)


def test_noise_floor_is_the_far_end_of_the_interval():
    """The interval of plain against plain bounds what a difference may be and still be noise."""
    assert noise_floor(Estimate(0.995, 0.988, 1.004, "BCa")) == pytest.approx(0.012)
    assert noise_floor(Estimate(1.001, 0.999, 1.02, "BCa")) == pytest.approx(0.02)
    assert noise_floor(Estimate(0.97, None, None, "none")) == pytest.approx(0.03)


def test_coefficient_of_variation():
    """Sample standard deviation over mean, and 0 for a single value."""
    assert coefficient_of_variation([9.0, 10.0, 11.0]) == pytest.approx(0.1)
    assert coefficient_of_variation([5.0]) == 0.0


def test_slope_is_the_cost_of_one_more():
    """Each row's line has its own offset, and the slope is found in both."""
    amounts = np.array([0.0, 1.0, 10.0, 100.0])
    assert slopes(amounts, [5 + 3 * amounts, 700 + 4 * amounts]).tolist() == pytest.approx([3.0, 4.0])
    with pytest.raises(ValueError, match="two different amounts"):
        slopes([1.0, 1.0], [[1.0, 2.0]])


def test_estimate_prints_as_in_the_reading():
    """Two digits, and the interval only where there is one."""
    assert str(Estimate(0.814, 0.791, 0.829, "BCa")) == "0.81 (0.79-0.83)"
    assert str(Estimate(0.814, None, None, "none")) == "0.81"
