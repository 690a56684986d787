"""The compiled loop of a host: what it leaves to Python, what it counts, and that nobody can tell it apart."""

from __future__ import annotations

import numpy as np
import pytest

from dtls_emu.lab.vocabulary import DropReason
from dtls_emu.nic.effects import Transmit
from dtls_emu.testing.rig import PORTS, ping
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.checksum import internet_checksum
from dtls_emu.wire.headers import MAX_PACKET
from dtls_emu.wire.packet import tcp_packet
from dtls_emu.wire.virtio import NEEDS_CHECKSUM, VNET_FIELDS


def warm(rig, *ways):
    """Have flows of pings offloaded, at both ends."""
    for source, destination in ways or (("a", "b"), ("b", "a")):
        for _ in range(3):
            rig.guests[source].send(ping(source, destination))
            rig.settle()
        assert len(rig.guests[destination].received()) == 3


def own_port(rig, host):
    """The port of a host's own association."""
    (port,) = set(rig.fabrics[host].ports) - set(PORTS)
    return port


def throw(rig, datagrams, source_port=4433, port=4433):
    """Host h2 sends something to h1 that no card of it has asked for."""
    address = rig.topology.hosts["h1"].underlay
    rig.fabrics["h2"].transmit(Transmit(Burst.from_packets(datagrams), source_port, (address, port)))


# ---------------------------------------------------------------------------------------- hostile guests


@pytest.mark.parametrize("field", [6, 14, 18, 22], ids=["fragment", "source", "destination", "port"])
def test_a_checksum_that_is_written_over_a_header_is_looked_at_after_it_is_written(make_rig, field):
    """A guest says where the sum goes: it must not turn a packet that passed into one that would not have."""
    rig = make_rig()
    rig.guests["a"].send(ping("a", "b"))
    rig.settle()
    rig.guests["a"].send(ping("a", "b"))
    rig.settle()
    assert len(rig.guests["b"].received()) == 2
    wanted = {6: 0x2000, 14: 0x0005, 18: 0x0007, 22: 0x0009}[field]  # fragment, of a2, for c, to another port
    packet = bytearray(ping("a", "b"))
    for filler in range(1 << 16):
        packet[30:32] = filler.to_bytes(2)
        if internet_checksum(packet) == wanted:
            break
    rig.guests["a"].send(bytes(packet), VNET_FIELDS.pack(NEEDS_CHECKSUM, 0, 0, 0, 0, field))
    rig.settle()
    counters = rig.agents["h1"].card.egress.counters
    if field == 22:
        (arrived,) = rig.guests["b"].received()
        assert arrived[22:24] == wanted.to_bytes(2)
        assert len(rig.agents["h1"].card.egress.flows) == 2
        return
    assert rig.guests["b"].received() == []
    expected = {6: DropReason.FRAGMENT, 14: DropReason.SPOOFED_SOURCE, 18: None}[field]
    assert counters.dropped == ({} if expected is None else {expected: 1})
    assert counters.waiting == (expected is None)  # for the tunnel to the other destination's host


def test_a_begun_checksum_is_finished_once(make_rig):
    """Whichever path takes the packet: the first of a flow, and the next."""
    rig = make_rig()
    packet = bytearray(ping("a", "b"))
    whole = bytes(packet)
    packet[26:28] = (~internet_checksum(whole[12:20] + bytes((0, 17)) + whole[24:26]) & 0xFFFF).to_bytes(2)
    for _ in range(4):
        rig.guests["a"].send(bytes(packet), VNET_FIELDS.pack(NEEDS_CHECKSUM, 0, 0, 0, 20, 6))
        rig.settle()
    assert rig.guests["b"].received() == [whole] * 4


def test_the_longest_super_packet_of_ipv6_is_not_cut_off(make_rig):
    """Its length field counts from behind the header: 40 bytes more than IPv4 can have."""
    rig = make_rig()
    payload = np.arange((MAX_PACKET - 20) // 2 + 1, dtype=np.uint16).tobytes()[: MAX_PACKET - 20]
    packet = tcp_packet("fd00::4", "fd00::6", 1000, 2000, payload)
    for _ in range(3):
        rig.guests["a"].send(packet, VNET_FIELDS.pack(NEEDS_CHECKSUM, 4, 60, 1400, 40, 16))
        rig.settle()
    assert rig.agents["h1"].card.egress.counters.dropped == {}
    assert b"".join(part[60:] for part in rig.guests["b"].received()) == payload * 3


# -------------------------------------------------------------------------------------------- fairness


def test_a_flood_of_one_port_does_not_starve_another(make_rig):
    """Although each of its datagrams is an exception: after two turns the other port has had one."""
    rig = make_rig()
    rig.guests["a"].send(ping("a", "b"))
    rig.settle()
    rig.guests["b"].received()
    for _ in range(100):
        throw(rig, [b"\x17" + bytes(50)])
    rig.guests["b"].send(ping("b", "a"))
    while rig.agents["h2"].turn(wait=False):
        pass
    for _ in range(2):
        rig.agents["h1"].turn(wait=False)
    assert rig.guests["a"].received() == [ping("b", "a")]
    assert rig.agents["h1"].card.ingress.counters.dropped.total() < 100
    rig.settle()
