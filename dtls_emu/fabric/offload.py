"""What the kernel does for UDP sockets: segmentation, merging, big buffers, DF. Probed, with a reason each.

Numbers are Linux's (``linux/udp.h``, ``linux/in.h``, ``linux/in6.h``, ``asm-generic/socket.h``); Python names
none of them. Segments go out with one ``sendmsg`` and a ``UDP_SEGMENT`` control message; datagrams that the
kernel merged come in with one ``recvmsg`` and a ``UDP_GRO`` one that tells their size.

References: udp(7); wireguard-go ``conn/gso_linux.go``; quinn-udp ``unix.rs``.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import Final, Literal, TypedDict

from dtls_emu.errors import DtlsEmuError
from dtls_emu.wire.burst import MAX_ROWS
from dtls_emu.wire.overhead import MAX_UDP_PAYLOAD


__all__ = [
    "MAX_SEND_BYTES",
    "MAX_SEND_SEGMENTS",
    "SEGMENTS_AGAIN",
    "SOCKET_BUFFER_BYTES",
    "SOL_UDP",
    "TOS_MESSAGE",
    "UDP_GRO",
    "UDP_SEGMENT",
    "FabricUnavailableError",
    "Offload",
    "OffloadMode",
    "enlarge_buffers",
    "forbid_fragments",
    "kernel_drops",
    "path_mtu",
    "prepare_gro",
    "prepare_gso",
    "report_tos",
]

SOL_UDP: Final = 17
UDP_SEGMENT: Final = 103
UDP_GRO: Final = 104

MAX_SEND_SEGMENTS: Final = MAX_ROWS
"""Of one send (``UDP_MAX_SEGMENTS``). Newer kernels take 128, so a receive may hold twice as many."""

MAX_SEND_BYTES: Final = MAX_UDP_PAYLOAD
"""Of one send, which the kernel takes as one datagram and cuts."""

SOCKET_BUFFER_BYTES: Final = 7 << 20
"""Wanted for each direction: as wireguard-go, ample for 100 bursts of 64 KB."""

SEGMENTS_AGAIN: Final = 1.0
"""Seconds without segmentation after a refusal. One refused call a second is nothing; a refusal that was misjudged, or
a route that leads over another device by now, would cost five sixths of the throughput for as long."""

IPV6_RECVTCLASS: Final = 66
IPV6_TCLASS: Final = 67
TOS_REPORT: Final[dict[int, tuple[int, int]]] = {
    socket.AF_INET: (socket.IPPROTO_IP, socket.IP_RECVTOS),
    socket.AF_INET6: (socket.IPPROTO_IPV6, IPV6_RECVTCLASS),
}
TOS_MESSAGE: Final[dict[int, tuple[int, int]]] = {
    socket.AF_INET: (socket.IPPROTO_IP, socket.IP_TOS),
    socket.AF_INET6: (socket.IPPROTO_IPV6, IPV6_TCLASS),
}
"""Level and type by address family: the option, and the message of a send or receive (ip(7), ipv6(7))."""

_SO_SNDBUFFORCE: Final = 32
_SO_RCVBUFFORCE: Final = 33
_SO_MEMINFO: Final = 55
_MEMINFO: Final = struct.Struct("=9I")
_MEMINFO_DROPS: Final = 8  # SK_MEMINFO_DROPS
_IP_MTU_DISCOVER: Final = 10
_IP_PMTUDISC_DO: Final = 2
_IPV6_MTU_DISCOVER: Final = 23
_IPV6_PMTUDISC_DO: Final = 2
_IP_MTU: Final = 14
_IPV6_MTU: Final = 24
_DISCARD: Final = 9  # RFC 863; nothing is sent there

OffloadMode = Literal["auto", "on", "off"]
"""``auto``: where the kernel has it. ``on``: or fail at the start. ``off``: never."""


class Offload(TypedDict):
    """One line of ``status`` and of a result file.

    Fields:
        state: ``on`` or ``off``.
        reason: why it is off, or what limits it; empty when there is nothing to say.
    """

    state: Literal["on", "off"]
    reason: str


class FabricUnavailableError(DtlsEmuError):
    """What was asked for is not to be had here: an address, or an offload that is ``on``. Says why."""


def prepare_gso(sock: socket.socket, mode: OffloadMode) -> Offload:
    """Find out whether the kernel knows ``UDP_SEGMENT``. A device may still refuse it at the first send."""
    if mode == "off":
        return Offload(state="off", reason="switched off")
    try:
        sock.getsockopt(SOL_UDP, UDP_SEGMENT)
    except OSError as error:
        return _unavailable("UDP_SEGMENT", mode, error)
    return Offload(state="on", reason="")


def prepare_gro(sock: socket.socket, mode: OffloadMode) -> Offload:
    """Switch ``UDP_GRO`` on, and read it back: kernels before 5.12 cannot, and merge unreliably."""
    if mode == "off":
        return Offload(state="off", reason="switched off")
    try:
        sock.setsockopt(SOL_UDP, UDP_GRO, 1)
        kept = sock.getsockopt(SOL_UDP, UDP_GRO)
    except OSError as error:
        return _unavailable("UDP_GRO", mode, error)
    if not kept:
        return _unavailable("UDP_GRO", mode, OSError(errno.EOPNOTSUPP, "accepted but not kept"))
    return Offload(state="on", reason="")


def enlarge_buffers(sock: socket.socket, wanted: int = SOCKET_BUFFER_BYTES) -> Offload:
    """Make both socket buffers hold ``wanted`` bytes; without CAP_NET_ADMIN as many as the kernel allows."""
    for force, plain in ((_SO_RCVBUFFORCE, socket.SO_RCVBUF), (_SO_SNDBUFFORCE, socket.SO_SNDBUF)):
        try:
            sock.setsockopt(socket.SOL_SOCKET, force, wanted)
        except OSError:
            sock.setsockopt(socket.SOL_SOCKET, plain, wanted)
    # The kernel doubles what it is asked for, to pay for its own overhead (socket(7)).
    granted = min(
        sock.getsockopt(socket.SOL_SOCKET, each) // 2 for each in (socket.SO_RCVBUF, socket.SO_SNDBUF)
    )
    if granted >= wanted:
        return Offload(state="on", reason="")
    return Offload(state="off", reason=f"{granted} of {wanted} bytes, for lack of CAP_NET_ADMIN")


def forbid_fragments(sock: socket.socket) -> Offload:
    """Set DF on what is sent: a datagram that does not fit is refused (EMSGSIZE), never fragmented."""
    try:
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _IPV6_PMTUDISC_DO)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_DO)
    except OSError as error:
        return Offload(state="off", reason=f"IP_MTU_DISCOVER: {error.strerror}")
    return Offload(state="on", reason="")


def path_mtu(sock: socket.socket, address: str) -> int | None:
    """Largest IP packet on the way to an address, as the kernel knows it: of the device, or learnt from ICMP.

    Args:
        sock: a UDP socket that is used for nothing else; it is connected anew.
        address: of a host.

    Returns:
        None where there is no way at all.
    """
    level, option = socket.IPPROTO_IP, _IP_MTU
    if sock.family == socket.AF_INET6:
        level, option = socket.IPPROTO_IPV6, _IPV6_MTU
    try:
        sock.connect((address, _DISCARD))
        return sock.getsockopt(level, option)
    except OSError:
        return None


def report_tos(sock: socket.socket) -> Offload:
    """Have receives tell the type of service that datagrams came with: without it the fabric's ECN marks are lost."""
    level, kind = TOS_REPORT[sock.family]
    try:
        sock.setsockopt(level, kind, 1)
    except OSError as error:
        return Offload(state="off", reason=f"IP_RECVTOS: {error.strerror}")
    return Offload(state="on", reason="")


def kernel_drops(sock: socket.socket) -> int:
    """How many receives the kernel dropped because the socket's buffer was full.

    A receive that was merged on the way counts once, whatever it held. 0 where the kernel does not tell.
    """
    try:
        return int(
            _MEMINFO.unpack(sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size))[_MEMINFO_DROPS]
        )
    except (OSError, struct.error):
        return 0


def _unavailable(name: str, mode: OffloadMode, error: OSError) -> Offload:
    reason = f"{name}: {error.strerror} (Linux {os.uname().release})"
    if mode == "on":
        raise FabricUnavailableError(reason)
    return Offload(state="off", reason=reason)
