"""Packets that are legal and rare, through whole loops of two hosts, interpreted and compiled."""

from __future__ import annotations

import pytest

from dtls_emu.testing.packets import A6, B6, A, B, route_ends, source_routed, udp
from dtls_emu.wire.virtio import GSO_TCPV4, GSO_TCPV6, NEEDS_CHECKSUM, VNET_FIELDS


@pytest.mark.parametrize("encrypted", [True, False])
@pytest.mark.parametrize(
    ("route", "kind"),
    [((A, B, "10.0.0.99"), GSO_TCPV4), ((A6, B6, "fd00::99"), GSO_TCPV6)],
    ids=["source route", "routing header"],
)
@pytest.mark.parametrize("header_length", [-1, 0, 1000])
def test_a_source_routed_super_packet_arrives_in_segments(
    make_rig, route: tuple[str, str, str], kind, encrypted, header_length
):
    """Cut where the virtio header says that TCP begins; its ``hdr_len`` is a hint, which may cover payload, too."""
    rig = make_rig(encrypted=encrypted)
    packet, (payload_at, start, field) = source_routed(*route, rows=7)
    header_length = payload_at if header_length < 0 else header_length
    header = VNET_FIELDS.pack(NEEDS_CHECKSUM, kind, header_length, 1000, start, field)
    for _ in range(4):
        rig.guests["a"].send(packet, header)
        rig.settle()
    arrived = [route_ends(each) for each in rig.guests["b"].received()]
    assert [is_right for _, is_right in arrived] == [True] * 28
    assert b"".join(payload for payload, _ in arrived) == packet[payload_at:] * 4
    assert rig.agents["h1"].card.egress.counters.dropped == {}


@pytest.mark.parametrize("to", ["10.0.0.5", "fd00::5"])
def test_a_source_routed_super_packet_goes_whole_to_a_vm_of_the_host(make_rig, to):
    """Behind a header that says what the sender's said."""
    rig = make_rig()
    source, last, kind = (A, "10.0.0.99", GSO_TCPV4) if "." in to else (A6, "fd00::99", GSO_TCPV6)
    packet, places = source_routed(source, to, last, rows=3)
    header = VNET_FIELDS.pack(NEEDS_CHECKSUM, kind, places[0], 1000, *places[1:])
    rig.guests["a"].send(packet, header)
    rig.settle()
    assert rig.guests["a2"].read() == [(header, packet)]


@pytest.mark.parametrize("encrypted", [True, False])
@pytest.mark.parametrize("ends", [(A, B), (A6, B6)], ids=["IPv4", "IPv6"])
def test_padding_is_cut_off_and_surplus_is_not(make_rig, ends: tuple[str, str], encrypted):
    """Bytes behind an IP packet are nobody's; those behind a UDP datagram in it are options (RFC 9868)."""
    rig = make_rig(encrypted=encrypted)
    plain = udp(*ends, payload=bytes(100))
    at = len(plain) - 104
    surplus = plain[:at] + (60).to_bytes(2) + plain[at + 2 :]
    for _ in range(4):
        for packet in (plain + b"padding", surplus, surplus + b"padding", surplus):
            rig.guests["a"].send(packet)
        rig.settle()
    assert rig.guests["b"].received() == [plain, surplus, surplus, surplus] * 4
    assert rig.agents["h1"].card.egress.counters.dropped == {}
