"""Addresses of sockets as the kernel has them: ``sockaddr_in`` and ``sockaddr_in6`` (ip(7), ipv6(7))."""

from __future__ import annotations

import ipaddress
import socket
import struct
from functools import lru_cache
from typing import TYPE_CHECKING, Final


if TYPE_CHECKING:
    from dtls_emu.nic.effects import UnderlayAddress


__all__ = ["NAME_SPACE", "pull_socket_address", "push_socket_address"]

NAME_SPACE: Final = 32
"""Bytes that hold either, rounded up."""

_REMEMBERED: Final = 4096
"""Senders whose addresses are not worked out anew at each datagram; what strangers invent does not grow."""


@lru_cache(_REMEMBERED)
def push_socket_address(address: str, port: int) -> bytes:
    """Family, port, flow label, address, scope."""
    parsed = ipaddress.ip_address(address)
    if parsed.version == 4:
        return struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", port, parsed.packed)
    return struct.pack("=H", socket.AF_INET6) + struct.pack("!H4x16s4x", port, parsed.packed)


@lru_cache(_REMEMBERED)
def pull_socket_address(name: bytes) -> UnderlayAddress:
    """The address and the port in at least 28 bytes; a scope is left out."""
    (family,) = struct.unpack_from("=H", name)
    port = int.from_bytes(name[2:4], "big")
    if family == socket.AF_INET:
        return socket.inet_ntop(socket.AF_INET, name[4:8]), port
    return socket.inet_ntop(socket.AF_INET6, name[8:24]), port
