"""Type of service across the fabric, by both paths of a card: out, and what the fabric made of it in again."""

import numpy as np
import pytest

from dtls_emu.testing.packets import A2, A6, B6, FLOWS, A, B, C, tcp, udp
from dtls_emu.testing.wire import make_topology
from dtls_emu.vocabulary import DropReason
from dtls_emu.wire.checksum import internet_checksum
from dtls_emu.wire.ecn_kernels import type_of_service
from dtls_emu.wire.packet import fragments, with_tos


NOT_ECT, ECT_1, ECT_0, CE = range(4)
DSCP = 46 << 2
BACKENDS = [pytest.param("ipsec-mb", marks=pytest.mark.ipsec_mb), "null"]
FIGURE_4: dict[int, list[int | None]] = {  # RFC 6040: inside, then outside Not-ECT, ECT(1), ECT(0), CE
    NOT_ECT: [NOT_ECT, NOT_ECT, NOT_ECT, None],
    ECT_1: [ECT_1, ECT_1, ECT_1, CE],
    ECT_0: [ECT_0, ECT_1, ECT_0, CE],
    CE: [CE, CE, CE, CE],
}


def service(packet):
    return int(type_of_service(np.frombuffer(packet, np.uint8), 0))


def data_services(wire):
    """Types of service of the datagrams that carried data."""
    found = zip(wire.datagrams, wire.services, strict=True)
    return [tos for (*_, datagram), tos in found if datagram in {each[3] for each in wire.data()}]


@pytest.mark.parametrize("encrypted", [True, False])
@pytest.mark.parametrize(
    ("knob", "outside"),
    [(0, [0, 1, 2, 3]), (8, [32, 33, 34, 35]), ("copy", [DSCP, DSCP | 1, DSCP | 2, DSCP | 3])],
)
def test_ecn_is_copied_out_and_dscp_is_as_the_profile_says(make_twins, encrypted, knob, outside):
    """RFC 6040 4.1 in normal mode; of both IP versions, TCP, UDP, ICMP, by the slow path and the fast."""
    twins = make_twins("null", encrypted=encrypted, outer_dscp=knob)
    twins.offload(*FLOWS)
    seen = [len(data_services(wire)) for wire in twins]
    sent = [with_tos(packet, DSCP | ecn) for packet in FLOWS for ecn in range(4)]
    for packet in sent:
        twins.send("a", packet)
    twins.agree()
    for wire, before in zip(twins, seen, strict=True):
        assert data_services(wire)[before:] == outside * len(FLOWS)
        assert wire.delivered == {"b": sent}


@pytest.mark.parametrize("encrypted", [True, False])
def test_handshakes_and_packets_that_waited_for_them(make_wire, encrypted):
    """What is a tunnel's own has none; a packet that waits keeps its."""
    wire = make_wire(encrypted=encrypted, outer_dscp="copy")
    packet = with_tos(udp(), DSCP | ECT_0)
    wire.send("a", packet)
    assert wire.delivered == {"b": [packet]}
    assert wire.services == [0] * (len(wire.services) - 1) + [DSCP | ECT_0]


@pytest.mark.parametrize("encrypted", [True, False])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("outer", range(4))
def test_marks_of_the_fabric_are_combined_with_those_inside(make_twins, outer, encrypted, backend):
    """RFC 6040, figure 4, on both paths: what comes out has a right checksum, and the DSCP that it went in with."""
    twins = make_twins(backend, encrypted=encrypted)
    twins.offload(*FLOWS)
    for wire in twins:
        wire.outer_tos = lambda _tos: 0x20 | outer
    expected = []
    for packet in FLOWS:
        for inner in range(4):
            twins.send("a", *[with_tos(packet, DSCP | inner)] * 3)
            if (combined := FIGURE_4[inner][outer]) is not None:
                expected += [with_tos(packet, DSCP | combined)] * 3
    twins.agree()
    assert twins.fast.delivered == {"b": expected}
    assert all(internet_checksum(each[:20]) == 0 for each in expected if each[0] >> 4 == 4)
    dropped = {DropReason.CE_NOT_CAPABLE: 3 * len(FLOWS)} if outer == CE else {}
    assert twins.fast.reasons() == twins.slow.reasons() == dropped
    carried = twins.fast.cards["h2"].carried_in
    assert carried >= 3 * len(FLOWS) * (3 if outer == CE else 4)


@pytest.mark.parametrize("encrypted", [True, False])
def test_rows_of_one_flow_that_differ_keep_their_order(make_twins, encrypted):
    """A burst has one type of service outside, so it is split where that changes, and only there."""
    twins = make_twins("null", encrypted=encrypted, outer_dscp="copy")
    other = udp(destination=C)
    services = [0, 0, 2, 2, 3, 2, 0, DSCP, DSCP, 0]
    rows = [with_tos(udp(payload=bytes([n]) * 128), tos) for n, tos in enumerate(services)]
    for _ in range(3):
        for wire in twins:
            wire.delivered.clear()
            wire.datagrams.clear()
            wire.services.clear()
        twins.send("a", *rows[:4], other, *rows[4:])
    for wire in twins:
        assert wire.delivered == {"b": rows, "c": [other]}
        to_b = [
            tos
            for (_, _, (address, _), _), tos in zip(wire.datagrams, wire.services, strict=True)
            if address[-1] == "2"
        ]
        assert to_b == services
    for source, address in (("a2", A2), ("a", A)):
        twins.send(source, with_tos(udp(source=address, destination=B), CE))
    assert not twins.fast.drops


@pytest.mark.parametrize("encrypted", [True, False])
def test_super_packets_are_copied_marked_and_joined(make_twins, encrypted):
    """All rows of one have its mark; what was marked on the way is joined with its like."""
    twins = make_twins("null", encrypted=encrypted)
    twins.offload(tcp(), tcp(source=A6, destination=B6))
    for wire in twins:
        wire.cards["h2"].merges_for.add("b")
    for packet in (tcp(rows=6), tcp(rows=6, source=A6, destination=B6)):
        for outer, came in ((None, ECT_0), (CE, CE), (ECT_1, ECT_1)):
            for wire in twins:
                wire.delivered.clear()
                wire.services.clear()
                wire.outer_tos = int if outer is None else lambda _tos, outer=outer: outer
            twins.hand_over("a", with_tos(packet, DSCP | ECT_0), 1000)
            assert twins.fast.services == twins.slow.services == [ECT_0] * 6
            (joined,) = twins.slow.delivered["b"]
            assert service(joined) == DSCP | came
            assert joined[0] >> 4 == 6 or internet_checksum(joined[:20]) == 0
            assert [service(each) for each in twins.fast.delivered["b"]] == [DSCP | came] * 6


def test_packets_of_different_marks_are_not_joined(make_wire):
    """Each of a receive's runs is its own."""
    wire = make_wire()
    rows = [tcp(sequence=1000 * n, identification=n) for n in range(6)]
    wire.send("a", rows[0])
    wire.cards["h2"].merges_for.add("b")
    wire.delivered.clear()
    wire.send("a", *rows[:2], *[with_tos(row, CE) for row in rows[2:4]], *rows[4:])
    assert [(len(each) - 40, service(each)) for each in wire.delivered["b"]] == [
        (2000, 0),
        (2000, CE),
        (2000, 0),
    ]


def test_fragments_in_clear_are_marked_too(make_wire):
    """There is a field in each (RFC 3168 5.3)."""
    wire = make_wire(encrypted=False)
    wire.outer_tos = lambda _tos: CE
    pieces = [with_tos(each, ECT_0) for each in fragments(udp(payload=bytes(900)), size=300)]
    for piece in pieces:
        wire.send("a", piece)
    assert wire.delivered["b"] == [with_tos(each, CE) for each in pieces]


def test_padded_packets_are_marked_too(make_wire):
    """And cut."""
    wire = make_wire()
    wire.outer_tos = lambda _tos: CE
    packet = with_tos(udp(), ECT_1)
    wire.send("a", packet + b"padding")
    wire.send("a", packet, packet + b"padding"[:0])
    assert wire.delivered["b"] == [with_tos(udp(), CE)] * 3


def test_the_knob_may_be_changed_while_flows_are_offloaded(make_offloaded_wire):
    """Kernels ask for it at each packet."""
    wire = make_offloaded_wire("null")
    packet = with_tos(udp(), DSCP | ECT_0)
    wire.offload(packet)
    wire.services.clear()
    for knob, outside in (("copy", DSCP | ECT_0), (1, 4 | ECT_0), (0, ECT_0)):
        for card in wire.cards.values():
            card.update(make_topology(outer_dscp=knob))
        before = wire.cards["h1"].carried_out
        wire.send("a", packet)
        wire.send("a", packet)
        assert wire.cards["h1"].carried_out == before + 1
        assert wire.services == [outside] * 2
        wire.services.clear()
