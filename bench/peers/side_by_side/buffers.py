"""The same UDP socket buffers for every peer.

Linux gives a UDP socket 208 KiB, some 90 full packets, unless its owner asks for more. Most userspace tunnels
do not ask, or may not have it, and then lose packets there before they run out of CPU: the comparison would be
one of buffer sizes. An administrator would raise ``net.core.rmem_default``; that is the whole machine's, so the
sockets of the running peer are borrowed instead (``pidfd_getfd``, Linux 5.6) and enlarged as dtls-emu does its own.
"""

from __future__ import annotations

import ctypes
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dtls_emu.fabric.offload import enlarge_buffers
from side_by_side.errors import PeerError
from side_by_side.processes import family as family_of


if TYPE_CHECKING:
    from collections.abc import Iterable


__all__ = ["enlarge_udp_buffers"]

SYS_PIDFD_GETFD: Final = 438
"""The same number on every architecture but alpha (``asm-generic/unistd.h``)."""

UDP_SOCKETS: Final = {(family, socket.SOCK_DGRAM) for family in (socket.AF_INET, socket.AF_INET6)}


def enlarge_udp_buffers(processes: Iterable[int]) -> None:
    """Enlarge the buffers of every UDP socket that processes or their descendants have open.

    Raises:
        PeerError: they have none, or it cannot be borrowed.
    """
    found = 0
    for pid in family_of(processes):
        for descriptor in _socket_descriptors(pid):
            with _borrow(pid, descriptor) as borrowed:
                if (borrowed.family, borrowed.type) in UDP_SOCKETS:
                    enlarge_buffers(borrowed)
                    found += 1
    if not found:
        raise PeerError("no UDP socket was found in its processes")


def _socket_descriptors(pid: int) -> list[int]:
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if str(entry.readlink()).startswith("socket:"):
                found.append(int(entry.name))
        except OSError:
            continue  # it was closed while we looked
    return found


def _borrow(pid: int, descriptor: int) -> socket.socket:
    """The same socket that another process has, as a descriptor of ours."""
    process = os.pidfd_open(pid)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        borrowed = libc.syscall(SYS_PIDFD_GETFD, process, descriptor, 0)
    finally:
        os.close(process)
    if borrowed < 0:
        raise PeerError(f"pidfd_getfd: {os.strerror(ctypes.get_errno())}")
    return socket.socket(fileno=borrowed)
