"""Events of several hosts come in order, a packet with all of its path or not at all, and what is left out is counted."""

from __future__ import annotations

from collections import Counter

from dtls_emu.events import Delivered, Dropped, Missed, Offered, Sealed, StateChanged, name_of
from dtls_emu.events.base import Direction, FlowId
from dtls_emu.teach.page.sampling import COMMON_RATE, HOLD, SAVED, Sampler
from dtls_emu.vocabulary import DropReason


FLOW = FlowId(5001, 17, "10.0.0.4", "10.0.0.5", 1, 2)


def offered(time, host="h1", packet=1):
    return Offered(time, host, 0, packet, "a", 1, 100)


def sealed(time, host="h1", packet=1):
    return Sealed(time, host, 0, packet, "h2", (1, 2), 1, packet, 1)


def dropped(time, packet=1):
    return Dropped(time, "h1", 0, packet, "a", DropReason.FRAGMENT, 1)


def missed(time, packet=1):
    return Missed(time, "h1", 0, packet, Direction.EGRESS, "a", 1, FLOW)


def number_of(event):
    return getattr(event, "packet", None)


def test_events_of_several_hosts_are_told_in_order():
    """Once they are old enough that no other host can have been earlier; times begin where the page does."""
    sampler = Sampler(100.0)
    sampler.take([offered(100.2), sealed(100.3)], {})
    sampler.take([Delivered(100.25, "h2", 0, 0, "b", 1, 100)], {})
    assert sampler.release(100.2 + HOLD - 0.01) == []
    told = sampler.release(100.3 + HOLD)
    assert [name_of(event) for event in told] == ["offered", "delivered", "sealed"]
    assert [round(event.time, 9) for event in told] == [0.2, 0.25, 0.3]


def test_an_event_that_comes_too_late_is_told_all_the_same():
    """At the time of what was told before it: time never goes back."""
    sampler = Sampler(0.0)
    sampler.take([offered(1.0)], {})
    sampler.release(2.0)
    sampler.take([sealed(0.5)], {})
    assert [event.time for event in sampler.release(2.1)] == [1.0]


def test_packets_of_two_hosts_do_not_have_one_number():
    """Each host numbers its own; here they are numbered again, and a host that starts anew begins with others."""
    sampler = Sampler(0.0)
    sampler.take([offered(0.1), offered(0.2, "h2"), sealed(0.3), sealed(0.4, "h2")], {})
    first = [number_of(event) for event in sampler.release(1.0)]
    assert first[:2] == first[2:]
    assert len(set(first)) == 2
    sampler.forget("h1")
    sampler.take([offered(1.1)], {})
    assert number_of(sampler.release(2.0)[0]) not in first


def test_of_too_much_some_packets_are_told_whole_and_the_rest_is_counted():
    """All of a packet's path, or nothing; what the hosts have left out themselves is added."""
    sampler = Sampler(0.0)
    count = 2_000
    for packet in range(1, count + 1):
        sampler.take([offered(0.001, packet=packet), sealed(0.002, packet=packet)], {})
    sampler.take([], {"sealed": 7})
    told = sampler.release(1.0)
    assert len(told) <= COMMON_RATE * SAVED * 2
    numbers = Counter(map(number_of, told))
    assert numbers
    assert set(numbers.values()) == {2}
    assert sampler.left_out == {"offered": count - len(numbers), "sealed": count - len(numbers) + 7}


def test_what_decides_something_is_told_though_its_packet_is_not():
    """Without a number, so that nobody takes it for a whole path; tunnels have room of their own."""
    sampler = Sampler(0.0)
    sampler.take([offered(0.001, packet=packet) for packet in range(1, 1_001)], {})
    sampler.take([missed(0.002, 1_001), dropped(0.003, 1_001)], {})
    sampler.take([StateChanged(0.004, "h1", "h2", "idle", "handshaking")], {})
    told = sampler.release(0.5)
    assert [(name_of(event), number_of(event)) for event in told[-3:]] == [
        ("missed", 0),
        ("dropped", 0),
        ("state_changed", None),
    ]
