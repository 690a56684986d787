"""Builders: scapy works out the same bytes."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, defragment
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, IPv6, IPv6ExtHdrFragment, defragment6

from dtls_emu.errors import LocalProtocolError
from dtls_emu.testing.present import present
from dtls_emu.vocabulary import FragmentShape
from dtls_emu.wire import headers
from dtls_emu.wire.inspect import PacketClass, key_of
from dtls_emu.wire.packet import (
    echo_reply,
    fragment,
    fragments,
    icmp_echo,
    ip_fragment,
    ip_packet,
    tcp_packet,
    udp_packet,
    with_flow_label,
)


A4, B4, A6, B6 = "10.0.0.4", "10.0.1.5", "fd00::4", "fd00::5"
V4, V6 = IP(src=A4, dst=B4, id=77, flags="DF", ttl=9), IPv6(src=A6, dst=B6, hlim=9)
bodies = st.binary(max_size=300)


@settings(deadline=None)  # the first call compiles
@given(body=bodies, sport=st.integers(0, 65535), dport=st.integers(0, 65535))
def test_udp_is_what_scapy_builds(body, sport, dport):
    """Both IP versions, odd lengths, checksum that works out as 0."""
    layers = UDP(sport=sport, dport=dport) / body
    assert udp_packet(A4, B4, sport, dport, body, identification=77, ttl=9) == bytes(V4 / layers)
    assert udp_packet(A6, B6, sport, dport, body, ttl=9) == bytes(V6 / layers)


@settings(deadline=None)
@given(
    body=bodies, sequence=st.integers(0, 2**32 - 1), flags=st.integers(0, 255), window=st.integers(0, 65535)
)
def test_tcp_is_what_scapy_builds(body, sequence, flags, window):
    """With options and without."""
    base = {"sport": 1, "dport": 2, "seq": sequence, "ack": 5, "flags": flags, "window": window}
    fields = {"sequence": sequence, "acknowledgement": 5, "flags": flags, "window": window, "ttl": 9}
    expected = bytes(V4 / TCP(**base) / body)
    assert tcp_packet(A4, B4, 1, 2, body, identification=77, **fields) == expected
    expected = bytes(V6 / TCP(**base, options=[("MSS", 1460)]) / body)
    assert tcp_packet(A6, B6, 1, 2, body, options=bytes.fromhex("020405b4"), **fields) == expected


@settings(deadline=None)
@given(body=bodies, identifier=st.integers(0, 65535), sequence=st.integers(0, 65535))
def test_echo_is_what_scapy_builds(body, identifier, sequence):
    """Requests and replies."""
    fields = {"id": identifier, "seq": sequence}
    options: Any = {"identification": 77, "ttl": 9}
    for reply, kind, layer in ((False, 8, ICMPv6EchoRequest), (True, 0, ICMPv6EchoReply)):
        actual = icmp_echo(A4, B4, identifier, sequence, body, reply=reply, **options)
        assert actual == bytes(V4 / ICMP(type=kind, **fields) / body)
        actual = icmp_echo(A6, B6, identifier, sequence, body, reply=reply, ttl=9)
        assert actual == bytes(V6 / layer(**fields, data=body))


def test_without_df_the_flag_is_clear():
    """And only that changes, with the checksum over it."""
    assert udp_packet(A4, B4, 1, 2, df=False, ttl=9) == bytes(
        IP(src=A4, dst=B4, id=0, ttl=9) / UDP(sport=1, dport=2)
    )


def test_reply_goes_back_with_what_came():
    """Identifier, number and payload (RFC 792, RFC 4443 4.2); anything else is not answered."""
    for a, b in ((A4, B4), (A6, B6)):
        request = icmp_echo(a, b, 3, 4, b"payload")
        assert echo_reply(request) == icmp_echo(b, a, 3, 4, b"payload", reply=True)
        assert echo_reply(present(echo_reply(request))) is None
        assert echo_reply(udp_packet(a, b, 1, 2)) is None
        damaged = request[:-1] + b"X"
        assert echo_reply(damaged) is None
    assert echo_reply(b"") is None


@pytest.mark.parametrize(
    "build",
    [
        lambda: udp_packet(A4, B6, 1, 2),
        lambda: udp_packet(A4, B4, 1, 2, bytes(65536)),
        lambda: tcp_packet(A4, B4, 1, 2, options=b"\x01"),
        lambda: tcp_packet(A4, B4, 1, 2, options=bytes(44)),
        lambda: ip_packet(A6, B6, 17, bytes(65536)),
    ],
    ids=["two versions", "too long", "options of 1 byte", "options of 44 bytes", "v6 too long"],
)
def test_what_cannot_be_a_packet_is_refused(build):
    """A caller's mistake, said at once."""
    with pytest.raises(LocalProtocolError):
        build()


@pytest.mark.parametrize("mtu", [68, 576, 1280, 1499])
@pytest.mark.parametrize("length", [750, 1452, 4001])
def test_fragments_of_a_packet_make_the_packet(mtu, length):
    """As another implementation puts them together; all fit, all are fragments."""
    packet = udp_packet(A4, B4, 1, 2, b"ab" * length, df=False, identification=5)
    pieces = fragment(packet, mtu)
    assert max(map(len, pieces)) <= mtu
    assert {key_of(piece, 1)[0] for piece in pieces} == {PacketClass.FRAGMENT}
    [again] = defragment([IP(piece) for piece in pieces])
    del again.chksum
    assert bytes(again) == packet


@pytest.mark.parametrize("mtu", [1280, 1499])
def test_fragments_of_an_ipv6_packet_make_the_packet(mtu):
    """With a fragment header each (RFC 8200 4.5)."""
    packet = udp_packet(A6, B6, 1, 2, b"ab" * 2000)
    pieces = [IPv6(piece) for piece in fragment(packet, mtu, identification=9)]
    assert max(len(bytes(piece)) for piece in pieces) <= mtu
    assert {piece[IPv6ExtHdrFragment].id for piece in pieces} == {9}
    again = defragment6(pieces)
    again.plen = None
    assert bytes(again) == packet


def test_a_packet_that_fits_is_not_fragmented():
    """It is given back, and DF does not matter."""
    packet = udp_packet(A4, B4, 1, 2, bytes(100))
    assert fragment(packet, 128) == [packet]


def test_fragmentation_is_refused_where_it_is_not_allowed():
    """DF, no room for 8 bytes, and what is no plain whole packet."""
    with pytest.raises(LocalProtocolError, match="DF"):
        fragment(udp_packet(A4, B4, 1, 2, bytes(100)), 100)
    with pytest.raises(LocalProtocolError, match="MTU"):
        fragment(udp_packet(A4, B4, 1, 2, bytes(100), df=False), 27)
    [piece] = fragments(udp_packet(A4, B4, 1, 2, bytes(100)), [FragmentShape.V4_LAST], size=60)
    with pytest.raises(LocalProtocolError, match="whole packet"):
        fragment(piece, 50)
    with pytest.raises(LocalProtocolError, match="room"):
        fragments(udp_packet(A6, B6, 1, 2), size=55)


def test_each_shape_is_what_its_name_says():
    """As scapy reads it: MF and offset, fragment header, what stands in front of it, and the size."""
    packet = udp_packet(A4, B4, 1, 2, bytes(3000))
    read = {
        shape: IP(fragments(packet, [shape], size=577)[0])
        for shape in FragmentShape
        if shape.startswith("v4")
    }
    fields = {str(shape): (str(p.flags), p.frag > 0, p.len) for shape, p in read.items()}
    assert fields == {
        "v4-first": ("MF", False, 572),
        "v4-middle": ("MF", True, 572),
        "v4-last": ("", True, 577),
        "v4-tiny": ("MF", False, 28),
    }
    packet = udp_packet(A6, B6, 1, 2, bytes(3000))
    extended = {
        shape: IPv6(fragments(packet, [shape], size=577)[0])
        for shape in FragmentShape
        if shape.startswith("v6")
    }
    assert {
        str(shape): (p.nh, p[IPv6ExtHdrFragment].m, p[IPv6ExtHdrFragment].offset, len(bytes(p)))
        for shape, p in extended.items()
    } == {
        "v6-fragment": (44, 1, 0, 576),
        "v6-atomic": (44, 0, 0, 577),
        "v6-hop-by-hop": (0, 1, 0, 576),
    }


def test_shapes_of_the_other_version_are_left_out():
    """By default all shapes of the packet's own, in the order of the vocabulary."""
    assert len(fragments(udp_packet(A4, B4, 1, 2))) == 4
    assert len(fragments(udp_packet(A6, B6, 1, 2))) == 3
    assert fragments(udp_packet(A6, B6, 1, 2), [FragmentShape.V4_TINY]) == []


def test_no_two_shapes_are_of_one_datagram():
    """Each has an identification of its own, so that a receiver never puts them together."""
    numbers = [IP(piece).id for piece in fragments(udp_packet(A4, B4, 1, 2))]
    assert len(set(numbers)) == 4


@pytest.mark.parametrize("options", [b"", b"\x01" * 4, b"\x01" * 40])
@pytest.mark.parametrize(("more", "df"), [(False, False), (True, False), (True, True)])
def test_a_fragment_of_ipv4_is_what_another_parser_reads(options, more, df):
    """With options or without, at any place of its packet."""
    packet = ip_fragment(A4, B4, headers.UDP, b"x" * 16, 1480, more=more, df=df, options=options)
    read = IP(packet)
    assert (read.frag, bool(read.flags.MF), bool(read.flags.DF)) == (185, more, df)
    assert (read.ihl, read.len) == (5 + len(options) // 4, 36 + len(options))
    del read.chksum
    assert bytes(read) == packet


@pytest.mark.parametrize("options", [b"\x01", b"\x01" * 44])
def test_options_that_no_header_can_hold_are_refused(options):
    """They are words of four bytes, and the length of a header has four bits."""
    with pytest.raises(LocalProtocolError, match="IPv4 options are up to 40 bytes in words of 4"):
        ip_fragment(A4, B4, headers.UDP, bytes(8), 0, more=True, options=options)


@pytest.mark.parametrize(
    "chain", [(), (headers.HOP_BY_HOP,), (headers.HOP_BY_HOP, headers.DESTINATION_OPTIONS, headers.ROUTING)]
)
def test_a_fragment_of_ipv6_is_what_another_parser_reads(chain):
    """Behind whatever extension headers, each of which names the next one."""
    packet = ip_fragment(A6, B6, headers.UDP, b"x" * 16, 1448, more=True, identification=7, chain=chain)
    read = IPv6(packet)
    layers = list(read.iterpayloads())
    found = tuple(each.nh for each in layers[: len(chain) + 1])
    assert found == (*chain, headers.FRAGMENT_HEADER)
    last = layers[len(chain) + 1]
    assert (last.offset, last.m, last.id, last.nh) == (181, 1, 7, headers.UDP)
    assert read.plen == len(packet) - 40


def test_a_flow_label_changes_nothing_else():
    """No checksum covers it (RFC 8200 8.1)."""
    packet = udp_packet(A6, B6, 1, 2, b"payload")
    labelled = with_flow_label(packet, 0xABCDE)
    assert IPv6(labelled).fl == 0xABCDE
    assert with_flow_label(labelled, 0) == packet
