"""The comparison of paired trials, against distributions whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dtls_emu.measure.statistics import (
    Estimate,
    Verdict,
    coefficient_of_variation,
    median_estimate,
    median_ratio,
    noise_floor,
    over_starts,
    shift_ratio,
    slopes,
    verdict_of,
    verdicts,
)
from dtls_emu.testing.present import present


def test_drift_shared_by_a_pair_cancels():
    """A machine that slows down tenfold during the run changes no ratio."""
    drift = np.linspace(10, 1, 25)
    estimate = median_ratio(0.8 * drift, drift)
    assert estimate.value == pytest.approx(0.8)
    assert (estimate.low, estimate.high) == pytest.approx((0.8, 0.8))


def test_an_outlier_does_not_move_the_median():
    """A few spoilt pairs do not decide."""
    plain = np.ones(21)
    arm = np.full(21, 0.5)
    arm[:3] = 100.0
    assert median_ratio(arm, plain).value == 0.5


def test_equal_values_have_an_interval_of_no_width():
    """Nothing varied, so nothing is uncertain."""
    assert median_estimate([2.0] * 6) == Estimate(2.0, 2.0, 2.0, 6, "order statistics")


def test_an_interval_is_of_order_statistics():
    """The second and the eighth of nine: 96.1 %; the extremes of six: 96.9 %."""
    nine = median_estimate([5, 1, 9, 2, 8, 3, 7, 4, 6])
    assert (nine.value, nine.low, nine.high, nine.n) == (5, 2, 8, 9)
    six = median_estimate([1, 2, 3, 4, 5, 6])
    assert (six.low, six.high) == (1, 6)


def test_half_and_double_are_equally_far_from_one():
    """A ratio is looked at by its logarithm."""
    ratio = median_ratio([0.5, 2.0] * 3, [1.0] * 6)
    assert ratio.value == pytest.approx(1.0)
    assert (ratio.low, ratio.high) == pytest.approx((0.5, 2.0))


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
        median_ratio(upper, lower)


def test_noise_floor_is_the_far_end_of_the_interval():
    """The interval of plain against plain bounds what a difference may be and still be noise, as a factor."""
    assert noise_floor(Estimate(0.995, 0.988, 1.004, 9, "")) == pytest.approx(1 / 0.988 - 1)
    assert noise_floor(Estimate(1.001, 0.999, 1.02, 9, "")) == pytest.approx(0.02)
    assert noise_floor(Estimate(0.97, None, None, 3, "none")) is None


@pytest.mark.parametrize(
    ("estimate", "verdict"),
    [
        (Estimate(0.7, 0.6, 0.8, 9, ""), Verdict.LOWER),
        (Estimate(1.3, 1.1, 1.4, 9, ""), Verdict.HIGHER),
        (Estimate(1.3, 0.9, 1.4, 9, ""), Verdict.UNRESOLVED),
        (Estimate(3.0, None, None, 2, "none"), Verdict.UNRESOLVED),
        (None, Verdict.UNRESOLVED),
    ],
)
def test_a_verdict_rests_on_the_interval(estimate, verdict):
    """Not on its middle; without one there is none."""
    assert verdict_of(estimate) is verdict


def test_a_verdict_of_a_cell_never_contradicts_its_interval():
    """One that a t test refuses and the interval does not stays open."""
    values = [0.5, 0.6, 0.55, 0.5, 0.52, 1.0]
    assert median_ratio(values, [1] * 6).holds(1)
    assert verdicts({"cell": values}) == {"cell": Verdict.UNRESOLVED}
    assert verdicts({"cell": [0.5] * 6, "same": [1.0] * 6}) == {
        "cell": Verdict.LOWER,
        "same": Verdict.UNRESOLVED,
    }


def test_starts_are_fewer_than_rounds():
    """Two of them say nothing of how they vary."""
    assert over_starts([0.7, 0.8]).low is None
    three = over_starts([0.7, 0.75, 0.8])
    assert present(three.low) < 0.7
    assert present(three.high) > 0.8
    assert (three.n, three.method) == (3, "t over starts")


def test_runs_apart_are_compared_by_all_their_ratios():
    """Without six values on either side there is no interval."""
    assert shift_ratio([2.0] * 6, [1.0] * 6).value == pytest.approx(2.0)
    assert shift_ratio([2.0] * 6, [1.0] * 5).low is None


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
    assert str(Estimate(0.814, 0.791, 0.829, 9, "")) == "0.81 (0.79-0.83)"
    assert str(Estimate(0.814, None, None, 3, "none")) == "0.81"
    assert Estimate(0.8, 0.7, 0.9, 9, "").half_width == pytest.approx(0.125)
