"""A story is what the events say: every kind has its words, and a packet's path is whole."""

from __future__ import annotations

import pytest

from dtls_emu.events import (
    EVENTS,
    Delivered,
    Dropped,
    FlightSent,
    Forwarded,
    How,
    Lost,
    Offered,
    Opened,
    PacketEvent,
    Queued,
    Received,
    Refused,
    Sealed,
    Sent,
)
from dtls_emu.lab import shipped_labs
from dtls_emu.teach.recording import record
from dtls_emu.teach.selection import SelectionError, of_item, of_packet, of_pair
from dtls_emu.teach.story import _TELLERS, hosts_of, tell


@pytest.fixture(scope="module")
def trace():
    return record("two-vms").trace


def test_every_kind_of_event_has_words():
    """A new one gets some."""
    assert set(_TELLERS) == set(EVENTS.values())


@pytest.mark.parametrize("lab", shipped_labs())
def test_every_event_of_every_lab_is_told(lab):
    """In a line each; nothing that left in clear is called encrypted."""
    found = record(lab).trace
    for event in found.events:
        line = tell(event)
        assert line.what
        assert line.text
        assert "\n" not in line.text
        if isinstance(event, Forwarded):
            assert ("encrypted" in line.text) == (event.how is How.ENCRYPTED)
            assert ("in clear" in line.text) == (event.how is not How.ENCRYPTED)
    assert hosts_of(found.events)


def test_a_packets_path_is_whole(trace):
    """From its VM through the wait for its tunnel to the other VM, and nothing of other packets."""
    found = of_packet(trace, 1)
    kinds = [type(event) for event in found]
    order = [Offered, Queued, FlightSent, Forwarded, Sealed, Sent, Received, Opened, Delivered]
    assert [kind for kind in dict.fromkeys(kinds) if kind in order] == order
    assert {event.packet for event in found if hasattr(event, "packet")} == {1}


def test_every_packet_ends_once(trace):
    """Delivered, dropped, refused or lost, whatever its number."""
    last = max(event.packet + event.count - 1 for event in trace.events if isinstance(event, Offered))
    for packet in range(1, last + 1, 7):
        ends = [
            event
            for event in of_packet(trace, packet)
            if isinstance(event, Delivered | Dropped | Refused | Lost)
        ]
        assert len(ends) == 1, (packet, ends)


def test_an_item_and_its_answers_are_found_by_name(trace):
    """And nobody else's packets."""
    found = of_item(trace, "ping")
    marks = {event.mark for event in found if isinstance(event, PacketEvent)}
    assert len(marks) == 2
    assert sum(isinstance(event, Offered) for event in found) == sum(
        isinstance(event, Offered) for event in trace.events if getattr(event, "mark", None) in marks
    )


def test_a_pair_is_found_in_both_directions(trace):
    """Whoever began."""
    found = of_pair(trace, "vm-a", "vm-b")
    assert {event.vm for event in found if isinstance(event, Offered)} == {"vm-a", "vm-b"}
    assert {id(event) for event in of_pair(trace, "vm-b", "vm-a")} == {id(event) for event in found}


@pytest.mark.parametrize(
    ("select", "said"),
    [
        (
            lambda trace: of_packet(trace, 10**9),
            "--packet 1000000000: no packet of this trace; packets have the numbers 1 to",
        ),
        (lambda trace: of_item(trace, "pong"), "--item pong: no traffic item of this lab; there are ping"),
        (
            lambda trace: of_pair(trace, "vm-z", None),
            "--from vm-z: no packet of this VM in the trace; there are vm-a, vm-b",
        ),
    ],
)
def test_what_is_not_there_is_said(trace, select, said):
    """With what is."""
    with pytest.raises(SelectionError, match=said):
        select(trace)
