"""The search for the highest packet rate with low loss, on links whose limit is known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from side_by_side.iperf import Datagrams
from side_by_side.search import LOW_LOSS, low_loss_trial


class Link:
    """Carries up to ``limit`` packets a second; when more are offered, ``overloaded`` of them."""

    def __init__(self, limit, overloaded):
        self.limit, self.overloaded = limit, overloaded
        self.offered = []

    def offer(self, rate):
        self.offered.append(rate)
        received = rate if rate <= self.limit else min(self.overloaded, rate)
        return Datagrams(sent=round(rate), received=round(received), seconds=1.0)


def _search(link, flood_rate, trials=6):
    return low_loss_trial(link.offer, link.offer(flood_rate), trials=trials)


def test_a_flood_that_loses_little_is_the_answer():
    """No more trials: nothing here can offer more."""
    link = Link(limit=500_000, overloaded=0)
    assert _search(link, 200_000).received == 200_000
    assert link.offered == [200_000]


def test_what_a_flood_delivered_is_tried_first():
    """On a link that degrades gracefully it is the limit already."""
    link = Link(limit=80_000, overloaded=80_000)
    _search(link, 200_000)
    assert link.offered[1] == 80_000


@given(
    limit=st.integers(2_000, 300_000),
    collapse=st.floats(0.2, 1.0),
    flood=st.floats(1.05, 4.0),
)
def test_the_limit_is_found(limit, collapse, flood):
    """Six trials come near it, also where overload makes a link deliver a fifth of what it could."""
    link = Link(limit, limit * collapse)
    trial = _search(link, limit * flood)
    assert trial.loss <= LOW_LOSS
    assert 0.8 * limit <= trial.received <= limit


def test_a_link_that_delivers_nothing_when_flooded_is_searched_from_above():
    """Livelock: half of what failed, again and again."""
    link = Link(limit=30_000, overloaded=0)
    trial = _search(link, 200_000)
    assert link.offered[:4] == [200_000, 100_000, 50_000, 25_000]
    assert 25_000 <= trial.received <= 30_000


def test_there_may_be_no_such_rate():
    """None, and not the least bad trial."""
    assert _search(Link(limit=1, overloaded=0), 200_000) is None


def test_no_more_trials_are_made_than_allowed():
    """A run's length is known beforehand."""
    link = Link(limit=50_000, overloaded=40_000)
    _search(link, 200_000, trials=3)
    assert len(link.offered) == 1 + 3


def test_one_unlucky_trial_does_not_end_the_search():
    """Loss at a rate below the limit, by a scheduling gap, costs precision only."""
    link = Link(limit=100_000, overloaded=100_000)
    unlucky = iter([True])

    def offer(rate):
        trial = link.offer(rate)
        return Datagrams(trial.sent, trial.received // 2, 1.0) if next(unlucky, False) else trial

    trial = low_loss_trial(offer, link.offer(300_000), trials=6)
    assert trial is not None
    assert trial.received == pytest.approx(100_000, rel=0.1)
