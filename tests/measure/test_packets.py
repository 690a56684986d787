"""The packets that trials offer, read by a parser that is not ours."""

from __future__ import annotations

from ipaddress import ip_address

import numpy as np
import pytest

from dtls_emu.measure.packets import Ends, check_rows, fragments, rows_per_burst, udp_burst, udp_packet
from dtls_emu.simulation.accounts import AccountingError
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.inspect import PacketClass, key_of


V4 = Ends(ip_address("10.0.0.4"), ip_address("10.0.1.5"))
V6 = Ends(ip_address("fd00::4"), ip_address("fd00:1::5"))


def dissect(packet):
    """The packet as scapy reads it."""
    from scapy.layers.inet import IP
    from scapy.layers.inet6 import IPv6

    return (IP if packet[0] >> 4 == 4 else IPv6)(packet)


@pytest.mark.parametrize("ends", [V4, V6])
@pytest.mark.parametrize("size", [48, 64, 512, 1400, 8900])
def test_whole_packet_has_its_size_and_right_checksums(ends, size):
    """Another implementation computes the same length and checksum fields."""
    packet = udp_packet(ends, size, row=7)
    assert len(packet) == size
    read = dissect(packet)
    rebuilt = read.copy()
    for layer in (rebuilt, rebuilt["UDP"]):
        for field in ("len", "plen", "chksum"):
            if field in layer.fields:
                delattr(layer, field)
    assert bytes(rebuilt) == packet
    assert key_of(packet, 1)[0] is PacketClass.WHOLE


@pytest.mark.parametrize("ends", [V4, V6])
def test_every_shape_is_a_fragment_of_its_size(ends):
    """Scapy finds the fragment, and the card's inspection does."""
    shapes = fragments(ends, 1400)
    assert len(shapes) == len(set(shapes.values())) == 7
    for name, packet in shapes.items():
        assert len(packet) == 1400, name
        read = dissect(packet)
        if ends is V4:
            assert read.len == 1400
            assert read.flags.MF or read.frag, name
            chksum = read.chksum
            del read.chksum
            assert dissect(bytes(read)).chksum == chksum, name
        else:
            assert read.plen == 1360
            assert "IPv6ExtHdrFragment" in read, name
        assert key_of(packet, 1)[0] is PacketClass.FRAGMENT, name


def test_a_burst_is_one_send_at_most():
    """64 rows, or what fits 65,507 bytes with the overhead of encryption."""
    assert [rows_per_burst(size) for size in (64, 512, 1400, 8900)] == [64, 64, 44, 7]
    burst = udp_burst(V4, 1400)
    assert (burst.count, burst.size, burst.last) == (44, 1400, 1400)
    assert len({bytes(row) for row in burst.rows()}) == 44


@pytest.mark.parametrize("ends", [V4, V6])
def test_received_rows_are_recognised_in_any_order_and_stride(ends):
    """A received burst has other strides and may be a part of the one sent -> raises nothing."""
    sent = udp_burst(ends, 64)
    received = Burst.from_packets([bytes(sent.row(row)) for row in (5, 3, 60)], headroom=43, tailroom=16)
    check_rows(received, sent)


@pytest.mark.parametrize("at", [0, 4, 5, 20, 63])
def test_one_altered_byte_is_found(at):
    """Wherever it is, in the row number too."""
    sent = udp_burst(V4, 64)
    received = Burst.from_packets([bytes(row) for row in sent.rows()])
    received.row(9)[at] ^= np.uint8(0x80)
    with pytest.raises(AccountingError, match="alters packets"):
        check_rows(received, sent)


def test_a_packet_of_another_size_is_found():
    """Truncated is altered."""
    sent = udp_burst(V4, 64)
    with pytest.raises(AccountingError):
        check_rows(Burst.from_packets([bytes(sent.row(0)[:63])]), sent)
