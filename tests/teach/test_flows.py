"""The flow tables of a run, made of its events: keys, decisions, counters, and which path packets took."""

from __future__ import annotations

import pytest

from dtls_emu.capture.trace_file import TraceRecorder, encode_trace, parse_trace
from dtls_emu.events import Delivered, Direction, Forwarded
from dtls_emu.simulation import Simulation, simulate
from dtls_emu.teach.flows import flow_table
from dtls_emu.vocabulary import FlowEncryption, Verdict


PING = "name: ping, kind: ping, from: a, to: b, count: 4, interval: 10ms"
STREAM = "name: stream, kind: udp, from: a, to: b, count: 20, start: 1s"
LOCAL = "name: local, kind: ping, from: a, to: c, count: 3, start: 2s"
NOBODY = "name: nobody, kind: udp, from: a, to: 10.99.0.1, count: 3, start: 3s"
FAR = "name: far, kind: ping, from: c, to: 203.0.113.7, count: 2, start: 4s"


@pytest.fixture(scope="module")
def trace(make_lab):
    """A run with a flow of each kind."""
    recorder = TraceRecorder()
    simulate(make_lab(PING, STREAM, LOCAL, NOBODY, FAR), observer=recorder)
    return recorder


def find(entries, vm, direction, source, destination, protocol=1):
    (entry,) = [
        each
        for each in entries
        if (each.vm, each.direction) == (vm, direction)
        and (each.flow.source, each.flow.destination, each.flow.protocol) == (source, destination, protocol)
    ]
    return entry


def test_an_encrypted_flow_has_its_row_and_its_hits(trace):
    """The first packet misses, and is looked up again when the tunnel is there; the others hit."""
    entry = find(flow_table(trace.events), "a", Direction.EGRESS, "10.0.0.4", "10.0.0.5")
    assert (entry.verdict, entry.code, entry.row, entry.name) == (
        Verdict.ENCRYPT,
        FlowEncryption.X,
        16,
        "encrypted",
    )
    assert (entry.packets, entry.hits, entry.exceptions, entry.generation) == (4, 3, 2, 2)
    assert (entry.path, entry.ended) == ("fast", "closed")
    assert entry.age > entry.idle > 0


def test_a_dropped_flow_is_an_entry_without_packets(trace):
    """Its later packets hit it, and are dropped by it."""
    entry = find(flow_table(trace.events), "a", Direction.EGRESS, "10.0.0.4", "10.99.0.1", 17)
    assert (entry.verdict, entry.row, entry.packets, entry.nbytes) == (Verdict.DROP, 1, 0, 0)
    assert (entry.hits, entry.exceptions) == (2, 1)


def test_packets_to_a_vm_have_no_decision_of_their_own(trace):
    """The host that sends them has decided."""
    entry = find(flow_table(trace.events), "b", Direction.INGRESS, "10.0.0.4", "10.0.0.5", 17)
    assert (entry.verdict, entry.code, entry.row, entry.name) == (None, None, 0, "")
    assert (entry.packets, entry.hits, entry.exceptions, entry.path) == (20, 19, 1, "fast")


@pytest.mark.parametrize(("vm", "source"), [("c", "10.0.0.4"), ("c", "203.0.113.7")])
def test_what_comes_from_beside_or_from_the_internet_needs_no_entry(trace, vm, source):
    """It is counted, and on neither path."""
    entry = find(flow_table(trace.events), vm, Direction.INGRESS, source, "10.0.0.6")
    assert entry.packets > 0
    assert (entry.generation, entry.hits, entry.exceptions, entry.path) == (0, 0, 0, "none")


def test_counters_are_those_of_the_packets(trace):
    """All that left VMs in some way, and all that they got, from the events of the packets alone."""
    entries = flow_table(trace.events)
    for direction, total in (
        (Direction.EGRESS, sum(each.count for each in trace.events if isinstance(each, Forwarded))),
        (
            Direction.INGRESS,
            sum(each.count for each in trace.events if isinstance(each, Delivered) and each.vm),
        ),
    ):
        assert sum(each.packets for each in entries if each.direction is direction) == total > 0


def test_a_trace_from_a_file_gives_the_same(trace):
    """Nothing else is needed."""
    assert flow_table(parse_trace(encode_trace(trace)).events) == flow_table(trace.events)


def test_a_policy_that_changes_is_a_new_generation(make_lab):
    """The next packet is an exception, and is decided anew."""
    recorder = TraceRecorder()
    with Simulation(make_lab(PING.replace("4", "40")), observer=recorder) as simulation:
        simulation.run_until(0.1)
        before = find(flow_table(recorder.events), "a", Direction.EGRESS, "10.0.0.4", "10.0.0.5")
        simulation.set("prod", "encryption.enabled=false")
        simulation.run_until(60.0)
        assert simulation.has_ended
    after = find(flow_table(recorder.events), "a", Direction.EGRESS, "10.0.0.4", "10.0.0.5")
    assert after.generation == before.generation + 1
    assert (before.verdict, after.verdict) == (Verdict.ENCRYPT, Verdict.CLEAR)
    assert after.packets == 40
