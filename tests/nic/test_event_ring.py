"""The ring of compiled code: what it holds comes out in order, and what is not told is counted."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from dtls_emu.nic.event_ring import (
    DELIVERED,
    DELIVERED_CLEAR,
    SENT_CLEAR,
    SENT_SEALED,
    EventRing,
    Noted,
    note,
)


def noted(number, packets=1, kind=SENT_SEALED):
    return Noted(1.0, kind, 0, 0, packets, 100 * packets, number, 0)


def test_a_record_comes_out_as_it_was_left():
    """Every field, in Python's types, once."""
    ring = EventRing(4)
    first = Noted(0.25, SENT_SEALED, 3, 1, 64, 64 * 1400, 1 << 40, 0)
    second = Noted(0.5, DELIVERED_CLEAR, 7, 1, 2, 300, 0, 4)
    for each in (first, second):
        note(ring.address, each)
    assert not ring.is_empty
    assert ring.take(4) == ([first, second], [0, 0, 0, 0])
    assert ring.is_empty
    assert ring.take(4) == ([], [0, 0, 0, 0])


@settings(deadline=None)
@given(
    size=st.integers(1, 5),
    steps=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 6)), max_size=20),
    kind=st.sampled_from((SENT_SEALED, SENT_CLEAR, DELIVERED)),
)
def test_what_is_told_and_what_is_left_out_is_everything(size, steps, kind):
    """However it is emptied: in order, never more than asked for, and the rest counted by its kind."""
    ring = EventRing(size)
    number = 0
    for burst, most in steps:
        for _ in range(burst):
            note(ring.address, noted(number, 2, kind))
            number += 2
        told, left_out = ring.take(most)
        assert len(told) <= min(burst, size, most)
        if burst <= min(size, most):
            assert len(told) == burst
        numbers = [each.number for each in told]
        assert numbers == sorted(numbers)
        assert set(numbers) <= set(range(number - 2 * burst, number, 2))
        assert Counter({kind: burst - len(told)}) == Counter(dict(enumerate(left_out)))


@settings(deadline=None)
@given(sizes=st.lists(st.integers(1, 64), min_size=1, max_size=200), most=st.integers(1, 30))
def test_which_packets_are_told_goes_by_their_numbers(sizes, most):
    """So the other end, which has put the same packets together otherwise, tells of the same ones, or of every other."""
    ring = EventRing()
    number, left = 0, []
    for packets in sizes:
        left.append(noted(number, packets))
        note(ring.address, left[-1])
        number += packets
    told = ring.take(most).told
    expected = [
        [each for each in left if -(-each.number // step) * step < each.number + each.packets]
        for step in (1 << power for power in range(15))
    ]
    assert told == next(each for each in expected if len(each) <= most)
