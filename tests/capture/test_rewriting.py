"""Packets of a capture are given to VMs: who sends which, with whose addresses, and checksums that follow."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
)
from scapy.packet import Packet, Raw

from dtls_emu.capture.rewriting import rewrite
from dtls_emu.lab.loader import EXAMPLES
from dtls_emu.lab.pcap import CapturedPacket, parse_pcap
from dtls_emu.lab.topology import Vm


def make_vm(name, *addresses):
    return Vm(
        name, "h", "n", tuple(map(ip_address, addresses)), bytes(6), "", True, True, True, True, True, 1500
    )


A = make_vm("a", "10.0.0.4", "fd00::4")
B = make_vm("b", "10.0.0.5", "fd00::5")
ONLY_4 = make_vm("c", "10.0.0.6")


def rewritten(*packets, first=A, other=B):
    captured = [
        CapturedPacket(float(number), bytes(packet), number + 1) for number, packet in enumerate(packets)
    ]
    return rewrite(captured, first, other)


def test_the_side_that_speaks_first_is_taken_by_the_first_vm():
    """In each conversation, whichever way the capture looks at it."""
    client, server, resolver = "198.51.100.1", "198.51.100.2", "198.51.100.53"
    sent = rewritten(
        IP(src=client, dst=resolver) / UDP(),
        IP(src=resolver, dst=client) / UDP(),
        IP(src=client, dst=server) / TCP(),
        IP(src=server, dst=client) / TCP(),
        IP(src=resolver, dst=server) / TCP(),
        IP(src=server, dst=resolver) / TCP(),
    )
    assert [(packet.time, packet.sender) for packet in sent] == [
        (0.0, "a"),
        (1.0, "b"),
        (2.0, "a"),
        (3.0, "b"),
        (4.0, "a"),
        (5.0, "b"),
    ]
    addresses = [(IP(packet.data).src, IP(packet.data).dst) for packet in sent]
    assert addresses == [("10.0.0.4", "10.0.0.5"), ("10.0.0.5", "10.0.0.4")] * 3


PAYLOADS = st.binary(max_size=40).map(Raw)
ADDRESSES_4 = st.ip_addresses(v=4).map(str)
ADDRESSES_6 = st.ip_addresses(v=6).map(str)
TRANSPORTS = st.one_of(
    st.builds(lambda payload: UDP() / payload, PAYLOADS),
    st.builds(lambda payload: TCP(options=[("MSS", 1460)]) / payload, PAYLOADS),
)
PACKETS = st.one_of(
    st.builds(
        lambda source, destination, inner: IP(src=source, dst=destination) / inner,
        ADDRESSES_4,
        ADDRESSES_4,
        TRANSPORTS | PAYLOADS.map(lambda payload: ICMP() / payload),
    ),
    st.builds(
        lambda source, destination, extensions, inner: IPv6(src=source, dst=destination) / extensions / inner,
        ADDRESSES_6,
        ADDRESSES_6,
        st.sampled_from([Raw(b""), IPv6ExtHdrHopByHop(), IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt()]),
        TRANSPORTS | PAYLOADS.map(lambda payload: ICMPv6EchoRequest(data=bytes(payload))),
    ),
)


def with_fresh_checksums(data):
    """The packet as scapy would have made it; what an ICMP error quotes stays."""
    packet = (IP if data[0] >> 4 == 4 else IPv6)(data)
    layer: Packet = packet
    while layer and "in ICMP" not in (layer.name or ""):
        for name in ("chksum", "cksum"):
            if name in layer.fields:
                delattr(layer, name)
        layer = layer.payload
    return bytes(packet)


@given(PACKETS)
def test_checksums_follow_the_addresses(packet):
    """IPv4 header, TCP, UDP and ICMPv6, behind extension headers too: as if made anew."""
    (sent,) = rewritten(packet)
    assert sent.data == with_fresh_checksums(sent.data)
    changed = {
        index for index, (old, new) in enumerate(zip(bytes(packet), sent.data, strict=True)) if old != new
    }
    version = sent.data[0] >> 4
    assert changed.isdisjoint(range(20, 26) if version == 4 else range(8))


@pytest.mark.parametrize("name", ["http", "dns", "icmp", "ipv6"])
def test_the_shipped_captures_stay_right(name):
    """Every checksum of every packet."""
    sent = rewrite(parse_pcap((EXAMPLES / f"{name}.pcap").read_bytes()), A, B)
    assert {packet.sender for packet in sent} == {"a", "b"}
    for packet in sent:
        assert packet.data == with_fresh_checksums(packet.data)


def test_a_wrong_checksum_stays_wrong():
    """By as much as it was."""
    packet = IP(src="198.51.100.1", dst="198.51.100.2") / UDP(chksum=0x1234) / Raw(b"x")
    (sent,) = rewritten(packet)
    assert sent.data != with_fresh_checksums(sent.data)


def test_an_absent_udp_checksum_stays_absent():
    """Zero means "none" over IPv4 (RFC 768)."""
    (sent,) = rewritten(IP(src="198.51.100.1", dst="198.51.100.2") / UDP(chksum=0) / Raw(b"x"))
    assert UDP(bytes(IP(sent.data).payload)).chksum == 0


def test_a_udp_checksum_never_becomes_absent():
    """A sum that comes out as zero is written as 0xFFFF."""
    ports = UDP(sport=1, dport=2)
    sum_so_far = UDP(
        bytes(IP(bytes(IP(src="10.0.0.4", dst="10.0.0.5") / ports / Raw(b"\0\0"))).payload)
    ).chksum
    payload = Raw(sum_so_far.to_bytes(2, "big"))
    (sent,) = rewritten(IP(src="198.51.100.1", dst="198.51.100.2") / ports / payload)
    assert sent.data[26:28] == b"\xff\xff"


@pytest.mark.parametrize(
    "packet",
    [
        IP(src="198.51.100.1", dst="198.51.100.2", frag=5, proto=17) / Raw(b"\xaa" * 16),
        IPv6(src="2001:db8::1", dst="2001:db8::2") / IPv6ExtHdrFragment(offset=5, nh=17) / Raw(b"\xaa" * 16),
    ],
)
def test_a_later_fragment_has_no_checksum_to_adjust(packet):
    """Its payload stays as it is."""
    (sent,) = rewritten(packet)
    assert sent.data[-16:] == b"\xaa" * 16


def test_ipv6_needs_vms_with_ipv6():
    """The error says which frame and which VM."""
    packet = IPv6(src="2001:db8::1", dst="2001:db8::2") / UDP()
    with pytest.raises(ValueError) as caught:
        rewritten(IP() / UDP(), packet, other=ONLY_4)
    assert str(caught.value) == "frame 2 is IPv6 and VM `c` has no IPv6 address"


def test_without_another_vm_everything_is_sent_as_it_is():
    """Source address and all."""
    packets = [bytes(IP(src="198.51.100.1", dst="198.51.100.2") / UDP()), b"\x45", b"\x00\x01"]
    assert [(packet.sender, packet.data) for packet in rewritten(*packets, other=None)] == [
        ("a", data) for data in packets
    ]


@given(
    st.lists(st.binary(min_size=1, max_size=80), max_size=4) | st.lists(PACKETS.map(bytes), max_size=2),
    st.data(),
)
def test_any_packet_is_rewritten(packets, data):
    """Cut short or not: its length never changes, and nothing is raised."""
    cut = [packet[: data.draw(st.integers(1, len(packet)))] for packet in packets]
    assert [len(packet.data) for packet in rewritten(*cut)] == [len(packet) for packet in cut]
