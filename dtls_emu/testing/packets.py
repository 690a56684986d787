"""Packets between the VMs of :func:`~dtls_emu.testing.wire.make_topology`, for tests of cards."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dtls_emu.wire.checksum import internet_checksum
from dtls_emu.wire.headers import ROUTING, TCP
from dtls_emu.wire.packet import icmp_echo, ip_packet, tcp_packet, udp_packet
from dtls_emu.wire.parse import pseudo_header
from dtls_emu.wire.vxlan import encapsulation_header


if TYPE_CHECKING:
    from numpy.typing import NDArray


__all__ = [
    "A2",
    "A6",
    "B6",
    "FLOWS",
    "HOSTS",
    "SECRET",
    "VNI",
    "A",
    "B",
    "C",
    "as_array",
    "frame",
    "route_ends",
    "source_routed",
    "tcp",
    "udp",
]

A, A2, B, C = "10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.7"
A6, B6 = "fd00::4", "fd00::6"
HOSTS: Final = {"h1": "10.255.0.1", "h2": "10.255.0.2", "h3": "10.255.0.3"}
VNI: Final = 5001

SECRET: Final = bytes(range(64, 192))
"""A payload that is recognised wherever it is in clear."""


def udp(
    source: str = A, destination: str = B, payload: bytes = SECRET, sport: int = 40_000, **options: Any
) -> bytes:
    """A UDP packet."""
    return udp_packet(source, destination, sport, 9, payload, **options)


def tcp(rows: int = 1, size: int = 1000, source: str = A, destination: str = B, **options: Any) -> bytes:
    """A packet with payload for so many rows: to a card that is given a segment size, a super-packet."""
    payload = np.arange((rows * size + 1) // 2, dtype=np.uint16).tobytes()[: rows * size]
    return tcp_packet(source, destination, 40_000, 9, payload, **options)


def source_routed(
    source: str, hop: str, last: str, rows: int, size: int = 1000
) -> tuple[bytes, tuple[int, int, int]]:
    """A TCP super-packet as a virtual NIC hands it over, by way of one hop, where the packet goes at first.

    Its checksum has the sum of the pseudo header only, with the route's last address. Loose source routing over
    IPv4 (RFC 791 3.1), a routing header of type 0 over IPv6 (RFC 8200 4.4: one that every stack can read).

    Returns:
        the packet; and virtio's ``hdr_len``, ``csum_start`` and ``csum_offset``.
    """
    whole = tcp(rows, size, source, last)
    version = 4 if whole[0] >> 4 == 4 else 6
    transport = bytearray(whole[20 if version == 4 else 40 :])
    pseudo = pseudo_header(ip_address(source).packed + ip_address(last).packed, TCP, len(transport))
    transport[16:18] = (internet_checksum(pseudo) ^ 0xFFFF).to_bytes(2)
    if version == 4:
        route = b"\x83\x07\x04" + ip_address(last).packed + b"\0"
        packet = bytearray(ip_packet(source, hop, TCP, route + transport))
        packet[0] = 0x47
        packet[10:12] = bytes(2)
        packet[10:12] = internet_checksum(packet[:28]).to_bytes(2)
        start = 28
    else:
        route = bytes((TCP, 2, 0, 1, 0, 0, 0, 0)) + ip_address(last).packed
        packet = bytearray(ip_packet(source, hop, ROUTING, route + transport))
        start = 64
    return bytes(packet), (start + 20, start, 16)


def route_ends(packet: bytes) -> tuple[bytes, bool]:
    """Of a packet that a :func:`source_routed` one was cut into: its payload, and whether its checksum is right."""
    source, last, start = (
        (packet[12:16], packet[23:27], 28) if packet[0] >> 4 == 4 else (packet[8:24], packet[48:64], 64)
    )
    transport = packet[start:]
    pseudo = pseudo_header(source + last, TCP, len(transport))
    return transport[20:], internet_checksum(pseudo + transport) == 0


def frame(packet: bytes, vni: int = VNI) -> bytes:
    """A VXLAN frame, with MAC addresses of zeros."""
    return encapsulation_header(vni, bytes(6), bytes(6), packet[0] >> 4).tobytes() + packet


def as_array(data: bytes) -> NDArray[np.uint8]:
    """Bytes that a kernel may write to."""
    return np.frombuffer(bytearray(data), np.uint8)


FLOWS: Final = (udp(), udp(A6, B6), tcp(), tcp(source=A6, destination=B6), icmp_echo(A, B, 1, 2, SECRET))
"""Packets of flows that tests offload."""
