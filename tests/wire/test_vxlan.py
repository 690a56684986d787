"""VXLAN with inner Ethernet, with scapy as the oracle."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.layers.vxlan import VXLAN

from dtls_emu.errors import LocalProtocolError
from dtls_emu.testing.present import present
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.packet import udp_packet
from dtls_emu.wire.vxlan import Encapsulation, encapsulate, encapsulation_header, pull_encapsulation_untrusted


HERE, THERE = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")


@pytest.mark.parametrize(("version", "layer"), [(4, IP), (6, IPv6)])
def test_header_is_what_scapy_builds(version, layer):
    """All 22 bytes, for the largest VNI, in front of both IP versions."""
    expected = VXLAN(flags="Instance", vni=0xFFFFFE) / Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    header = encapsulation_header(0xFFFFFE, HERE, THERE, version).tobytes()
    assert header == bytes(expected / layer())[:22]


def test_vni_over_24_bits_is_refused():
    """It would reach into the reserved bits and become another network's."""
    with pytest.raises(LocalProtocolError, match="24 bits"):
        encapsulation_header(2**24, HERE, THERE, 4)


@pytest.mark.parametrize("arena", [0, 5 * 200, 5 * 159, 5 * 159 - 1])
def test_rows_are_copied_behind_the_header_with_room_around_them(arena):
    """Whatever memory is used, scapy reads back each packet; shape, room and mark are right."""
    packets = [udp_packet("10.0.0.4", "10.0.0.5", 1, index, b"x" * 72) for index in range(4)]
    packets.append(udp_packet("10.0.0.4", "10.0.0.5", 1, 4, b"short"))
    burst = Burst.from_packets(packets, headroom=7, tailroom=3, mark=9)
    buffer = np.full(arena, 0xEE, np.uint8) if arena else None
    header = encapsulation_header(5, HERE, THERE, 4)

    wire = encapsulate(burst, header, buffer, headroom=21, tailroom=16)

    assert (wire.offset, wire.size, wire.count, wire.last, wire.stride) == (21, 122, 5, 55, 159)
    assert wire.mark == 9
    assert len(wire.buffer) == 5 * 159
    assert np.shares_memory(wire.buffer, buffer) == (arena >= 5 * 159) if arena else True
    for row, packet in zip(wire.rows(), packets, strict=True):
        frame = VXLAN(row.tobytes())
        assert (frame.vni, frame[Ether].src, bytes(frame[IP])) == (5, "02:00:00:00:00:01", packet)
        assert frame[UDP].sport == 1


def test_pulls_what_it_pushes():
    """Both IP versions, and bytes behind the header are the packet."""
    for version in (4, 6):
        header = encapsulation_header(77, HERE, THERE, version).tobytes()
        pulled = pull_encapsulation_untrusted(header + b"packet")
        assert pulled == Encapsulation(77, THERE, HERE, version, memoryview(b"packet"))


def test_reserved_bits_are_ignored_and_the_vni_flag_is_not():
    """RFC 7348 5: the I flag must be set, reserved fields are ignored on receipt."""
    header = bytearray(encapsulation_header(77, HERE, THERE, 4).tobytes() + b"packet")
    header[0:4], header[7] = b"\xff\xff\xff\xff", 0xFF
    assert present(pull_encapsulation_untrusted(header)).vni == 77
    header[0] = 0xF7
    assert pull_encapsulation_untrusted(header) is None


@pytest.mark.parametrize("ethertype", [0x8100, 0x0806, 0x0000])
def test_other_frames_are_refused(ethertype):
    """An inner VLAN tag (RFC 7348 6.1), ARP, and nothing."""
    header = encapsulation_header(77, HERE, THERE, 4).tobytes()
    assert pull_encapsulation_untrusted(header[:20] + ethertype.to_bytes(2) + b"packet") is None


@given(data=st.binary(max_size=60))
def test_any_bytes_are_read_as_scapy_does_or_refused(data):
    """The parser never raises, and agrees about the VNI."""
    pulled = pull_encapsulation_untrusted(data)
    if pulled is not None:
        assert pulled.vni == VXLAN(data).vni
        assert pulled.packet == data[22:]
