"""Readers: what builders and scapy built is read, everything else is refused."""

from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop

from dtls_emu.testing.present import present
from dtls_emu.wire.packet import icmp_echo, tcp_packet, udp_packet
from dtls_emu.wire.parse import (
    Echo,
    TcpSegment,
    UdpDatagram,
    is_intact,
    parse_packet_untrusted,
    pull_echo_untrusted,
    pull_tcp_untrusted,
    pull_udp_untrusted,
)


ENDS = [("10.0.0.4", "10.0.1.5"), ("fd00::4", "fd00::5")]
PULLS = [pull_udp_untrusted, pull_tcp_untrusted, pull_echo_untrusted]


def parsed(data):
    """What a packet that must be read says."""
    return present(parse_packet_untrusted(data))


@pytest.mark.parametrize("ends", ENDS)
def test_udp_is_read(ends: tuple[str, str]):
    """Addresses, ports, payload, time to live."""
    packet = parsed(udp_packet(*ends, 5, 6, b"abc", ttl=9))
    assert (packet.source, packet.destination) == tuple(map(ip_address, ends))
    assert (packet.protocol, packet.ttl, packet.dont_fragment) == (17, 9, True)
    assert pull_udp_untrusted(packet) == UdpDatagram(5, 6, memoryview(b"abc"))
    assert [pull(packet) is None for pull in PULLS] == [False, True, True]


@pytest.mark.parametrize("ends", ENDS)
def test_tcp_is_read(ends: tuple[str, str]):
    """All fields, with options."""
    packet = tcp_packet(
        *ends, 5, 6, b"abc", sequence=1, acknowledgement=2, flags=0x18, window=3, options=b"\x01" * 4
    )
    segment = pull_tcp_untrusted(parsed(packet))
    options = memoryview(b"\x01" * 4)
    assert segment == TcpSegment(5, 6, 1, 2, 0x18, 3, options, memoryview(b"abc"))


@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize("reply", [True, False])
def test_echo_is_read(ends: tuple[str, str], reply):
    """Requests and replies."""
    packet = parsed(icmp_echo(*ends, 5, 6, b"abc", reply=reply))
    assert pull_echo_untrusted(packet) == Echo(reply, 5, 6, memoryview(b"abc"))


def test_options_and_extension_headers_are_passed():
    """What scapy puts in front of the transport header."""
    packet = parsed(bytes(IP(options=[IPOption_NOP()] * 4) / UDP(sport=5, dport=6) / b"abc"))
    assert pull_udp_untrusted(packet) == UdpDatagram(5, 6, memoryview(b"abc"))
    packet = parsed(bytes(IPv6() / IPv6ExtHdrHopByHop() / TCP(sport=5, dport=6) / b"abc"))
    assert present(pull_tcp_untrusted(packet)).payload.tobytes() == b"abc"


@pytest.mark.parametrize(
    "packet",
    [
        bytes(IP(flags="MF") / UDP()),
        bytes(IP(frag=3) / UDP()),
        bytes(IPv6() / IPv6ExtHdrFragment() / UDP()),
        udp_packet(*ENDS[0], 1, 2)[:-1],
        udp_packet(*ENDS[1], 1, 2)[:-1],
        b"\x46" + udp_packet(*ENDS[0], 1, 2)[1:20],
        b"",
    ],
)
def test_fragments_and_lies_are_refused(packet):
    """A guest gets whole packets only."""
    assert parse_packet_untrusted(packet) is None


@pytest.mark.parametrize("ends", ENDS)
def test_padding_is_no_part_of_a_packet(ends: tuple[str, str]):
    """Behind the packet's end may be anything; behind its datagram's, too (RFC 9868), which no checksum covers."""
    packet = udp_packet(*ends, 1, 2, b"abc")
    assert parsed(packet + b"padding") == parsed(packet)
    longer = bytearray(packet + b"surplus")
    at = 2 if longer[0] >> 4 == 4 else 4
    longer[at : at + 2] = (int.from_bytes(longer[at : at + 2]) + 7).to_bytes(2)
    assert bytes(parsed(longer + b"padding").transport).endswith(b"abcsurplus")
    assert pull_udp_untrusted(parsed(longer + b"padding")) == UdpDatagram(1, 2, memoryview(b"abc"))


@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize(
    ("build", "pull"),
    [
        (lambda near, far: udp_packet(near, far, 1, 2, b"abc"), pull_udp_untrusted),
        (lambda near, far: tcp_packet(near, far, 1, 2, b"abc"), pull_tcp_untrusted),
        (lambda near, far: icmp_echo(near, far, 1, 2, b"abc"), pull_echo_untrusted),
    ],
)
def test_each_flipped_bit_of_the_transport_is_noticed(ends, build, pull):
    """The checksum is verified, over addresses, header and payload."""
    packet = build(*ends)
    start = len(packet) - len(parsed(packet).transport)
    assert pull(parsed(packet)) is not None
    for bit in range(start * 8, len(packet) * 8):
        damaged = bytearray(packet)
        damaged[bit // 8] ^= 1 << bit % 8
        assert pull(parsed(damaged)) is None, bit


def test_udp_may_have_no_checksum_over_ipv4_only():
    """RFC 768 allows it, RFC 8200 8.1 does not."""
    for ends, accepted in zip(ENDS, (True, False), strict=True):
        packet = bytearray(udp_packet(*ends, 1, 2, b"abc"))
        packet[-5:-3] = b"\0\0"
        assert (pull_udp_untrusted(parsed(packet)) is not None) == accepted


@settings(deadline=None)
@given(
    data=st.binary(max_size=80),
    base=st.sampled_from([udp_packet(*ENDS[0], 1, 2), tcp_packet(*ENDS[1], 1, 2), icmp_echo(*ENDS[1], 1, 2)]),
    changes=st.lists(st.tuples(st.integers(0, 27), st.integers(0, 255)), max_size=3),
)
def test_any_bytes_are_read_or_refused(data, base, changes):
    """No reader ever raises."""
    mutated = bytearray(base)
    for at, value in changes:
        mutated[at] = value
    for packet in (data, mutated):
        parsed = parse_packet_untrusted(packet)
        if parsed is not None:
            assert bytes(parsed.transport) in bytes(packet)
            is_intact(parsed)
            for pull in PULLS:
                pull(parsed)
