"""The internet checksum, with scapy as the oracle."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import in4_pseudoheader
from scapy.layers.inet6 import in6_chksum
from scapy.utils import checksum as scapy_checksum

from dtls_emu.wire.checksum import (
    adjust,
    finish,
    fold,
    internet_checksum,
    pseudo_header_sum,
    sum_bytes,
)
from dtls_emu.wire.packet import ip_packet


words = st.integers(0, 0xFFFF)


@settings(deadline=None)
@given(data=st.binary(max_size=3000))
def test_equals_scapy_for_any_bytes(data):
    """Every length, odd ones too."""
    assert internet_checksum(data) == scapy_checksum(data)


def test_example_of_the_rfc():
    """RFC 1071 3: 00 01 f2 03 f4 f5 f6 f7 sums up to ddf2."""
    data = np.frombuffer(bytearray.fromhex("0001f203f4f5f6f7"), np.uint8)
    assert sum_bytes(data, 0, 8) == 0xDDF2


@settings(deadline=None)
@given(data=st.binary(min_size=1, max_size=200), start=st.integers(0, 199))
def test_sum_of_a_slice_is_the_sum_of_its_bytes(data, start):
    """Offset and alignment do not matter."""
    start %= len(data)
    array = np.frombuffer(bytearray(data), np.uint8)
    assert finish(sum_bytes(array, start, len(data) - start)) == scapy_checksum(data[start:])


def test_a_maximal_packet_does_not_overflow():
    """65,535 bytes of ff fold to ffff."""
    assert internet_checksum(b"\xff" * 65535) == scapy_checksum(b"\xff" * 65535)


def test_carries_fold_back_from_every_bit():
    """A sum of up to 63 bits is folded completely: one carry a step is not enough."""
    for total in (
        0x7FFF_FFFF_FFFF_FFFF,
        0xFFFF_FFFF_FFFF,
        0x1_0000_FFFF_FFFF,
        0x1_FFFE_FFFF,
        0x1FFFF,
        0xFFFF,
        0,
    ):
        expected = total
        while expected > 0xFFFF:
            expected = (expected & 0xFFFF) + (expected >> 16)
        assert fold(total) == expected


@settings(deadline=None)
@given(data=st.binary(min_size=4, max_size=100), new=words)
def test_adjusting_is_summing_again(data, new):
    """RFC 1624: one changed word costs no new pass over the data."""
    old = int.from_bytes(data[2:4])
    changed = data[:2] + new.to_bytes(2) + data[4:]
    expected = internet_checksum(changed)
    if any(changed):  # the sum of nothing but zeros has two spellings
        assert adjust(internet_checksum(data), old, new) == expected


@pytest.mark.parametrize("protocol", [6, 17])
def test_pseudo_header_of_ipv4(protocol):
    """With scapy's pseudo header over the same packet."""
    from scapy.layers.inet import IP

    packet = ip_packet("10.0.0.4", "10.200.255.255", protocol, b"x" * 99)
    expected = scapy_checksum(in4_pseudoheader(protocol, IP(packet), 99))
    assert finish(pseudo_header_sum(np.frombuffer(bytearray(packet), np.uint8), 0, protocol, 99)) == expected


@pytest.mark.parametrize("protocol", [6, 17, 58])
def test_pseudo_header_of_ipv6(protocol):
    """With scapy's checksum over the same packet."""
    from scapy.layers.inet6 import IPv6

    packet = ip_packet("fd00::4", "fd00:ffff::ffff:5", protocol, b"x" * 98)
    array = np.frombuffer(bytearray(packet), np.uint8)
    total = pseudo_header_sum(array, 0, protocol, 98) + sum_bytes(array, 40, 98)
    assert finish(total) == in6_chksum(protocol, IPv6(packet), b"x" * 98)
