"""The histogram of delays: right to its precision, at every magnitude, and the same when it is added up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtls_emu.measure.delays import LONGEST, PRECISION, Delays


def of(*values):
    """A histogram of some delays."""
    delays = Delays()
    delays.add(np.array(values, np.int64))
    return delays


@given(
    st.lists(st.integers(0, 10**12), min_size=1, max_size=200),
    st.sampled_from([0.0, 0.5, 0.9, 0.99, 0.999, 1.0]),
)
def test_a_percentile_is_right_to_the_precision(values, share):
    """It is that of the sorted values: so many of them are not above it."""
    exact = sorted(values)[max(1, int(np.ceil(share * len(values)))) - 1]
    assert of(*values).percentile(share) == pytest.approx(exact, rel=PRECISION, abs=0.5)


@given(st.lists(st.integers(0, LONGEST), max_size=50), st.lists(st.integers(0, LONGEST), max_size=50))
def test_histograms_add_up(first, second):
    """As if all had been taken by one."""
    together, one = Delays.of([of(*first), of(*second)]), of(*first, *second)
    assert (together.counts == one.counts).all()
    assert (together.least, together.most, together.count) == (one.least, one.most, len(first + second))


def test_what_arrives_before_it_was_due_is_told():
    """It cannot be, by one clock; it is no negative delay."""
    delays = of(-5, 10)
    assert (delays.early, delays.least, delays.most) == (1, 0, 10)


def test_no_delays_have_no_percentile():
    """Nothing was delivered."""
    with pytest.raises(ValueError, match="no delays"):
        Delays().percentile(0.5)


def test_buckets_are_kept_sparse():
    """By their lower edges."""
    assert of(5, 5, 300).sparse() == {5: 2, 300: 1}
