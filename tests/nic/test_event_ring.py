"""The ring of compiled code: what it holds comes out in order, and what did not fit is counted."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dtls_emu.nic.event_ring import DELIVERED, REFUSED, RING_RECORD, SEALED, EventRing, Noted, note


def test_a_record_comes_out_as_it_was_left():
    """Every field, in Python's types, once."""
    ring = EventRing(4)
    first = Noted(0.25, SEALED, 3, 1, 64, 64 * 1400, 1 << 40, 0)
    second = Noted(0.5, REFUSED, -1, 1, 2, 0, 0, 4)
    for each in (first, second):
        note(ring.records, ring.counters, *each)
    assert ring.take() == ([first, second], 0)
    assert ring.take() == ([], 0)


@settings(deadline=None)
@given(size=st.integers(1, 5), steps=st.lists(st.integers(0, 12), max_size=20))
def test_what_is_told_and_what_is_left_out_is_everything(size, steps):
    """However it is emptied: in order, never more than its size, and the rest counted in packets."""
    ring = EventRing(size)
    number = 0
    for burst in steps:
        for _ in range(burst):
            note(ring.records, ring.counters, 1.0, DELIVERED, 0, 0, 2, 100, number, 0)
            number += 1
        told, left_out = ring.take()
        assert len(told) == min(burst, size)
        assert [each.number for each in told] == list(range(number - burst, number - burst + len(told)))
        assert left_out == 2 * (burst - len(told))


def test_without_a_ring_nothing_is_written():
    """An array of no records: nobody observes."""
    ring = EventRing(0)
    note(np.zeros(0, RING_RECORD), ring.counters, 1.0, SEALED, 0, 0, 1, 1, 1, 0)
    assert ring.take() == ([], 0)
