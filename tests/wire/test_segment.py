"""Cutting super-packets: every row is a packet that scapy finds nothing wrong with."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_LSRR, IPOption_NOP, IPOption_SSRR
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    IPv6ExtHdrSegmentRouting,
)
from scapy.packet import Raw

from dtls_emu.wire.burst import MAX_ROWS
from dtls_emu.wire.checksum import fold, sum_bytes
from dtls_emu.wire.headers import SUM_IN_FIELD, super_packet_layout, transport_layout
from dtls_emu.wire.segment import NO_ROOM, NOT_SEGMENTABLE, segment, segment_packet
from dtls_emu.wire.vxlan import encapsulation_header


V4 = IP(src="10.0.0.4", dst="10.0.1.5", id=65534, flags="DF", ttl=9, tos=2)
V6 = IPv6(src="fd00::4", dst="fd00:1::5", fl=0xABCDE, tc=7, hlim=9)
HEADER = encapsulation_header(77, b"\x02" + bytes(5), b"\x02" + bytes(4) + b"\x01", 4)
NOTHING = np.empty(0, np.uint8)


def array(packet):
    return np.frombuffer(bytearray(bytes(packet)), np.uint8)


def payload(length):
    return np.random.default_rng(length).integers(0, 256, length, dtype=np.uint8).tobytes()


def rows_of(packet, size, **options):
    return [row.tobytes() for burst in segment(array(packet), size, **options) for row in burst.rows()]


def dissect(row):
    return (IP if row[0] >> 4 == 4 else IPv6)(row)


def rebuilt(row):
    """The row with its lengths and checksums worked out anew by scapy."""
    packet = dissect(row)
    for layer in (packet, packet.getlayer(TCP) or packet.getlayer(UDP)):
        for field in ("len", "plen", "chksum"):
            if field in layer.fields:
                delattr(layer, field)
    return bytes(packet)


@pytest.mark.parametrize("ip", [V4, V6, V6 / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt()])
@pytest.mark.parametrize("size", [77, 536, 1348, 1349, 2999, 3000, 9000])
@pytest.mark.parametrize(
    "transport",
    [
        TCP(sport=1, dport=2, seq=0xFFFFFE00, ack=5, flags="PA", window=99),
        TCP(
            sport=1, dport=2, seq=1, flags="A", options=[("Timestamp", (1, 2)), ("NOP", None), ("NOP", None)]
        ),
        UDP(sport=1, dport=2),
    ],
)
def test_each_row_is_a_right_packet_and_all_together_are_the_payload(ip, transport, size):
    """Lengths and checksums as scapy works them out; nothing lost, doubled or moved."""
    whole = payload(3000)
    rows = rows_of(ip / transport / whole, size)
    assert len(rows) == -(-3000 // size)
    assert [rebuilt(row) for row in rows] == rows
    assert b"".join(bytes(dissect(row)[Raw]) for row in rows) == whole


def test_fields_that_count_count():
    """IPv4 identification and TCP sequence number go on, and wrap; the rest stays."""
    rows = rows_of(V4 / TCP(seq=0xFFFFFFFF - 99, ack=7, flags="A") / payload(350), 100)
    packets = [dissect(row) for row in rows]
    assert [packet.id for packet in packets] == [65534, 65535, 0, 1]
    assert [packet[TCP].seq for packet in packets] == [0xFFFFFFFF - 99, 0, 100, 200]
    assert [packet.len for packet in packets] == [140, 140, 140, 90]
    assert {(p.ttl, p.tos, str(p.flags), p[TCP].ack) for p in packets} == {(9, 2, "DF", 7)}


def test_fin_and_psh_are_for_the_last_row_and_cwr_is_for_the_first():
    """RFC 3168 6.1.2 for CWR; ECE and ACK are on all."""
    rows = rows_of(V6 / TCP(flags="FPACE") / payload(400), 100)
    assert [str(dissect(row)[TCP].flags) for row in rows] == ["AEC", "AE", "AE", "FPAE"]
    [only] = rows_of(V6 / TCP(flags="FPACE") / payload(100), 100)
    assert str(dissect(only)[TCP].flags) == "FPAEC"


def test_udp_rows_have_their_own_length():
    """And the last one is shorter."""
    rows = rows_of(V4 / UDP() / payload(250), 100)
    assert [dissect(row)[UDP].len for row in rows] == [108, 108, 58]


def test_the_checksum_of_the_super_packet_does_not_matter():
    """A virtual NIC fills in only a part of it, and IPv4's is not relied on either."""
    packet = array(V4 / TCP(flags="A") / payload(300))
    good = [row.tobytes() for row in segment(packet, 100)[0].rows()]
    for field in (10, 36):
        packet[field : field + 2] = 0xAB
    assert [row.tobytes() for row in segment(packet, 100)[0].rows()] == good


def test_udp_checksum_of_zero_is_sent_as_its_other_form():
    """RFC 768: a field of 0 would mean that there is none."""
    ip = IP(src="0.0.0.0", dst="0.0.0.1")
    rest = UDP(bytes(ip / UDP(sport=1, dport=1) / b"\0\0")[20:]).chksum
    packet = bytes(ip / UDP(sport=1, dport=1) / rest.to_bytes(2))
    assert dissect(packet)[UDP].chksum == 0xFFFF
    [row] = rows_of(packet, 2)
    assert row == packet


def test_rows_are_laid_out_for_the_wire():
    """Encapsulation in front, room around, mark carried over, in the arena that was given."""
    arena = np.full(100_000, 0xEE, np.uint8)
    packet = array(V4 / TCP(flags="A") / payload(3000))
    [burst] = segment(packet, 1348, header=HEADER, headroom=21, tailroom=16, buffer=arena, mark=5)
    assert (burst.offset, burst.size, burst.count, burst.last) == (21, 22 + 40 + 1348, 3, 22 + 40 + 304)
    assert (burst.stride, burst.mark) == (21 + 22 + 40 + 1348 + 16, 5)
    assert np.shares_memory(burst.buffer, arena)
    plain = rows_of(bytes(packet), 1348)
    assert [row.tobytes() for row in burst.rows()] == [HEADER.tobytes() + row for row in plain]


def test_more_rows_than_a_burst_holds_become_more_bursts():
    """No burst is larger than the kernel takes, and none of the rows is lost."""
    bursts = segment(array(V4 / UDP() / payload(1500)), 10, tailroom=4)
    assert [burst.count for burst in bursts] == [MAX_ROWS, MAX_ROWS, 22]
    rows = [row.tobytes() for burst in bursts for row in burst.rows()]
    assert b"".join(bytes(dissect(row)[Raw]) for row in rows) == payload(1500)


def test_a_pure_acknowledgement_is_one_row():
    """No payload is fine: it comes out as it went in."""
    packet = bytes(V4 / TCP(flags="A"))
    assert rows_of(packet, 1000) == [packet]


def test_the_largest_packet_is_cut():
    """65,535 bytes of IPv4, 65,575 of IPv6."""
    for ip in (V4, V6):
        length = 65535 - 20 - (20 if ip is V4 else 0)
        rows = rows_of(ip / TCP(flags="A") / payload(length), 1348)
        assert sum(len(bytes(dissect(row)[Raw])) for row in rows) == length


@pytest.mark.parametrize("flags", ["S", "SA", "R", "RA", "AU"])
def test_flags_that_only_one_packet_may_have_are_not_cut(flags):
    """SYN, RST and urgent data mean something else in each row; one row is fine."""
    packet = V4 / TCP(flags=flags) / payload(200)
    assert rows_of(packet, 100) == []
    assert rows_of(packet, 200) == [rebuilt(bytes(packet))]


@pytest.mark.parametrize(
    "packet",
    [
        V4 / ICMP() / (b"x" * 100),
        IP(flags="MF") / UDP() / (b"x" * 100),
        IP(frag=1) / UDP() / (b"x" * 100),
        IP(len=99) / UDP() / (b"x" * 100),
        V4 / UDP(len=99) / (b"x" * 100),
        V4 / TCP(dataofs=4) / (b"x" * 100),
        V4 / TCP(dataofs=15) / b"x",
        V6 / IPv6ExtHdrRouting() / UDP() / (b"x" * 100),
        IPv6(plen=0) / UDP() / (b"x" * 100),
        b"",
        b"\x45",
    ],
)
def test_what_cannot_be_cut_gives_nothing(packet):
    """And nothing is written: a guest may send anything."""
    data = array(packet)
    destination = np.full(5000, 0xEE, np.uint8)
    assert segment(data, 50) == []
    assert segment_packet(data, len(data), 50, destination, 200, 0, NOTHING) == NOT_SEGMENTABLE
    assert (destination == 0xEE).all()


@pytest.mark.parametrize(
    ("length", "stride", "offset"),
    [(3 * 192 - 1, 192, 0), (3 * 191, 191, 0), (600, 192, 1), (600, 200, -1)],
)
def test_rows_that_do_not_fit_are_not_written(length, stride, offset):
    """The kernel checks its destination before it writes the first byte."""
    packet = array(V4 / TCP(flags="A") / payload(400))
    destination = np.full(length, 0xEE, np.uint8)
    assert segment_packet(packet, len(packet), 152, destination, stride, offset, NOTHING) == NO_ROOM
    assert (destination == 0xEE).all()
    fits = np.full(3 * 192, 0xEE, np.uint8)
    assert segment_packet(packet, len(packet), 152, fits, 192, 0, NOTHING) == 3


def test_a_length_past_the_packet_is_refused():
    """What the caller says is checked as what the packet says."""
    packet = array(V4 / TCP(flags="A") / payload(400))
    destination = np.zeros(5000, np.uint8)
    assert segment_packet(packet[:100], 440, 100, destination, 500, 0, NOTHING) == NOT_SEGMENTABLE


@settings(deadline=None, max_examples=300)
@given(
    data=st.binary(max_size=200),
    good=st.sampled_from([V4 / UDP() / payload(90), V6 / TCP(flags="A") / payload(90)]).map(bytes),
    changes=st.lists(st.tuples(st.integers(0, 109), st.integers(0, 255)), max_size=3),
    size=st.integers(-1, 120),
)
def test_any_bytes_are_cut_or_refused(data, good, changes, size):
    """Never raises; what comes out has the payload that went in."""
    mutated = bytearray(good)
    for at, value in changes:
        mutated[at] = value
    for packet in (data, bytes(mutated)):
        rows = rows_of(packet, size)
        if rows:
            assert rows_of(packet, 70_000)[0][-1:] == packet[-1:]
            assert all(rows_of(row, 70_000) == [row] for row in rows)


LOOSE = IP(src="10.0.0.4", dst="10.0.0.9", id=7, flags="DF", options=[IPOption_LSRR(routers=["10.0.1.5"])])
STRICT = IP(src="10.0.0.4", dst="10.0.0.9", options=[IPOption_NOP(), IPOption_SSRR(routers=["10.0.1.5"])])
ROUTING = IPv6(src="fd00::4", dst="fd00::9") / IPv6ExtHdrRouting(addresses=["fd00:1::5"], segleft=1)
SEGMENTS = IPv6(src="fd00::4", dst="fd00::9") / IPv6ExtHdrSegmentRouting(
    addresses=["fd00:1::5", "fd00::9"], segleft=1, lastentry=1
)
OPTIONS_FIRST = IPv6(src="fd00::4", dst="fd00::9") / IPv6ExtHdrHopByHop() / ROUTING.payload
ROUTES = [LOOSE, STRICT, ROUTING, SEGMENTS, OPTIONS_FIRST]


def from_nic(packet):
    """A packet as a virtual NIC hands it over, with the sum of its pseudo header only, and what it says of it."""
    whole = array(packet)
    upper = packet.getlayer(TCP) or packet.getlayer(UDP)
    field = 16 if TCP in packet else 6
    start = len(whole) - len(bytes(upper))
    complete = int.from_bytes(whole[start + field : start + field + 2])
    whole[start + field : start + field + 2] = 0
    pseudo = fold((complete ^ 0xFFFF) + (sum_bytes(whole, start, len(whole) - start) ^ 0xFFFF))
    whole[start + field : start + field + 2] = pseudo >> 8, pseudo & 0xFF
    return whole, start, field


@pytest.mark.parametrize("transport", [TCP(sport=1, dport=2, flags="A"), UDP(sport=1, dport=2)])
@pytest.mark.parametrize("ip", ROUTES, ids=["loose", "strict", "type 0", "SRH", "options first"])
def test_a_source_routed_packet_is_cut_with_the_sum_of_its_nic(ip, transport):
    """The pseudo header has the route's last address (RFC 791 3.1, RFC 8200 8.1), which scapy finds for itself."""
    packet = type(ip)(bytes(ip / transport / payload(3000)))
    whole, start, field = from_nic(packet)
    assert transport_layout(whole, 0, len(whole)) == -1
    layout = super_packet_layout(whole, 0, len(whole), True, start, field)
    assert layout & SUM_IN_FIELD
    rows = [row.tobytes() for burst in segment(whole, 1348, layout=layout) for row in burst.rows()]
    assert len(rows) == 3
    assert [rebuilt(row) for row in rows] == rows
    assert b"".join(bytes(dissect(row)[Raw]) for row in rows) == payload(3000)
    assert [row.tobytes() for row in segment(whole, 3000, layout=layout)[0].rows()] == [bytes(packet)]


@pytest.mark.parametrize(
    ("has_sum", "start", "field"), [(False, 0, 0), (True, -4, 0), (True, 8, 0), (True, 0, -10), (True, 0, 2)]
)
@pytest.mark.parametrize("ip", ROUTES)
def test_a_route_that_the_nic_does_not_speak_of_is_not_cut(ip, has_sum, start, field):
    """No sum, or one of something else: then nobody knows what the checksum covers."""
    whole, at, its_field = from_nic(type(ip)(bytes(ip / TCP(flags="A") / payload(300))))
    assert super_packet_layout(whole, 0, len(whole), True, at, its_field) > 0
    assert super_packet_layout(whole, 0, len(whole), has_sum, at + start, its_field + field) == -1


@pytest.mark.parametrize(("has_sum", "start", "field"), [(False, 0, 0), (True, 20, 16), (True, 999, 1)])
def test_addresses_are_believed_where_there_is_no_route(has_sum, start, field):
    """Whatever a virtual NIC says: the checksum of what has no route is worked out from the packet alone."""
    packet = array(V4 / TCP(flags="A") / payload(300))
    layout = transport_layout(packet, 0, len(packet))
    assert super_packet_layout(packet, 0, len(packet), has_sum, start, field) == layout > 0


@pytest.mark.parametrize(
    "options", [b"\x83\x03\x04\x00", b"\x44\x01\x00\x00", b"\x44\x05\x00\x00", b"\x01\x01\x01\x07"]
)
def test_options_of_ipv4_that_cannot_be_told_are_a_route(options):
    """A source route without an address, and lengths that are none or lie: such a packet is not cut or joined."""
    packet = array(IP(len=44, ihl=6) / Raw(options + bytes(TCP(flags="A"))))
    packet[9] = 6
    assert transport_layout(packet, 0, len(packet)) == -1
    packet[20:24] = (1, 0, 0x83, 3)  # behind the end of options
    assert transport_layout(packet, 0, len(packet)) == 24 << 16 | 44


def test_headers_of_more_than_64_kilobytes_are_refused():
    """A layout has 16 bits for where the payload begins."""
    chain = b"".join(bytes([60, 255]) + bytes(2046) for _ in range(31)) + bytes([6, 247]) + bytes(1982)
    for padding, fits in ((0, True), (8, False)):
        last = bytearray(chain)
        last[31 * 2048 + 1] += padding // 8
        body = bytes(last) + bytes(padding) + bytes(TCP(flags="A"))[:20]
        packet = array(IPv6(nh=60, plen=len(body)) / Raw(body))
        layout = transport_layout(packet, 0, len(packet))
        assert layout == (-1 if not fits else (len(packet) - 20) << 16 | len(packet))


@settings(deadline=None, max_examples=300)
@given(
    base=st.sampled_from([bytes(ip / TCP(flags="A") / payload(40)) for ip in [*ROUTES, V4, V6]]),
    changes=st.lists(st.tuples(st.integers(0, 99), st.integers(0, 255)), max_size=4),
    start=st.sampled_from([20, 28, 32, 40, 64, 80]),
    field=st.sampled_from([6, 16]),
)
def test_any_layout_lies_within_its_packet(base, changes, start, field):
    """And what is cut by it has the payload that went in."""
    packet = array(base)
    for at, value in changes:
        packet[at % len(packet)] = value
    layout = super_packet_layout(packet, 0, len(packet), True, start, field)
    if layout < 0:
        assert segment(packet, 7, layout=layout) == []
        return
    transport, begin = layout >> 16 & 0xFFFF, layout & 0xFFFF
    assert 20 <= transport < begin <= len(packet)
    rows = [row.tobytes() for burst in segment(packet, 7, layout=layout) for row in burst.rows()]
    assert not rows or b"".join(row[begin:] for row in rows) == packet[begin:].tobytes()
