"""Packet too big: who gets it, what it says, and who never gets one."""

from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import ICMPv6ND_Redirect, ICMPv6PacketTooBig, ICMPv6TimeExceeded, IPv6

from dtls_emu.testing.present import present
from dtls_emu.vocabulary import FragmentShape
from dtls_emu.wire.icmp import ErrorLimit, packet_too_big, pull_packet_too_big_untrusted
from dtls_emu.wire.packet import fragments, icmp_echo, icmp_packet, tcp_packet, udp_packet
from dtls_emu.wire.parse import parse_packet_untrusted


A4, B4, A6, B6 = "10.0.0.4", "10.0.1.5", "fd00::4", "fd00::5"


def test_ipv4_answer_is_right_for_scapy():
    """RFC 1191 4: type 3 code 4 with the MTU; RFC 1812: at most 576 bytes; from the destination's address."""
    packet = udp_packet(A4, B4, 1, 2, b"x" * 1400)
    answer = present(packet_too_big(packet, 1339))
    read = IP(answer)
    assert (read.src, read.dst, read[ICMP].type, read[ICMP].code) == (B4, A4, 3, 4)
    assert read[ICMP].nexthopmtu == 1339
    assert len(answer) == 576
    assert answer[28:] == packet[:548]
    checksums = read.chksum, read[ICMP].chksum
    del read.chksum, read[ICMP].chksum
    again = IP(bytes(read))
    assert (again.chksum, again[ICMP].chksum) == checksums


def test_ipv6_answer_is_right_for_scapy():
    """RFC 4443 3.2: type 2 code 0 with the MTU, as much of the packet as fits 1280 bytes."""
    packet = tcp_packet(A6, B6, 1, 2, b"x" * 1400)
    answer = present(packet_too_big(packet, 1319))
    read = IPv6(answer)
    assert (read.src, read.dst, read[ICMPv6PacketTooBig].mtu) == (B6, A6, 1319)
    assert len(answer) == 1280
    assert answer[48:] == packet[:1232]
    checksum = read[ICMPv6PacketTooBig].cksum
    del read[ICMPv6PacketTooBig].cksum
    assert IPv6(bytes(read))[ICMPv6PacketTooBig].cksum == checksum


def test_a_small_packet_is_quoted_whole():
    """At least header and 8 bytes (RFC 792), here all of it; a router may say who it is."""
    packet = udp_packet(A4, B4, 1, 2, b"x" * 100)
    answer = present(packet_too_big(packet, 68, ip_address("10.0.0.1")))
    assert answer[28:] == packet
    assert IP(answer).src == "10.0.0.1"


def big(ip, **options):
    ends = (A4, B4) if ip == 4 else (A6, B6)
    fields = dict(zip(("source", "destination"), ends, strict=True)) | options
    return udp_packet(**fields, sport=1, dport=2, payload=b"x" * 1400)


SILENT = {
    "DF is not set": big(4, df=False),
    "v4 from nobody": big(4, source="0.0.0.0"),
    "v4 from a multicast group": big(4, source="224.0.0.1"),
    "v4 from broadcast": big(4, source="255.255.255.255"),
    "v4 from loopback": big(4, source="127.0.0.1"),
    "v4 to a multicast group": big(4, destination="224.0.0.1"),
    "v4 to broadcast": big(4, destination="255.255.255.255"),
    "v6 from nobody": big(6, source="::"),
    "v6 from a multicast group": big(6, source="ff02::1"),
    "v6 to a multicast group": big(6, destination="ff02::1"),
    "v4 fragment": fragments(big(4), [FragmentShape.V4_FIRST], size=1000)[0],
    "v6 fragment": fragments(big(6), [FragmentShape.V6_ATOMIC], size=1000)[0],
    "lying length": big(4)[:-1],
    "nothing": b"",
}


@pytest.mark.parametrize("packet", SILENT.values(), ids=SILENT)
def test_no_error_is_sent_where_none_may_be(packet):
    """RFC 1122 3.2.2, RFC 4443 2.4 e."""
    assert packet_too_big(packet, 1339) is None


@pytest.mark.parametrize("kind", [3, 4, 5, 11, 12])
def test_no_error_about_an_icmp_error(kind):
    """Two cards would answer each other for ever; about a ping there is one."""
    assert packet_too_big(icmp_packet(A4, B4, bytes([kind, 0, 0, 0]) + bytes(1400)), 1339) is None
    assert packet_too_big(icmp_echo(A4, B4, 1, 1, bytes(1400)), 1339) is not None


def test_no_error_about_an_icmpv6_error():
    """Types below 128 and redirects (RFC 4443 2.4 e); about a ping there is one."""
    for layer in (ICMPv6PacketTooBig(), ICMPv6TimeExceeded(), ICMPv6ND_Redirect()):
        assert packet_too_big(bytes(IPv6(src=A6, dst=B6) / layer / (b"x" * 1400)), 1319) is None
    assert packet_too_big(icmp_packet(A6, B6, b""), 1319) is None
    assert packet_too_big(icmp_echo(A6, B6, 1, 1, bytes(1400)), 1319) is not None


@pytest.mark.parametrize("ip", [4, 6])
def test_the_guest_reads_what_the_card_wrote(ip):
    """MTU and quoted packet."""
    packet = big(ip)
    answer = present(packet_too_big(packet, 1300))
    read = present(pull_packet_too_big_untrusted(present(parse_packet_untrusted(answer))))
    assert read.mtu == 1300
    assert packet.startswith(bytes(read.quoted))


@pytest.mark.parametrize("ip", [4, 6])
def test_a_damaged_answer_is_not_believed(ip):
    """A wrong checksum, and anything that is another message."""
    answer = bytearray(present(packet_too_big(big(ip), 1300)))
    answer[-1] ^= 1
    assert pull_packet_too_big_untrusted(present(parse_packet_untrusted(answer))) is None
    assert pull_packet_too_big_untrusted(present(parse_packet_untrusted(big(ip)))) is None


@settings(deadline=None)
@given(
    data=st.binary(max_size=100),
    at=st.integers(0, 1427),
    value=st.integers(0, 255),
    ip=st.sampled_from([4, 6]),
)
def test_any_packet_is_answered_or_not(data, at, value, ip):
    """Never raises, and never answers with something that is too big itself."""
    mutated = bytearray(big(ip))
    mutated[at] = value
    for packet in (data, bytes(mutated)):
        answer = packet_too_big(packet, 1300)
        if answer is not None:
            assert len(answer) <= (576 if answer[0] >> 4 == 4 else 1280)
            read = pull_packet_too_big_untrusted(present(parse_packet_untrusted(answer)))
            assert present(read).mtu == 1300


def test_errors_are_limited_on_average_and_may_come_in_bursts():
    """A token bucket (RFC 4443 2.4 f): what was not used for long is there at once, but not more than that."""
    limit = ErrorLimit(rate=10, burst=5)
    assert [limit.allows(100.0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert [limit.allows(100.05), limit.allows(100.125), limit.allows(100.125)] == [False, True, False]
    assert [limit.allows(1000.0) for _ in range(7)] == [True] * 5 + [False] * 2


def test_a_limit_is_not_replenished_by_a_clock_that_stands_or_goes_back():
    """Nor does it raise."""
    limit = ErrorLimit(rate=10, burst=1)
    assert [limit.allows(now) for now in (5.0, 5.0, 4.0, 4.0625, 4.125)] == [True, False, False, False, True]
