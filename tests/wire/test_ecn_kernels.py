"""Congestion marks: combined as RFC 6040 says, and nothing else of a packet changed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtls_emu.testing.present import present
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.checksum import internet_checksum
from dtls_emu.wire.ecn_kernels import NOT_CAPABLE, combine, mark_rows, type_of_service
from dtls_emu.wire.packet import tcp_packet, udp_packet, with_tos
from dtls_emu.wire.parse import is_intact, parse_packet_untrusted


ENDS = [("10.0.0.4", "10.0.1.5"), ("fd00::4", "fd00:1::5")]
NOT_ECT, ECT_1, ECT_0, CE = range(4)

# RFC 6040, figure 4: a row for each field inside, a column for each outside
OUTER = [NOT_ECT, ECT_0, ECT_1, CE]
FIGURE_4 = {
    NOT_ECT: [NOT_ECT, NOT_ECT, NOT_ECT, NOT_CAPABLE],
    ECT_0: [ECT_0, ECT_0, ECT_1, CE],
    ECT_1: [ECT_1, ECT_1, ECT_1, CE],
    CE: [CE, CE, CE, CE],
}


@pytest.mark.parametrize("dscp", [0, 46, 63])
@pytest.mark.parametrize("inner", FIGURE_4)
def test_fields_are_combined_as_in_figure_4(inner, dscp):
    """Whatever stands beside them: of neither side a DSCP plays a part."""
    other = 63 - dscp
    found = [combine(dscp << 2 | inner, other << 2 | outer) for outer in OUTER]
    assert found == FIGURE_4[inner]


def test_what_is_combined_twice_is_what_it_was():
    """A packet that the fast path has marked, and then leaves to the slow path, is marked by that again."""
    for inner in range(4):
        for outer in range(4):
            once = combine(inner, outer)
            if once != NOT_CAPABLE:
                assert combine(once, outer) == once


@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize("tos", [0, 1, 0xB8, 0xFF])
def test_a_packet_is_made_with_a_type_of_service(ends: tuple[str, str], tos):
    """At its place in both headers; IPv4's checksum is right."""
    plain = udp_packet(*ends, 1, 2, b"abc")
    packet = with_tos(plain, tos)
    assert type_of_service(np.frombuffer(packet, np.uint8), 0) == tos
    if ends is ENDS[0]:
        assert internet_checksum(packet[:20]) == 0
    else:
        assert int.from_bytes(packet[:4]) >> 20 & 0xFF == tos
    assert with_tos(packet, 0) == plain


@settings(deadline=None, max_examples=200)  # the first call compiles
@given(
    ends=st.sampled_from(ENDS),
    tos=st.integers(0, 255),
    ecn=st.integers(0, 3),
    count=st.integers(1, 5),
    headroom=st.integers(0, 43),
    identification=st.integers(0, 65_535),
    wrong=st.integers(0, 65_535),
)
def test_marking_changes_the_field_and_the_checksum_over_it(
    ends: tuple[str, str], tos, ecn, count, headroom, identification, wrong
):
    """Of every row, and a wrong checksum stays as wrong as it was: a guest must see that."""
    rows = [
        with_tos(tcp_packet(*ends, 1, 2, bytes([row]) * 9, identification=identification), tos)
        for row in range(count)
    ]
    burst = Burst.from_packets(rows, headroom=headroom, tailroom=3)
    before = burst.buffer.copy()
    mark_rows(burst.buffer, burst.stride, burst.offset, count, ecn)
    expected = [with_tos(row, tos & 0xFC | ecn) for row in rows]
    assert [row.tobytes() for row in burst.rows()] == expected
    assert all(is_intact(present(parse_packet_untrusted(row.tobytes()))) for row in burst.rows())
    for index in range(count):
        start = index * burst.stride
        assert (burst.buffer[start : start + headroom] == before[start : start + headroom]).all()
    if ends is ENDS[0]:
        row = burst.row(0)
        right = int.from_bytes(row[10:12])
        damaged = (right + wrong) % 0xFFFF
        row[10:12] = damaged >> 8, damaged & 0xFF
        mark_rows(burst.buffer, burst.stride, burst.offset, 1, ecn ^ 1)
        assert (internet_checksum(row[:20].tobytes()) in {0, 0xFFFF}) == (wrong % 0xFFFF == 0)
