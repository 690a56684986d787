"""Type of service through whole loops of two hosts, interpreted and compiled: what is on the fabric, and what arrives."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest

from dtls_emu.capture.datagrams import Datagrams
from dtls_emu.capture.pcap import encode_pcap
from dtls_emu.fabric.offload import read_control
from dtls_emu.machine.netns import entered
from dtls_emu.nic.effects import Transmit
from dtls_emu.simulation.guests.guest import Guest
from dtls_emu.simulation.simulation import simulate
from dtls_emu.testing.rig import PORTS, ping, super_packet
from dtls_emu.vocabulary import DropReason
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.checksum import internet_checksum
from dtls_emu.wire.packet import udp_packet, with_tos


NOT_ECT, ECT_1, ECT_0, CE = range(4)
DSCP = 46 << 2


def carry(rig, outer=None):
    """What h1 sends to h2 is caught, and sent on with another type of service, or with its own; which each has had."""
    caught = catch(rig)
    for burst, source, port in caught:
        tos = burst.tos if outer is None else outer
        send_on(rig, Burst.from_datagrams(burst.buffer, burst.size, tos=tos), source, port)
    rig.settle()
    return [burst.tos for burst, *_ in caught for _ in range(burst.count)]


def catch(rig):
    """Receives that h2 would have of what h1 sends: a burst, the sender's port and its own."""
    while rig.agents["h1"].turn(wait=False):
        pass
    caught = []
    for port, entry in rig.fabrics["h2"]._ports.items():
        with suppress(BlockingIOError):
            while True:
                data, control, _, source = entry.sock.recvmsg(1 << 16, 128)
                rows = np.frombuffer(bytearray(data), np.uint8)
                segment, tos = read_control(control)
                caught.append((Burst.from_datagrams(rows, segment, tos=tos), source[1], port))
    return caught


def send_on(rig, burst, source, port):
    """As if h1 had sent it."""
    address = rig.topology.hosts["h2"].underlay
    rig.fabrics["h1"].transmit(Transmit(burst, source, (address, port)))


@pytest.fixture(params=["IPv4", pytest.param("IPv6", marks=pytest.mark.root)])
def make_underlay_rig(request, make_rig):
    """Make a rig over fabrics of both IP versions."""
    if request.param == "IPv4":
        yield make_rig
        return
    name, ip = request.getfixturevalue("namespace")
    for number in (1, 2, 3):
        ip(f"address add fd00:10::{number}/128 dev lo nodad")
    underlays = {f"h{number}": f"fd00:10::{number}" for number in (1, 2, 3)}
    with entered(name):
        yield lambda **options: make_rig(underlays=underlays, **options)


@pytest.mark.parametrize("encrypted", [True, False])
@pytest.mark.parametrize(("knob", "kept", "added"), [(0, 0x03, 0), ("copy", 0xFF, 0), (10, 0x03, 40)])
def test_the_fabric_sees_ecn_and_the_dscp_of_the_profile(make_underlay_rig, encrypted, knob, kept, added):
    """Packets of many types of service in one turn: each datagram has its own, and none that of another."""
    rig = make_underlay_rig(encrypted=encrypted, outer_dscp=knob)
    rig.warm()
    sent = [
        with_tos(ping("a", "b", number), tos)
        for number, tos in enumerate([0, 0, 2, 2, 2, 3, 1, 0xB8, 0xBA, 0, 0xFF, 2] * 3)
    ]
    for packet in sent:
        rig.guests["a"].send(packet)
    assert carry(rig) == [packet[1] & kept | added for packet in sent]
    arrived = [packet for whole in rig.guests["b"].received() for packet in apart(whole)]
    assert [(each[1], each[28:]) for each in arrived] == [(each[1], each[28:]) for each in sent]


def apart(whole):
    """Pings of a super-packet."""
    return [whole[:28] + whole[at : at + 20] for at in range(28, len(whole), 20)]


@pytest.mark.parametrize("encrypted", [True, False])
@pytest.mark.parametrize("inner", range(4))
@pytest.mark.parametrize("outer", range(4))
def test_marks_are_combined_as_in_rfc_6040(make_rig, inner, outer, encrypted):
    """Of packets and super-packets; on flows that are known, and beside one whose packets cannot be marked."""
    expected = {
        (NOT_ECT, CE): None,
        (ECT_0, ECT_1): ECT_1,
        **{(each, CE): CE for each in (ECT_0, ECT_1, CE)},
    }.get((inner, outer), inner)
    rig = make_rig(encrypted=encrypted)
    rig.warm()
    packet, header = super_packet(5)
    for _ in range(2):
        for _ in range(3):
            rig.guests["a"].send(with_tos(ping("a", "b"), DSCP | inner))
        rig.guests["a"].send(with_tos(packet, DSCP | inner), header)
        assert carry(rig, DSCP | outer) == [inner] * 8
        arrived = rig.guests["b"].received()
        assert {each[1] for each in arrived} == ({DSCP | expected} if expected is not None else set())
        assert all(internet_checksum(each[:20]) == 0 for each in arrived)
        assert sum(len(each[28:]) for each in arrived if each[9] == 17) == (60 if arrived else 0)
        assert b"".join(each[40:] for each in arrived if each[9] == 6) == (packet[40:] if arrived else b"")
    dropped = {DropReason.CE_NOT_CAPABLE: 16} if expected is None else {}
    assert rig.agents["h2"].card.ingress.counters.dropped == dropped


@pytest.mark.parametrize("encrypted", [True, False])
def test_one_that_cannot_be_marked_costs_its_neighbours_nothing(make_rig, encrypted):
    """A receive of which some rows are ECN-capable: those arrive marked, the rest is dropped and counted."""
    rig = make_rig(encrypted=encrypted, outer_dscp=0)
    rig.warm()
    rows = [with_tos(ping("a", "b", number), number % 3) for number in range(9)]
    for packet in rows:
        rig.guests["a"].send(packet)
    caught = catch(rig)
    burst = Burst.from_packets([row.tobytes() for each, *_ in caught for row in each.rows()])
    burst.tos = CE
    send_on(rig, burst, *caught[0][1:])
    rig.settle()
    arrived = [packet for whole in rig.guests["b"].received() for packet in apart(whole)]
    assert [(each[1], each[28:]) for each in arrived] == [
        (CE, row[28:]) for number, row in enumerate(rows) if number % 3
    ]
    assert rig.agents["h2"].card.ingress.counters.dropped == {DropReason.CE_NOT_CAPABLE: 3}


@pytest.mark.parametrize("encrypted", [True, False])
def test_an_impaired_link_of_real_hosts_marks(make_rig, encrypted):
    """`ecn_mark` of the lab, by the sending card."""
    rig = make_rig(encrypted=encrypted, link={"ecn_mark": 1.0})
    for _ in range(3):
        for tos in (0, 1, 2, 3):
            rig.guests["a"].send(with_tos(ping("a", "b"), tos))
            rig.settle()
            rig.pass_time(0.001)
    assert [each[1] for each in rig.guests["b"].received()] == [0, CE, CE, CE] * 3
    assert rig.agents["h1"].links.statistics()["h2"].marked == 6
    assert PORTS[1] in rig.fabrics["h1"].ports


@pytest.mark.parametrize("enabled", ["true", "false"])
def test_a_simulated_link_marks(make_lab, monkeypatch, enabled):
    """From guest to guest, and shown in the trace."""
    services, outside = [], []
    receive = Guest.receive

    def watch(guest, burst, now, **about):
        services.extend(int(row[1]) for row in burst.rows())
        return receive(guest, burst, now, **about)

    monkeypatch.setattr(Guest, "receive", watch)
    packets = [with_tos(udp_packet("10.0.0.4", "10.0.0.5", 1, 2, bytes(99)), DSCP | ecn) for ecn in range(4)]
    path = make_lab.folder / "marked.pcap"
    path.write_bytes(encode_pcap([(number / 100, packet) for number, packet in enumerate(packets * 5)]))
    lab = make_lab(
        "name: c, kind: pcap, from: a, file: marked.pcap, rewrite: none",
        enabled=enabled,
        link="ecn_mark: 100%",
        overrides="outer_dscp: 1",
    )
    datagrams = Datagrams()
    outcome = simulate(lab, observer=datagrams)
    outside = [(each.sent.tos, each.fate.marked) for each in datagrams.seen]
    assert services == [DSCP, DSCP | CE, DSCP | CE, DSCP | CE] * 5
    data = [each for each in outside if each[0]]
    assert data == [(4, False), (5, True), (6, True), (7, False)] * 5
    assert outcome.items[0].delivered == 20
