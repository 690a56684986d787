"""The clock jumps from event to event, in order, and never wakes anyone early."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtls_emu.errors import LocalProtocolError
from dtls_emu.fabric.clock import NANOSECONDS, VirtualClock, nanoseconds


def test_events_run_in_order_of_time_and_then_of_scheduling():
    """Ties are broken by insertion, so that a run is the same every time."""
    clock, ran = VirtualClock(), []

    def note(name):
        ran.append((name, clock.now))

    for name, when in (("late", 2.0), ("first", 1.0), ("second", 1.0), ("third", 1.0)):
        clock.call_at(when, partial(note, name))
    assert clock.run() == 4
    assert ran == [("first", 1.0), ("second", 1.0), ("third", 1.0), ("late", 2.0)]


def test_a_cancelled_timer_does_not_run():
    """Neither does it count as an event, nor hold the clock."""
    clock, ran = VirtualClock(), []
    timer = clock.call_at(1.0, lambda: ran.append("cancelled"))
    clock.call_at(2.0, lambda: ran.append("kept"))
    timer.cancel()
    assert (timer.pending, clock.next_event()) == (False, 2.0)
    assert clock.run() == 1
    assert ran == ["kept"]


def test_an_event_may_schedule_another_at_the_same_instant():
    """It runs after everything that was already due then."""
    clock, ran = VirtualClock(), []
    clock.call_at(1.0, lambda: clock.call_at(1.0, lambda: ran.append("child")))
    clock.call_at(1.0, lambda: ran.append("sibling"))
    clock.run()
    assert ran == ["sibling", "child"]


def test_run_until_stands_at_the_given_time():
    """Events of that very instant have run, later ones have not."""
    clock = VirtualClock(start=1.0)
    ran: list[float] = []
    for when in (1.5, 2.0, 2.000000001):
        clock.call_at(when, partial(ran.append, when))
    assert clock.run_until(2.0) == 2
    assert (ran, clock.now) == ([1.5, 2.0], 2.0)
    assert clock.run_until(1.0) == 0
    assert clock.now == 2.0


def test_run_stops_at_its_limit():
    """An endless chain of events can be watched piece by piece."""
    clock = VirtualClock()

    def again():
        clock.call_later(1.0, again)

    again()
    assert clock.run(limit=5) == 5
    assert clock.now == 5.0


def test_a_late_timer_is_due_now():
    """A card may ask for a time that has just passed; it is called at once, the clock does not go back."""
    clock, ran = VirtualClock(start=5.0), []
    clock.call_at(4.0, lambda: ran.append(clock.now))
    clock.run()
    assert ran == [5.0]
    with pytest.raises(LocalProtocolError, match="already"):
        clock.call_at_ns(0, list)


@given(st.floats(min_value=0, max_value=1e6, allow_nan=False))
def test_nobody_is_woken_early(when):
    """A card that asked for `when` sees `now >= when`; otherwise it would ask for the same time forever."""
    clock = VirtualClock()
    clock.call_at(when, lambda: None)
    clock.run()
    assert when <= clock.now <= when + 2e-9


@given(st.integers(min_value=0, max_value=10**15))
def test_whole_nanoseconds_survive_the_way_through_float_seconds(when_ns):
    """A time that the clock gave out and gets back is the same instant."""
    assert nanoseconds(when_ns / NANOSECONDS) == when_ns
