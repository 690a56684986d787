"""The ledger of flows: two directions are one flow, counters outlive their entries, and a flow ends with its last one."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import pytest

from dtls_emu.events import Direction, FlowContinued, FlowEnded, FlowStarted, tagged
from dtls_emu.nic import flow_ledger
from dtls_emu.nic.flow_ledger import FlowLedger
from dtls_emu.policy.decision import Decision
from dtls_emu.policy.table import rows
from dtls_emu.wire.inspect import FlowKey


ENCRYPTED = next(row for row in rows() if row.name == "encrypted")
DECISION = Decision(ENCRYPTED.verdict, ENCRYPTED.code, ENCRYPTED.reason, ENCRYPTED)
OUT = FlowKey(1, 17, ip_address("10.0.0.4"), ip_address("10.0.0.5"), 1000, 53, is_fragment=False, version=4)
BACK = OUT._replace(source=OUT.destination, destination=OUT.source, source_port=53, destination_port=1000)
OTHER = OUT._replace(source_port=1001)


@dataclass
class Entry:
    """What an entry of a flow table counts."""

    packets: int = 0
    nbytes: int = 0


class Ledger:
    """A ledger, and what it has told."""

    def __init__(self):
        self.told: list[Any] = []
        self.ledger = FlowLedger("h1", self.told.append)
        self.now = 0.0

    def leaving(self, key=OUT, tag=0):
        entry = Entry()
        self.ledger.decided(Direction.EGRESS, "a", key, entry, DECISION, tag, self.now)
        return entry

    def coming(self, key=BACK, tag=0):
        entry = Entry()
        self.ledger.decided(Direction.INGRESS, "a", key, entry, None, tag, self.now)
        return entry

    def gone(self, direction, key, entry):
        self.ledger.ended(direction, key, entry.packets, entry.nbytes)

    def kinds(self):
        return [type(event) for event in self.told]


@pytest.fixture
def ledger():
    return Ledger()


def counters(event):
    return event.packets_out, event.bytes_out, event.packets_in, event.bytes_in


def test_both_directions_are_one_flow(ledger):
    """It starts with the first packet, whose flow it keeps, and goes on with the first answer."""
    leaving = ledger.leaving(tag=tagged(2, 7))
    leaving.packets, leaving.nbytes = 3, 300
    coming = ledger.coming()
    coming.packets, coming.nbytes = 2, 250
    ledger.ledger.close(9.0)
    started, continued, ended = ledger.told
    assert (started.mark, started.packet, started.vm, started.row) == (2, 7, "a", ENCRYPTED.number)
    assert (started.flow.source, started.flow.source_port) == ("10.0.0.4", 1000)
    assert (counters(continued), counters(ended)) == ((3, 300, 0, 0), (3, 300, 2, 250))
    assert started.flow == continued.flow == ended.flow
    assert (ended.time, ended.why, ended.code) == (9.0, "closed", "X")


def test_a_flow_that_comes_from_elsewhere_is_decided_by_its_answer(ledger):
    """Until the VM answers this host has nothing to decide."""
    ledger.coming()
    ledger.leaving()
    started, continued = ledger.told
    assert (started.direction, started.row, started.verdict) == (Direction.INGRESS, 0, None)
    assert (started.flow.source, started.flow.source_port) == ("10.0.0.5", 53)
    assert (continued.row, continued.verdict, continued.code) == (ENCRYPTED.number, "encrypt", "X")


def test_counters_go_on_where_an_entry_is_replaced(ledger):
    """However often, and whatever the other direction does meanwhile."""
    for packets in (1, 10, 100):
        entry = ledger.leaving()
        entry.packets, entry.nbytes = packets, packets * 50
        ledger.gone(Direction.EGRESS, OUT, entry)
    ledger.leaving().packets = 1000
    ledger.ledger.report(1.0)
    assert ledger.kinds() == [FlowStarted, *[FlowContinued] * 4]
    assert [event.packets_out for event in ledger.told[1:]] == [1, 11, 111, 1111]


def test_a_flow_ends_when_the_last_of_its_entries_is_idle(ledger):
    """Not with the first, and not at once: what takes its place may come right behind it."""
    leaving, coming = ledger.leaving(), ledger.coming()
    leaving.packets, coming.packets = 5, 4
    ledger.gone(Direction.EGRESS, OUT, leaving)
    ledger.now = 300.0
    ledger.leaving(OTHER)
    assert ledger.kinds() == [FlowStarted, FlowContinued, FlowStarted]
    ledger.gone(Direction.INGRESS, BACK, coming)
    ledger.now = 400.0
    ledger.coming(BACK._replace(destination_port=1001))
    (ended,) = [event for event in ledger.told if isinstance(event, FlowEnded)]
    assert (ended.time, ended.why, counters(ended)[::2]) == (400.0, "idle", (5, 4))
    assert ended.flow.source_port == 1000
    assert len(ledger.ledger) == 1


def test_what_has_no_entry_is_counted_all_the_same(ledger):
    """Packets from the gateway, and from a VM of the same host."""
    for _ in range(3):
        ledger.ledger.count(Direction.INGRESS, "a", BACK, 2, 200, 0, 0.0)
    ledger.leaving().packets = 1
    ledger.ledger.close(1.0)
    assert ledger.kinds() == [FlowStarted, FlowContinued, FlowEnded]
    assert counters(ledger.told[-1]) == (1, 0, 6, 600)


def test_what_has_no_entry_ends_when_it_is_idle_or_there_are_too_many(ledger, monkeypatch):
    """No table sweeps it: the oldest goes, with its counters, unless it has an entry by now."""
    monkeypatch.setattr(flow_ledger, "_MOST_BESIDE", 10)

    def count(port, now):
        ledger.ledger.count(Direction.INGRESS, "a", BACK._replace(destination_port=port), 1, 50, 0, now)

    ledger.leaving()
    for port in range(1000, 1020):
        count(port, port / 1000)
    assert len(ledger.ledger) == 11  # and the one with an entry
    count(2000, 300.0)
    assert len(ledger.ledger) == 2
    ended = [event for event in ledger.told if isinstance(event, FlowEnded)]
    assert [(each.flow.destination_port, each.why, each.packets_in) for each in ended] == [
        (port, "idle", 1) for port in range(1001, 1020)
    ]


def test_entries_of_before_it_watched_are_nobodys(ledger):
    """Whoever begins to listen late is told of a flow when it is decided again."""
    ledger.gone(Direction.EGRESS, OUT, Entry(5, 500))
    assert ledger.told == []
    ledger.leaving().packets = 1
    ledger.ledger.close(1.0)
    ledger.ledger.close(2.0)
    assert ledger.kinds() == [FlowStarted, FlowEnded]
    assert ledger.told[-1].packets_out == 1
