"""Packets between the VMs of :func:`~dtls_emu.testing.wire.make_topology`, for tests of cards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dtls_emu.wire.packet import icmp_echo, tcp_packet, udp_packet
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
    """A packet with payload for so many rows: a super-packet, if it is one and somebody says so."""
    payload = np.arange((rows * size + 1) // 2, dtype=np.uint16).tobytes()[: rows * size]
    return tcp_packet(source, destination, 40_000, 9, payload, **options)


def frame(packet: bytes, vni: int = VNI) -> bytes:
    """A VXLAN frame, with the MAC addresses of nobody."""
    return encapsulation_header(vni, bytes(6), bytes(6), packet[0] >> 4).tobytes() + packet


def as_array(data: bytes) -> NDArray[np.uint8]:
    """Bytes that a kernel may write to."""
    return np.frombuffer(bytearray(data), np.uint8)


FLOWS: Final = (udp(), udp(A6, B6), tcp(), tcp(source=A6, destination=B6), icmp_echo(A, B, 1, 2, SECRET))
"""Packets of flows that tests offload."""
