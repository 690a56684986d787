"""The virtio header: checksums are finished where it says, and it says right what is still to be done."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtls_emu.testing.present import present
from dtls_emu.wire.checksum import fold, pseudo_header_sum
from dtls_emu.wire.headers import transport_layout
from dtls_emu.wire.packet import tcp_packet, udp_packet
from dtls_emu.wire.virtio import VNET_FIELDS, complete_checksum, fill_super_packet_header


ENDS = {4: ("10.0.0.4", "10.0.0.5"), 6: ("fd00::4", "fd00::5")}


@settings(deadline=None)  # the first call compiles
@given(
    payload=st.binary(max_size=200),
    version=st.sampled_from([4, 6]),
    kind=st.sampled_from(["tcp", "udp"]),
    before=st.integers(0, 9),
)
def test_a_finished_checksum_is_that_of_the_packet(payload, version, kind, before):
    """At any place of a buffer, of which nothing else changes."""
    make, field, protocol = (tcp_packet, 16, 6) if kind == "tcp" else (udp_packet, 6, 17)
    packet = make(*ENDS[version], 1, 2, payload)
    start = 20 if version == 4 else 40
    buffer = np.frombuffer(b"\xaa" * before + packet + b"\xaa" * 5, np.uint8).copy()
    place = before + start + field
    partial = fold(pseudo_header_sum(buffer, before, protocol, len(packet) - start))
    buffer[place : place + 2] = partial >> 8, partial & 0xFF
    assert complete_checksum(buffer, before, len(packet), start, field)
    assert buffer.tobytes() == b"\xaa" * before + packet + b"\xaa" * 5


@given(
    length=st.integers(0, 60),
    start=st.integers(-5, 65_535),
    offset=st.integers(-5, 65_535),
)
def test_a_field_outside_of_the_packet_is_refused_and_nothing_written(length, start, offset):
    """Whatever a header says."""
    buffer = np.arange(100, dtype=np.uint8)
    before = buffer.copy()
    fits = start >= 0 and offset >= 0 and start + offset + 2 <= length
    assert complete_checksum(buffer, 20, length, start, offset) == fits
    changed = np.flatnonzero(buffer != before)
    assert set(changed.tolist()) <= ({20 + start + offset, 21 + start + offset} if fits else set())


def super_packet_header(packet, gso_size):
    """The header of a super-packet; None when it cannot be one."""
    memory = np.frombuffer(packet, np.uint8)
    layout = transport_layout(memory, 0, len(packet))
    if layout < 0:
        return None
    header = np.zeros(VNET_FIELDS.size, np.uint8)
    fill_super_packet_header(memory, 0, layout, gso_size, header, 0)
    return header.tobytes()


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (tcp_packet(*ENDS[4], 1, 2, bytes(99), options=bytes(12)), (1, 1, 52, 33, 20, 16)),
        (tcp_packet(*ENDS[6], 1, 2, bytes(99)), (1, 4, 60, 33, 40, 16)),
        (tcp_packet(*ENDS[4], 1, 2, bytes(99), flags=0x90), (1, 0x81, 40, 33, 20, 16)),
        (udp_packet(*ENDS[4], 1, 2, bytes(99)), (1, 5, 28, 33, 20, 6)),
        (udp_packet(*ENDS[6], 1, 2, bytes(99)), (1, 5, 48, 33, 40, 6)),
    ],
)
def test_the_header_of_a_super_packet(packet, expected):
    """Flags, kind, where the payload begins, its size a packet, where the checksum is taken and where it goes."""
    header = super_packet_header(packet, 33)
    assert VNET_FIELDS.unpack(present(header)) == expected


@given(st.binary(max_size=120))
def test_what_is_no_packet_has_no_header(data):
    """Or it is one, and then every place that the header names lies within it."""
    header = super_packet_header(data, 10)
    if header is not None:
        _, _, payload, _, start, field = VNET_FIELDS.unpack(header)
        assert start + field + 2 <= payload <= len(data)
