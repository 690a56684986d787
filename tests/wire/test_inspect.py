"""Header inspection: the fragment test, lying headers, flow keys, runs; scapy builds the packets."""

import struct
from ipaddress import ip_address
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP, fragment
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    fragment6,
)
from scapy.layers.ipsec import AH, ESP
from scapy.layers.l2 import Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw

from dtls_emu.vocabulary import FragmentShape
from dtls_emu.wire.burst import Burst, Shape
from dtls_emu.wire.headers import TCP as TCP_NUMBER
from dtls_emu.wire.headers import UDP as UDP_NUMBER
from dtls_emu.wire.inspect import (
    KEY_WORDS,
    FlowKey,
    Inspection,
    PacketClass,
    inspect_frames,
    inspect_packets,
    key_of,
    pack_key,
    stated_length,
    unpack_key,
)
from dtls_emu.wire.packet import fragments, tcp_packet, udp_packet, with_tos
from dtls_emu.wire.parse import parse_packet_untrusted
from dtls_emu.wire.protocol import RowStatus


A4, B4 = "10.0.0.4", "10.0.1.5"
A6, B6 = "fd00::4", "fd00:1::5"
V4, V6 = IP(src=A4, dst=B4), IPv6(src=A6, dst=B6)
ZERO_KEY = (0,) * KEY_WORDS


def classify(packet):
    return key_of(bytes(packet), 7)[0]


def inspect(burst, vni=7):
    """Classes, keys and run boundaries of a burst of inner packets."""
    keys = np.full((burst.count, KEY_WORDS), 0xEE, np.uint64)
    classes = np.full(burst.count, 0xEE, np.uint8)
    runs = np.full(burst.count + 1, -1, np.int64)
    found = inspect_packets(
        burst.buffer,
        burst.shape,
        vni,
        Inspection(keys, classes, np.full(burst.count, 0xEE, np.uint8), runs),
    )
    return classes.tolist(), keys, runs[: found + 1].tolist()


@pytest.mark.parametrize(
    ("packet", "protocol", "ports"),
    [
        (V4 / UDP(sport=1000, dport=53) / b"q", 17, (1000, 53)),
        (V4 / TCP(sport=65535, dport=1, options=[("MSS", 1460)]) / b"x", 6, (65535, 1)),
        (IP(src=A4, dst=B4, options=[IPOption_NOP()] * 3) / UDP(sport=5, dport=6), 17, (5, 6)),
        (V4 / ICMP() / b"ping", 1, (0, 0)),
        (V4 / ESP(spi=1, seq=2) / b"opaque", 50, (0, 0)),
        (IP(src=A4, dst=B4, proto=253) / Raw(b""), 253, (0, 0)),
        (V6 / UDP(sport=1000, dport=53) / b"q", 17, (1000, 53)),
        (V6 / TCP(sport=2, dport=3), 6, (2, 3)),
        (V6 / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / TCP(sport=2, dport=3), 6, (2, 3)),
        (V6 / IPv6ExtHdrRouting(addresses=[B6]) / UDP(sport=2, dport=3), 17, (2, 3)),
        (V6 / AH(nh=17, payloadlen=4, icv=b"i" * 12) / UDP(sport=2, dport=3), 17, (2, 3)),
        (V6 / ESP(spi=1, seq=2) / b"opaque", 50, (0, 0)),
        (IPv6(src=A6, dst=B6, nh=59), 59, (0, 0)),
        (IPv6(src=A6, dst=B6, nh=59) / Raw(b"ignored"), 59, (0, 0)),
    ],
)
def test_key_of_a_whole_packet(packet, protocol, ports: tuple[int, int]):
    """VNI, addresses, protocol behind all extension headers, and ports where there are some."""
    kind, words = key_of(bytes(packet), 0xABCDEF)
    source, destination = (A4, B4) if packet.version == 4 else (A6, B6)
    assert kind is PacketClass.WHOLE
    assert unpack_key(words) == FlowKey(
        0xABCDEF, protocol, ip_address(source), ip_address(destination), *ports, False, packet.version
    )


def test_key_words_have_their_documented_layout():
    """Other floors compare and store the words, so their layout is a contract."""
    _, words = key_of(udp_packet("1.2.3.4", "5.6.7.8", 0x1122, 0x3344), 0xFFFFFF)
    assert words == (0xFFFFFF_11_1122_3344, 0, 0xFFFF_0102_0304, 0, 0xFFFF_0506_0708, 0x0400)
    _, words = key_of(udp_packet("1:2::3", "4::5:6", 0x1122, 0x3344), 0)
    assert words == (0x11_1122_3344, 0x1_0002_0000_0000, 3, 0x4_0000_0000_0000, 0x5_0006, 0x0600)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("size", [64, 576])
def test_every_shape_of_fragment_is_one(version, size):
    """Those that labs and benchmarks send."""
    packet = udp_packet(A4, B4, 1, 2, b"x" * 1400) if version == 4 else udp_packet(A6, B6, 1, 2, b"x" * 1400)
    shapes = [shape for shape in FragmentShape if shape.startswith(f"v{version}")]
    made = fragments(packet, shapes, size=size)
    assert len(made) == len(shapes)
    for piece in made:
        kind, words = key_of(piece, 7)
        source, destination = ip_address(packet_ends(version)[0]), ip_address(packet_ends(version)[1])
        assert kind is PacketClass.FRAGMENT
        assert unpack_key(words) == FlowKey(7, 17, source, destination, 0, 0, True, version)


def packet_ends(version):
    return (A4, B4) if version == 4 else (A6, B6)


def test_fragments_of_another_implementation_are_fragments():
    """Every piece that scapy cuts, v4 and v6, and none of the packets they were cut from."""
    whole4 = V4 / UDP(sport=1, dport=2) / (b"x" * 3000)
    whole6 = V6 / IPv6ExtHdrFragment() / UDP(sport=1, dport=2) / (b"x" * 3000)
    pieces = fragment(whole4, fragsize=1200) + fragment6(whole6, 1280)
    assert len(pieces) == 6
    assert {classify(piece) for piece in pieces} == {PacketClass.FRAGMENT}
    assert classify(whole4) is PacketClass.WHOLE


@pytest.mark.parametrize(
    "chain",
    [
        IPv6ExtHdrHopByHop(),
        IPv6ExtHdrDestOpt(),
        IPv6ExtHdrRouting(addresses=[B6, A6]),
        IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / IPv6ExtHdrRouting() / IPv6ExtHdrDestOpt(),
        AH(nh=44, payloadlen=4, icv=b"i" * 12),
        IPv6ExtHdrHopByHop() / AH(nh=44, payloadlen=7, icv=b"i" * 24),
    ],
)
def test_a_fragment_header_is_found_behind_any_chain(chain):
    """Atomic fragments too: offset 0 and no more to come is still a fragment (RFC 6946)."""
    for header in (IPv6ExtHdrFragment(m=1, offset=0), IPv6ExtHdrFragment(offset=9), IPv6ExtHdrFragment()):
        assert classify(V6 / chain / header / UDP() / b"x") is PacketClass.FRAGMENT
    if AH not in chain:  # scapy does not fill in its next header
        assert classify(V6 / chain / UDP() / b"x") is PacketClass.WHOLE


@pytest.mark.parametrize("protocol", [135, 139, 140])
def test_rarer_extension_headers_are_walked(protocol):
    """Mobility, HIP and shim6: a fragment header cannot hide behind them."""
    extension = bytes([44, 1]) + bytes(14)
    piece = bytes(
        IPv6(src=A6, dst=B6, nh=protocol) / Raw(extension + bytes([17, 0, 0, 1, 0, 0, 0, 1]) + bytes(8))
    )
    assert classify(piece) is PacketClass.FRAGMENT


def test_the_fragment_test_comes_first():
    """A packet that says it is a fragment is one, even if it also lies: it must never pass for whole."""
    piece = bytearray(bytes(IP(src=A4, dst=B4, flags="MF") / UDP() / b"x"))
    for at, value in ((0, 0x4F), (0, 0x41), (2, 0xFF), (9, 6)):
        lying = bytearray(piece)
        lying[at] = value
        assert classify(lying) is PacketClass.FRAGMENT
    extended = bytes(V6 / IPv6ExtHdrHopByHop() / IPv6ExtHdrFragment(m=1) / UDP())
    assert classify(extended[:-8]) is PacketClass.FRAGMENT
    assert classify(extended[:48]) is PacketClass.FRAGMENT


def changed(packet, at, value):
    data = bytearray(bytes(packet))
    data[at : at + len(value)] = value
    return bytes(data)


UDP4, TCP4 = bytes(V4 / UDP() / b"data"), bytes(V4 / TCP() / b"data")
UDP6, TCP6 = bytes(V6 / UDP() / b"data"), bytes(V6 / TCP() / b"data")
HBH6 = bytes(V6 / IPv6ExtHdrHopByHop() / UDP() / b"data")
MALFORMED = {
    "empty": b"",
    "a lone byte": b"\x45",
    "v4 header cut": UDP4[:19],
    "v4 header length 4": changed(UDP4, 0, b"\x44"),
    "v4 header length past the end": changed(UDP4, 0, b"\x4f"),
    "v4 ICMP header length past the end": changed(UDP4, 0, b"\x4f")[:9] + b"\x01" + UDP4[10:],
    "v4 total length short": changed(UDP4, 2, b"\x00\x1f"),
    "v4 total length long": changed(UDP4, 2, b"\x00\x21"),
    "v4 total length 0": changed(UDP4, 2, b"\x00\x00"),
    "v4 with a byte missing": UDP4[:-1],
    "v4 UDP header cut": bytes(IP(src=A4, dst=B4, proto=17) / Raw(b"1234567")),
    "v4 UDP length long": changed(UDP4, 24, b"\x00\x0d"),
    "v4 UDP length 7": changed(UDP4, 24, b"\x00\x07"),
    "v4 UDP length within the padding": changed(UDP4, 24, b"\x00\x0d") + b"x",
    "v4 TCP offset within the padding": changed(TCP4, 32, b"\x70") + bytes(4),
    "v6 UDP length 7": changed(UDP6, 44, b"\x00\x07"),
    "v6 chain within the padding": changed(HBH6, 4, b"\x00\x07"),
    "v4 UDP length 0": changed(UDP4, 24, b"\x00\x00"),
    "v4 TCP header cut": bytes(IP(src=A4, dst=B4, proto=6) / Raw(b"x" * 19)),
    "v4 TCP offset 4": changed(TCP4, 32, b"\x40"),
    "v4 TCP offset past the end": changed(TCP4, 32, b"\x70"),
    "v6 header cut": UDP6[:39],
    "v6 payload length short": changed(UDP6, 4, b"\x00\x0b"),
    "v6 payload length long": changed(UDP6, 4, b"\x00\x0d"),
    "v6 jumbogram": changed(HBH6, 4, b"\x00\x00"),
    "v6 UDP length long": changed(UDP6, 44, b"\x00\x0d"),
    "v6 TCP offset 0": changed(TCP6, 52, b"\x00"),
    "v6 chain runs off the end": changed(HBH6, 41, b"\xff"),
    "v6 chain ends in a cut header": bytes(IPv6(src=A6, dst=B6, nh=60) / Raw(b"1234567")),
    "v6 fragment header behind a cut header": bytes(IPv6(src=A6, dst=B6, nh=60) / Raw(bytes([44] + [0] * 6))),
    "v6 chain to nowhere": bytes(IPv6(src=A6, dst=B6, nh=0) / Raw(bytes([0, 0]) + bytes(6))),
    "version 0": changed(UDP4, 0, b"\x05"),
    "version 5": changed(UDP4, 0, b"\x55"),
    "version 15": changed(UDP6, 0, b"\xf0"),
}


@pytest.mark.parametrize("packet", MALFORMED.values(), ids=MALFORMED)
def test_truncated_and_lying_headers_are_malformed(packet):
    """And have no key, so that nothing can be looked up by what they claim."""
    assert key_of(packet, 7) == (PacketClass.MALFORMED, ZERO_KEY)


@pytest.mark.parametrize("padding", [b"x", bytes(6), bytes(1400)])
@pytest.mark.parametrize("packet", [UDP4, TCP4, UDP6, TCP6, HBH6])
def test_bytes_behind_a_packet_are_padding(packet, padding):
    """As of a short Ethernet frame (IEEE 802.3 3.2.8): it has the key that it has without."""
    kind, words = key_of(packet + padding, 7)
    assert (kind, words) == (PacketClass.PADDED, key_of(packet, 7)[1])
    assert stated_length(np.frombuffer(packet + padding, np.uint8)) == len(packet)


@pytest.mark.parametrize("packet", [UDP4, UDP6, HBH6])
def test_a_datagram_may_have_surplus(packet):
    """RFC 9868: what is behind a UDP datagram is in the packet, so it stays there."""
    at = len(packet) - 8
    for surplus in range(5):
        changed_length = changed(packet, at, (12 - surplus).to_bytes(2))
        assert key_of(changed_length, 7) == (PacketClass.WHOLE, key_of(packet, 7)[1])
    assert classify(changed(packet, at, (7).to_bytes(2))) is PacketClass.MALFORMED


def as_a_reader_says(packet):
    """Class of a packet by the one-at-a-time parser and the bare rules of RFC 791 and 8200."""
    data = bytes(packet)
    if len(data) >= 20 and data[0] >> 4 == 4 and struct.unpack_from(">H", data, 6)[0] & 0x3FFF:
        return PacketClass.FRAGMENT
    parsed = parse_packet_untrusted(data)
    if parsed is None:
        return PacketClass.FRAGMENT if ends_in_fragment_header(data) else PacketClass.MALFORMED
    transport = parsed.transport
    if parsed.protocol == UDP_NUMBER:
        honest = len(transport) >= 8 and 8 <= struct.unpack_from(">H", transport, 4)[0] <= len(transport)
    elif parsed.protocol == TCP_NUMBER:
        honest = len(transport) >= 20 and 20 <= (transport[12] >> 4) * 4 <= len(transport)
    else:
        honest = True
    if not honest:
        return PacketClass.MALFORMED
    return PacketClass.WHOLE if is_all(data) else PacketClass.PADDED


def is_all(data):
    stated = (
        struct.unpack_from(">H", data, 2)[0]
        if data[0] >> 4 == 4
        else 40 + struct.unpack_from(">H", data, 4)[0]
    )
    return stated == len(data)


def ends_in_fragment_header(data):
    if len(data) < 40 or data[0] >> 4 != 6:
        return False
    protocol, at = data[6], 40
    while protocol in {0, 43, 51, 60, 135, 139, 140}:
        if at + 8 > len(data):
            return False
        protocol, at = data[at], at + ((data[at + 1] + 2) * 4 if protocol == 51 else (data[at + 1] + 1) * 8)
    return protocol == 44


SEEDS = [UDP4, TCP4, UDP6, TCP6, HBH6, *fragments(UDP4, size=64), *fragments(UDP6, size=64)]


@st.composite
def damaged(draw):
    """A good packet with a few bytes changed, cut or added: most of it still makes sense."""
    packet = bytearray(draw(st.sampled_from(SEEDS)))
    for at, value in draw(
        st.lists(st.tuples(st.integers(0, len(packet) - 1), st.integers(0, 255)), max_size=3)
    ):
        packet[at] = value
    cut = draw(st.integers(0, len(packet)))
    return bytes(draw(st.sampled_from([packet, packet, packet[:cut], packet + b"\0" * (cut % 9)])))


@settings(deadline=None, max_examples=400)  # the first call compiles
@given(packet=damaged() | st.binary(max_size=120))
def test_any_bytes_get_the_class_that_a_careful_reader_gives(packet):
    """The kernel never raises and agrees with a parser that was written apart from it."""
    kind, words = key_of(packet, 3)
    assert kind is as_a_reader_says(packet)
    if kind is PacketClass.MALFORMED:
        assert words == ZERO_KEY
    else:
        key = unpack_key(words)
        assert (key.vni, key.version, key.is_fragment) == (3, packet[0] >> 4, kind is PacketClass.FRAGMENT)
        width, at = (4, 12) if key.version == 4 else (16, 8)
        assert key.source.packed == packet[at : at + width]
        assert key.destination.packed == packet[at + width : at + 2 * width]


def test_a_burst_of_one_flow_is_one_run():
    """The common case, with a short last row, headroom and tailroom."""
    rows = [tcp_packet(A4, B4, 1, 2, b"x" * 100, sequence=i) for i in range(63)]
    rows.append(tcp_packet(A4, B4, 1, 2, b"x"))
    classes, keys, runs = inspect(Burst.from_packets(rows, headroom=43, tailroom=16))
    assert classes == [PacketClass.WHOLE] * 64
    assert runs == [0, 64]
    assert (keys == keys[0]).all()


def test_runs_end_where_the_type_of_service_changes():
    """One flow, but not one burst: outside there is one type of service."""
    for packet in (UDP4, UDP6):
        rows = [with_tos(packet, tos) for tos in (0, 0, 2, 3, 3, 0xB8, 0xB9)]
        classes, keys, runs = inspect(Burst.from_packets(rows))
        assert (classes, runs) == ([PacketClass.WHOLE] * 7, [0, 2, 3, 5, 6, 7])
        assert (keys == keys[0]).all()


def test_runs_end_where_class_or_key_changes():
    """Each row is in exactly one run, in order, whatever is mixed into a burst."""
    one, two = udp_packet(A4, B4, 1, 2, b"x" * 36), udp_packet(A4, B4, 1, 3, b"x" * 36)
    six = udp_packet(A6, B6, 1, 2, b"x" * 16)
    [piece] = fragments(one, [FragmentShape.V4_MIDDLE], size=64)
    [last] = fragments(one, [FragmentShape.V4_LAST], size=64)
    assert len({len(row) for row in (one, two, six)}) == 1
    piece, last = piece.ljust(64, b"x"), last.ljust(64, b"x")
    bad = bytes(64)
    rows = [one, one, two, one, bad, bad, six, piece, last, one]
    classes, keys, runs = inspect(Burst.from_packets(rows))
    whole, part, malformed = PacketClass.WHOLE, PacketClass.FRAGMENT, PacketClass.MALFORMED
    assert classes == [whole, whole, whole, whole, malformed, malformed, whole, part, part, whole]
    assert runs == [0, 2, 3, 4, 6, 7, 9, 10]
    for row, packet in enumerate(rows):
        assert tuple(keys[row].tolist()) == key_of(packet, 7)[1]


@pytest.mark.parametrize("word", range(KEY_WORDS - 1))
def test_a_difference_in_any_word_ends_a_run(word):
    """No part of the key is forgotten in the comparison."""
    base: dict[str, Any] = {"source": "fd00::1:0:0:1", "destination": "fd00::2:0:0:2", "sport": 1, "dport": 2}
    other = dict(base)
    changes: list[tuple[str, object]] = [
        ("dport", 3),
        ("source", "fd01::1:0:0:1"),
        ("source", "fd00::1:0:0:3"),
        ("destination", "fd01::2:0:0:2"),
        ("destination", "fd00::2:0:0:3"),
    ]
    name, value = changes[word]
    other[name] = value
    burst = Burst.from_packets([udp_packet(**base), udp_packet(**other)])
    _, keys, runs = inspect(burst)
    assert np.flatnonzero(keys[0] != keys[1]).tolist() == [word]
    assert runs == [0, 1, 2]


def frame(packet, vni=9, ethertype=None, flags="Instance"):
    kind = ethertype or (0x0800 if packet[0] >> 4 == 4 else 0x86DD)
    return bytes(VXLAN(flags=flags, vni=vni) / Ether(src="02::", dst="02::", type=kind) / Raw(packet))


def inspect_received(rows, status):
    burst = Burst.from_packets(rows, headroom=21, tailroom=16)
    keys = np.full((burst.count, KEY_WORDS), 0xEE, np.uint64)
    classes = np.full(burst.count, 0xEE, np.uint8)
    runs = np.full(burst.count + 1, -1, np.int64)
    found = inspect_frames(
        burst.buffer,
        burst.shape,
        np.array(status, np.uint8),
        Inspection(keys, classes, np.full(burst.count, 0xEE, np.uint8), runs),
    )
    return classes.tolist(), [tuple(words) for words in keys.tolist()], runs[: found + 1].tolist()


def test_received_rows_have_the_key_of_their_network():
    """The VNI comes from each row; both IP versions."""
    rows = [frame(UDP4, 9), frame(UDP4, 9), frame(UDP4, 0xFFFFFF)]
    classes, keys, runs = inspect_received(rows, [0, 0, 0])
    assert classes == [PacketClass.WHOLE] * 3
    assert keys == [key_of(UDP4, 9)[1]] * 2 + [key_of(UDP4, 0xFFFFFF)[1]]
    assert runs == [0, 2, 3]
    classes, keys, _ = inspect_received([frame(UDP6, 5)], [0])
    assert (classes, keys) == ([PacketClass.WHOLE], [key_of(UDP6, 5)[1]])


def test_rows_that_were_dropped_before_are_not_looked_at():
    """Whatever an unopened row holds must not become a key: it is ciphertext or forged."""
    rows = [frame(UDP4)] * 4
    status = [RowStatus.OK, RowStatus.AUTH_FAILED, RowStatus.REPLAYED, RowStatus.OK]
    classes, keys, runs = inspect_received(rows, status)
    assert classes == [PacketClass.WHOLE, PacketClass.NONE, PacketClass.NONE, PacketClass.WHOLE]
    assert keys[1:3] == [ZERO_KEY] * 2
    assert runs == [0, 1, 3, 4]


@pytest.mark.parametrize(
    "row",
    [
        frame(UDP4, flags=""),
        frame(UDP4, ethertype=0x86DD),
        frame(UDP6, ethertype=0x0800),
        frame(UDP4, ethertype=0x8100),
        frame(UDP4, ethertype=0x0806),
        frame(UDP4)[:22],
        frame(UDP4)[:21],
        frame(UDP4)[:-1],
        b"\x08",
        frame(b"\x55" + UDP4[1:], ethertype=0x0800),
    ],
    ids=["no VNI flag", "v4 as v6", "v6 as v4", "VLAN", "ARP", "empty", "runt", "cut", "a byte", "version 5"],
)
def test_rows_that_are_no_frames_are_malformed(row):
    """Also when they are authentic: the peer may be broken."""
    assert inspect_received([row], [0]) == ([PacketClass.MALFORMED], [ZERO_KEY], [0, 1])


def test_reserved_bits_of_vxlan_are_ignored():
    """RFC 7348 5: they must be ignored on receipt."""
    row = bytearray(frame(UDP4, 9))
    row[0:4], row[7] = b"\xff\xff\xff\xff", 0xFF
    assert inspect_received([bytes(row)], [0])[1] == [key_of(UDP4, 9)[1]]


def test_an_empty_burst_has_no_runs():
    """Nothing is read, nothing is written but the one boundary."""
    runs = np.full(1, -1, np.int64)
    nothing = np.zeros(0, np.uint8)
    keys = np.zeros((0, KEY_WORDS), np.uint64)
    assert inspect_packets(nothing, Shape(0, 0, 0, 0, 0), 7, Inspection(keys, nothing, nothing, runs)) == 0
    assert runs[0] == 0


@given(
    st.builds(
        FlowKey,
        vni=st.integers(0, 2**24 - 1),
        protocol=st.integers(0, 255),
        source=st.ip_addresses(v=4),
        destination=st.ip_addresses(v=4),
        source_port=st.integers(0, 65535),
        destination_port=st.integers(0, 65535),
        is_fragment=st.booleans(),
        version=st.just(4),
    )
)
def test_a_key_is_packed_as_it_is_unpacked(key):
    """So that the opposite of a flow can be looked up."""
    assert unpack_key(pack_key(key)[0]) == key
