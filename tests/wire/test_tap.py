"""What a mirror sends, byte for byte as it was captured from the vendor's."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from dtls_emu.errors import LocalProtocolError
from dtls_emu.wire.checksum import internet_checksum
from dtls_emu.wire.tap import TAP_OVERHEAD, ethernet_frame, tap_packet


GOLDEN = bytes.fromhex(
    "7ced8d03b69c7ced8daa92dc0800450000660000000040"
    "11637f0a0002040a010104ce9912b5005200000800000000001b007c1e525639cb7ced8daa92dc0800"
    "45020034301140008006b2a70a0002040a000206"
    "d56900506c3f58cf0000000080c2faf0c0f10000020405500103030801010402"
)
SOURCE = bytes.fromhex("7ced8daa92dc"), IPv4Address("10.0.2.4")
COLLECTOR = bytes.fromhex("7ced8d03b69c"), IPv4Address("10.1.1.4")


def test_the_packet_is_that_of_a_published_capture():
    """116 bytes: a SYN from 10.0.2.4 to 10.0.2.6, mirrored to 10.1.1.4."""
    assert len(GOLDEN) == 116
    frame = GOLDEN[TAP_OVERHEAD:]
    assert tap_packet(frame, SOURCE, COLLECTOR, 52_889) == GOLDEN
    assert ethernet_frame(SOURCE[0], frame[:6], frame[14:]) == frame


def test_the_outer_header_is_right_for_every_length():
    """Its checksum and both lengths."""
    for size in (14, 60, 1514, 9014):
        packet = tap_packet(bytes(size), SOURCE, COLLECTOR, 49_152, vni=0xFFFFFF)
        assert len(packet) == size + TAP_OVERHEAD
        assert internet_checksum(packet[14:34]) == 0
        assert int.from_bytes(packet[16:18]) == len(packet) - 14
        assert int.from_bytes(packet[38:40]) == len(packet) - 34
        assert packet[46:49] == b"\xff\xff\xff"


@pytest.mark.parametrize(("size", "vni"), [(65_500, 27), (60, 1 << 24), (60, -1)])
def test_what_does_not_fit_is_refused(size, vni):
    """Rather than cut."""
    with pytest.raises(LocalProtocolError):
        tap_packet(bytes(size), SOURCE, COLLECTOR, 49_152, vni=vni)
