"""Joining rows: the reverse of cutting, and never across anything that a guest could tell apart."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrHopByHop

from dtls_emu.testing.present import present
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.checksum import fold, pseudo_header_sum
from dtls_emu.wire.merge import GROUP_WORDS, merge, merge_rows
from dtls_emu.wire.packet import icmp_echo, tcp_packet, udp_packet
from dtls_emu.wire.segment import segment


V4 = IP(src="10.0.0.4", dst="10.0.1.5", id=65534, flags="DF")
V6 = IPv6(src="fd00::4", dst="fd00:1::5", fl=5)
STAMP = [("Timestamp", (1, 2)), ("NOP", None), ("NOP", None)]


def payload(length, seed=1):
    return np.random.default_rng(seed).integers(0, 256, length, dtype=np.uint8).tobytes()


def array(packet):
    return np.frombuffer(bytearray(bytes(packet)), np.uint8)


def shape(groups):
    """Which rows went together: (first row, rows, gso_size)."""
    return [(group.start_row, group.row_count, group.gso_size) for group in groups]


def tcp_rows(count=4, size=100, start=1000, first_id=1, **options):
    """Rows as a sender would number them, each of which may be overridden by its index."""
    overrides = options.pop("rows", {})
    rows = []
    for row in range(count):
        fields = {
            "source": "10.0.0.4",
            "destination": "10.0.1.5",
            "sport": 1,
            "dport": 2,
            "payload": payload(size, row),
            "sequence": (start + row * size) % 2**32,
            "acknowledgement": 7,
            "identification": first_id + row,
        }
        rows.append(tcp_packet(**fields | options | overrides.get(row, {})))
    return rows


def merged_shape(rows):
    return shape(merge(Burst.from_packets(rows)))


@pytest.mark.parametrize("ip", [V4, V6, V6 / IPv6ExtHdrHopByHop()])
@pytest.mark.parametrize("size", [100, 1348, 1499, 2999])
@pytest.mark.parametrize(
    "transport",
    [
        TCP(sport=1, dport=2, seq=0xFFFFFE00, flags="A"),
        TCP(sport=1, dport=2, flags="FPAEN", options=STAMP),
        UDP(sport=1, dport=2),
    ],
)
def test_merging_is_the_reverse_of_cutting(ip, transport, size):
    """One super-packet with the size it was cut by; cut again it gives the same rows, bit by bit."""
    whole = array(ip / transport / payload(3000))
    [burst] = segment(whole, size, headroom=43, tailroom=16)
    [group] = merge(burst)
    assert shape([group]) == [(0, burst.count, size)]
    field = group.transport + (6 if UDP in transport else 16)
    packet = present(group.packet)
    assert np.delete(packet, [field, field + 1]).tobytes() == np.delete(whole, [field, field + 1]).tobytes()
    [again] = segment(packet, group.gso_size)
    assert [row.tobytes() for row in again.rows()] == [row.tobytes() for row in burst.rows()]


@pytest.mark.parametrize("ip", [V4, V6])
@pytest.mark.parametrize(("transport", "field"), [(TCP(flags="A"), 16), (UDP(), 6)])
def test_the_joined_packet_has_a_partial_checksum(ip, transport, field):
    """The sum of its pseudo header, which virtio's NEEDS_CSUM asks for; IPv4's own checksum is right."""
    [burst] = segment(array(ip / transport / payload(3000)), 1000)
    [group] = merge(burst)
    at = group.transport
    joined = present(group.packet)
    covered = len(joined) - at
    expected = fold(pseudo_header_sum(joined, 0, 6 if field == 16 else 17, covered))
    assert int.from_bytes(joined[at + field : at + field + 2]) == expected
    assert group.payload - at == (20 if field == 16 else 8)
    if ip is V4:
        packet = IP(joined.tobytes())
        before = packet.chksum
        del packet.chksum
        assert IP(bytes(packet)).chksum == before


def test_super_packets_lie_in_the_buffer_behind_their_headroom():
    """So that a virtio header can be written in front without a copy."""
    rows = tcp_rows(2) + tcp_rows(2, start=9000)
    arena = np.full(1000, 0xEE, np.uint8)
    groups = merge(Burst.from_packets(rows), arena, headroom=10)
    first, second = (present(group.packet) for group in groups)
    assert np.shares_memory(first, arena)
    start = first.ctypes.data - arena.ctypes.data
    assert (start, second.ctypes.data - first.ctypes.data) == (10, 240 + 10)


def test_a_shorter_row_ends_a_group():
    """Only the last may be shorter; a burst ends there anyhow."""
    assert merged_shape([*tcp_rows(3), *tcp_rows(1, 60, 1300, first_id=4)]) == [(0, 4, 100)]


@pytest.mark.parametrize(
    "change",
    [
        {"sequence": 1201},
        {"sequence": 1100},
        {"acknowledgement": 8},
        {"window": 9},
        {"flags": 0x90},
        {"flags": 0x50},
        {"flags": 0x12},
        {"flags": 0x14},
        {"flags": 0x30},
        {"flags": 0x00},
        {"ttl": 63},
        {"identification": 9},
        {"df": False},
        {"sport": 3},
        {"destination": "10.0.1.6"},
        {"source": "10.0.0.5"},
    ],
    ids=str,
)
def test_a_row_that_differs_is_not_joined(change):
    """Headers that a guest could see, a hole in the sequence, or flags of a packet of its own."""
    rows = tcp_rows(4, rows={2: change})
    groups = merged_shape(rows)
    assert groups[0] == (0, 2, 100)
    assert not any(start <= 2 < start + count and size and start < 2 for start, count, size in groups)
    assert sum(count for _, count, _ in groups) == 4


def test_type_of_service_flow_label_and_options_must_be_the_same():
    """Congestion marks (RFC 3168) and timestamps are not averaged away."""
    for at, ip in ((1, 4), (1, 6), (3, 6), (7, 6)):
        ends = ("10.0.0.4", "10.0.1.5") if ip == 4 else ("fd00::4", "fd00::5")
        rows = tcp_rows(2, source=ends[0], destination=ends[1])
        changed = array(rows[1])
        changed[at] ^= 1
        if ip == 4:
            packet = IP(changed.tobytes())
            del packet.chksum
            changed = array(packet)
        assert merged_shape([rows[0], changed.tobytes()]) == [(0, 2, 0)]
    stamp = b"\x01\x01\x08\x0a" + bytes(8)
    assert merged_shape(tcp_rows(2, options=stamp)) == [(0, 2, 100)]
    assert merged_shape(tcp_rows(2, options=stamp, rows={1: {"options": stamp[:-1] + b"\1"}})) == [(0, 2, 0)]


@pytest.mark.parametrize("flags", [0x12, 0x14, 0x30, 0x00])
def test_packets_that_stand_alone_are_not_joined_to_their_like(flags):
    """SYN, RST and urgent data, and no ACK: the same on every row, and still each a packet of its own."""
    assert merged_shape(tcp_rows(3, flags=flags)) == [(0, 3, 0)]


def test_the_urgent_pointer_must_be_the_same():
    """Even where the flag that gives it a meaning is not set: cutting would copy the first row's."""
    first, second = tcp_rows(2)
    packet = IP(second)
    packet[TCP].urgptr = 1
    del packet[TCP].chksum
    assert merged_shape([first, bytes(packet)]) == [(0, 2, 0)]


@pytest.mark.parametrize("flag", [0x01, 0x08])
def test_fin_and_psh_join_as_the_last(flag):
    """They end a group, and are on the super-packet."""
    groups = merge(Burst.from_packets(tcp_rows(5, rows={2: {"flags": 0x10 | flag}})))
    assert shape(groups) == [(0, 3, 100), (3, 2, 100)]
    assert [int(present(group.packet)[33]) for group in groups] == [0x10 | flag, 0x10]


def test_cwr_stands_alone():
    """An event of one packet (RFC 3168 6.1.2), or a bit of each packet's counter (RFC 9768): a super-packet cannot
    say which, so it has none.
    """
    assert merged_shape(tcp_rows(5, rows={2: {"flags": 0x90}})) == [(0, 2, 100), (2, 1, 0), (3, 2, 100)]
    assert merged_shape(tcp_rows(4, rows={0: {"flags": 0x90}})) == [(0, 1, 0), (1, 3, 100)]
    assert merged_shape(tcp_rows(4, flags=0x90)) == [(0, 4, 0)]


@pytest.mark.parametrize("ace", range(8))
def test_counters_of_accurate_ecn_are_not_mixed(ace):
    """AE, CWR and ECE are three bits of a number (RFC 9768 3.2.2.3): each packet is delivered with its own."""
    rows = [array(row) for row in tcp_rows(4)]
    for number, row in enumerate(rows):
        own = ace if number < 2 else (ace + 1) % 8
        row[32] |= own >> 2
        row[33] |= (own & 3) << 6
        packet = IP(row.tobytes())
        del packet[TCP].chksum
        row[:] = array(packet)
    delivered: list[tuple[int, int]] = []
    for group in merge(Burst.from_packets([row.tobytes() for row in rows])):
        count = group.row_count
        packets = [group.packet] * count if group.packet is not None else rows[group.start_row :][:count]
        delivered += [(int(packet[32]) & 1, int(packet[33]) >> 6) for packet in packets]
    assert delivered == [(int(row[32]) & 1, int(row[33]) >> 6) for row in rows]


def test_rows_are_never_reordered():
    """Rows that arrived in the wrong order stay in the order in which they arrived."""
    rows = tcp_rows(4)
    swapped = [rows[1], rows[0], rows[2], rows[3]]
    assert merged_shape(swapped) == [(0, 2, 0), (2, 2, 100)]


@pytest.mark.parametrize("at", [10, 30, 36, 60, 139])
def test_a_row_with_a_wrong_checksum_stays_as_it_is(at):
    """In its header, its checksum or its payload: joining would give it a right one."""
    rows = [bytearray(row) for row in tcp_rows(5)]
    rows[2][at] ^= 0x40
    groups = merge(Burst.from_packets([bytes(row) for row in rows]))
    assert shape(groups) == [(0, 2, 100), (2, 1, 0), (3, 2, 100)]
    assert groups[1].packet is None


def test_identifications_count_up_or_stay_the_same_under_df():
    """RFC 6864 4.1: without DF the same identification would be the same datagram."""
    assert merged_shape(tcp_rows(3, identification=5)) == [(0, 3, 100)]
    assert merged_shape(tcp_rows(3, identification=5, df=False)) == [(0, 3, 0)]
    assert merged_shape(tcp_rows(3, df=False)) == [(0, 3, 100)]
    rows = tcp_rows(3, first_id=0, rows={0: {"identification": 65535}, 1: {"identification": 0}})
    assert merged_shape([*rows[:2], tcp_rows(3, first_id=0, rows={2: {"identification": 1}})[2]]) == [
        (0, 3, 100)
    ]


def test_udp_without_a_checksum_is_not_joined():
    """The joined packet will have one (RFC 768 allows none over IPv4)."""
    rows = [
        bytearray(udp_packet("10.0.0.4", "10.0.1.5", 1, 2, bytes(50), identification=i)) for i in range(2)
    ]
    assert merged_shape([bytes(row) for row in rows]) == [(0, 2, 50)]
    for row in rows:
        row[26:28] = b"\0\0"
    assert merged_shape([bytes(row) for row in rows]) == [(0, 2, 0)]

    # Where a computed checksum would be sent as ffff, "none" adds up as well.
    for row in rows:
        total = UDP(udp_packet("10.0.0.4", "10.0.1.5", 1, 2, bytes(50))[20:]).chksum
        row[28:30] = total.to_bytes(2)
        row[26:28] = b"\xff\xff"
    assert merged_shape([bytes(row) for row in rows]) == [(0, 2, 50)]
    for row in rows:
        row[26:28] = b"\0\0"
    assert merged_shape([bytes(row) for row in rows]) == [(0, 2, 0)]


def test_packets_without_payload_and_of_other_protocols_stay():
    """Pure acknowledgements and pings; neighbours of one kind are one group."""
    assert merged_shape(tcp_rows(3, 0)) == [(0, 3, 0)]
    assert merged_shape([icmp_echo("10.0.0.4", "10.0.1.5", 1, i, b"x" * 9) for i in range(3)]) == [(0, 3, 0)]
    assert merged_shape(tcp_rows(1)) == [(0, 1, 0)]


def test_a_super_packet_is_never_larger_than_ip_can_say():
    """64 rows of 1,400 bytes are two packets."""
    groups = merge(Burst.from_packets(tcp_rows(64, 1400)))
    assert shape(groups) == [(0, 46, 1400), (46, 18, 1400)]
    assert max(len(present(group.packet)) for group in groups) <= 65535


def test_a_destination_that_is_too_small_is_not_touched():
    """The kernel checks before it writes; the wrapper makes its own."""
    burst = Burst.from_packets(tcp_rows(4))
    groups = np.full((4, GROUP_WORDS), -7, np.int64)
    small = np.full(burst.nbytes + 4 * 10 - 1, 0xEE, np.uint8)
    numbers = burst.stride, burst.offset, burst.size, burst.count, burst.last
    assert merge_rows(burst.buffer, *numbers, small, 10, groups) == -1
    assert merge_rows(burst.buffer, *numbers, np.zeros(2000, np.uint8), 10, groups[:3]) == -1
    assert (small == 0xEE).all()
    assert (groups == -7).all()
    assert shape(merge(burst, small, headroom=10)) == [(0, 4, 100)]


ROW = st.sampled_from(
    [
        *tcp_rows(4),
        *tcp_rows(2, start=1400, flags=0x18),
        *tcp_rows(2, sport=9),
        *(udp_packet("10.0.0.4", "10.0.1.5", 1, 2, payload(112, i), identification=i) for i in range(3)),
        bytes(140),
    ]
)


@settings(deadline=None, max_examples=300)
@given(rows=st.lists(ROW, min_size=1, max_size=12), flips=st.lists(st.integers(0, 140 * 8 - 1), max_size=2))
def test_cutting_again_gives_the_rows_that_were_joined(rows, flips):
    """Whatever is mixed into a burst: every row is in one group, in order, and comes out as it went in.

    But for identifications under DF that stayed the same: they have no meaning, and cutting counts them up.
    """
    damaged = bytearray(rows[0])
    for bit in flips:
        damaged[bit // 8] ^= 1 << bit % 8
    rows = [bytes(damaged), *rows[1:]]
    delivered: list[bytes] = []
    for group in merge(Burst.from_packets(rows)):
        assert group.start_row == len(delivered)
        if group.packet is None:
            delivered += rows[group.start_row : group.start_row + group.row_count]
        else:
            assert group.row_count > 1
            delivered += [
                row.tobytes() for cut in segment(group.packet, group.gso_size) for row in cut.rows()
            ]
    assert [without_identification(row) for row in delivered] == [without_identification(row) for row in rows]


def without_identification(row):
    return row[:4] + row[6:10] + row[12:]
