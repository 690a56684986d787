"""The fast path: what kernels take and what they leave, and that nobody can tell which of the paths it was."""

from __future__ import annotations

from collections import Counter

import pytest

from dtls_emu.lab.vocabulary import DropReason
from dtls_emu.nic.egress import VXLAN_PORT
from dtls_emu.wire.overhead import ENCAPSULATION
from dtls_emu.wire.packet import udp_packet
from dtls_emu.wire.protocol import MAX_PLAINTEXT
from dtls_emu.wire.vxlan import encapsulation_header


A, A2, B, C = "10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.7"
A6, B6 = "fd00::4", "fd00::6"
HOSTS = {"h1": "10.255.0.1", "h2": "10.255.0.2", "h3": "10.255.0.3"}
SECRET = bytes(range(64, 192))
BACKENDS = [pytest.param("ipsec-mb", marks=pytest.mark.ipsec_mb), "null"]


def udp(source=A, destination=B, payload=SECRET, sport=40_000, **options):
    return udp_packet(source, destination, sport, 9, payload, **options)


def frame(packet, vni=5001):
    """A VXLAN frame, with the MAC addresses of nobody."""
    version = packet[0] >> 4
    return encapsulation_header(vni, bytes(6), bytes(6), version).tobytes() + packet


# ---------------------------------------------------------------------------------------- from a VM


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_packet_that_no_record_can_hold_is_too_big_on_either_path(make_offloaded_wire, backend):
    """On a link that would carry it: 2^14 bytes of plaintext is the most (RFC 5246 6.2.1)."""
    wire = make_offloaded_wire(backend, mtu=65_535)
    most = MAX_PLAINTEXT - ENCAPSULATION - 28
    wire.send("a", udp(payload=bytes(most + 1)))
    for _ in range(3):
        wire.send("a", udp(payload=bytes(most)))
    wire.send("a", udp(payload=bytes(most + 1)))
    assert wire.delivered == {"a": wire.delivered["a"], "b": [udp(payload=bytes(most))] * 3}
    assert wire.drops == [("h1", DropReason.TOO_BIG, 1, 0)] * 2
    assert wire.cards["h1"].carried_out == 1


# ------------------------------------------------------------------------------------ from the fabric


@pytest.mark.parametrize("in_clear", [False, True])
def test_a_frame_that_says_it_is_from_a_neighbour_is_dropped_and_breaks_nothing(
    make_offloaded_wire, in_clear
):
    """Of two VMs on one host neither can be heard from the fabric; there is no way to offload such a flow to."""
    wire = make_offloaded_wire("null")
    wire.send("a", udp())
    forged = frame(udp(A2, A))
    association = wire.cards["h2"].tunnels["h1"].active
    for _ in range(3):
        if in_clear:
            wire.inject("h1", (HOSTS["h2"], 5), VXLAN_PORT, forged)
        else:
            record = association._seal_control(23, forged)
            wire.inject("h1", (HOSTS["h2"], association.local_port), association.remote_port, record)
    assert Counter(reason for _, reason, *_ in wire.drops) == {DropReason.FOREIGN_SOURCE: 3}
    assert "a" not in wire.delivered
