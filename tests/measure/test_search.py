"""The search finds the highest rate that passes, on paths whose loss is known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtls_emu.measure.search import MOST_TRIALS, WIDTH, search


def path_of(capacity):
    """Loses what is above its capacity."""
    return lambda rate: max(0.0, 1 - capacity / rate)


@given(st.floats(1_000.0, 1_000_000.0), st.sampled_from([0.0, 0.005, 0.1]))
def test_the_highest_rate_within_the_goal_is_found(capacity, goal):
    """To within the width, from above and below."""
    found = search(path_of(capacity), 1_000_000.0, goal)
    limit = capacity / (1 - goal)
    assert found.rate <= limit * 1.000_001
    if found.failed is not None:
        assert found.failed > limit * 0.999_999
        assert found.rate >= limit / (1 + WIDTH) * 0.999_999
    assert len(found.trials) <= MOST_TRIALS


def test_a_path_that_carries_all_needs_one_trial():
    """More than the highest rate is never tried."""
    found = search(lambda _: 0.0, 500.0)
    assert (found.rate, found.failed, found.trials) == (500.0, None, [(500.0, 0.0)])


def test_a_path_that_carries_nothing_is_given_up():
    """After so many trials, with 0 and not with a guess."""
    found = search(lambda _: 1.0, 500.0, trials=5)
    assert found.rate == 0.0
    assert [rate for rate, _ in found.trials] == pytest.approx([500, 250, 125, 62.5, 31.25])
