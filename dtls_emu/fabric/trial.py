"""Does the kernel cut and merge datagrams? Two are sent at once to ourselves, with plain sockets and no compiler."""

from __future__ import annotations

import select
import socket
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from dtls_emu.fabric.offload import (
    SOL_UDP,
    UDP_SEGMENT,
    enlarge_buffers,
    prepare_gro,
    prepare_gso,
)


if TYPE_CHECKING:
    from dtls_emu.fabric.offload import Offload


__all__ = ["Trial", "try_offloads"]

_DATAGRAMS: Final = b"12", b"34"
_PATIENCE: Final = 1.0
"""Seconds. On loopback a datagram arrives at once, or never."""


class Trial(NamedTuple):
    """What came of it.

    Fields:
        offloads: ``udp_gso``, ``udp_gro``, ``socket_buffer``, and why not.
        sends, reads: system calls that both took; 1 of each where the kernel cuts and merges.
    """

    offloads: dict[str, Offload]
    sends: int
    reads: int


def try_offloads(address: str = "127.0.0.1") -> Trial:
    """Send two datagrams to a socket on an address of this machine.

    Raises:
        OSError: there can be no such socket, or it cannot send at all.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        offloads = {
            "udp_gso": prepare_gso(sock, "auto"),
            "udp_gro": prepare_gro(sock, "auto"),
            "socket_buffer": enlarge_buffers(sock),
        }
        sock.bind((address, 0))
        sends = _send(sock, is_cut=offloads["udp_gso"]["state"] == "on")
        arrived = reads = 0
        while arrived < len(b"".join(_DATAGRAMS)) and select.select([sock], [], [], _PATIENCE)[0]:
            arrived += len(sock.recv(1 << 16))
            reads += 1
    return Trial(offloads, sends, reads)


def _send(sock: socket.socket, *, is_cut: bool) -> int:
    own = sock.getsockname()
    if is_cut:
        control = [(SOL_UDP, UDP_SEGMENT, struct.pack("=H", len(_DATAGRAMS[0])))]
        try:
            sock.sendmsg(_DATAGRAMS, control, 0, own)
        except OSError:  # a device refuses segments when they are sent
            pass
        else:
            return 1
    for datagram in _DATAGRAMS:
        sock.sendto(datagram, own)
    return len(_DATAGRAMS)
