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
import sys
from typing import TYPE_CHECKING, Final, Literal, TypedDict

from dtls_emu.errors import DtlsEmuError
from dtls_emu.wire.burst import MAX_ROWS
from dtls_emu.wire.overhead import MAX_UDP_PAYLOAD


if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


__all__ = [
    "CONTROL_BYTES",
    "GSO_REFUSALS",
    "MAX_SEND_BYTES",
    "MAX_SEND_SEGMENTS",
    "REFUSED_BY",
    "RESUME_AT",
    "SEGMENTATION_WORDS",
    "SOCKET_BUFFER_BYTES",
    "SOL_UDP",
    "TOS_MESSAGE",
    "UDP_GRO",
    "UDP_SEGMENT",
    "ControlMessage",
    "FabricUnavailableError",
    "Offload",
    "OffloadMode",
    "enlarge_buffers",
    "forbid_fragments",
    "kernel_drops",
    "may_segment",
    "note_refusal",
    "path_mtu",
    "prepare_gro",
    "prepare_gso",
    "read_control",
    "report_tos",
    "segment_control",
    "tos_control",
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

GSO_REFUSALS: Final = (errno.EIO, errno.EINVAL)
"""How a kernel or driver without UDP segmentation answers a send that asks for it (EIO: no checksum offload).
EMSGSIZE never means that: what is too large is the datagram. EINVAL may mean either (:func:`note_refusal`)."""

SEGMENTS_AGAIN: Final = 1.0
"""Seconds without segmentation after a refusal. One refused call a second is nothing; a refusal that was misjudged, or
a route that leads over another device by now, would cost five sixths of the throughput for as long."""

# What is known of segmentation, in words that compiled code shares.
RESUME_AT: Final = 0  # when it is tried again, in seconds; 0 while it is used, infinity when it is never
REFUSED_BY: Final = 1  # the error of the last refusal, 0 once a send has gone
SEGMENTATION_WORDS: Final = 2

CONTROL_BYTES: Final = 2 * socket.CMSG_SPACE(4)
"""Room for the control messages of a receive: the size of merged datagrams and their type of service, a C int each."""

IPV6_RECVTCLASS: Final = 66
IPV6_TCLASS: Final = 67
TOS_REPORT: Final = {
    socket.AF_INET: (socket.IPPROTO_IP, socket.IP_RECVTOS),
    socket.AF_INET6: (socket.IPPROTO_IPV6, IPV6_RECVTCLASS),
}
TOS_MESSAGE: Final = {
    socket.AF_INET: (socket.IPPROTO_IP, socket.IP_TOS),
    socket.AF_INET6: (socket.IPPROTO_IPV6, IPV6_TCLASS),
}
"""Level and type by address family: the option, and the message of a send or receive (ip(7), ipv6(7))."""

_TOS_MESSAGES: Final = frozenset(TOS_MESSAGE.values())

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

ControlMessage = tuple[int, int, bytes]
"""Level, type, data: as ``socket.sendmsg`` takes it and ``recvmsg_into`` gives it."""

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


def may_segment(words: NDArray[np.float64], now: float) -> bool:
    """Whether datagrams are to be sent several at once. Like :func:`note_refusal` a kernel of the compiled loop, too."""
    return bool(words[RESUME_AT] == 0 or now >= words[RESUME_AT])


def note_refusal(words: NDArray[np.float64], error: int, full: int, full_sent: int, now: float) -> bool:
    """A send of several datagrams was refused, and each was then sent alone: do without segmentation for a while?

    Older kernels answer EINVAL not only when they cannot segment but also when segments do not fit the path. In the
    second case no datagram of full size goes alone either; in the first all do. The last, which may be shorter, says
    nothing, and neither does a send with one that is full: nothing was to be cut.

    Args:
        words: what is known of segmentation.
        error: of the refusal.
        full: datagrams of full size that were to be sent.
        full_sent: those of them that went alone.
        now: seconds.
    """
    blamed = error in GSO_REFUSALS and full > 1 and full_sent == full
    if blamed:
        words[RESUME_AT] = now + SEGMENTS_AGAIN
        words[REFUSED_BY] = error
    return blamed


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


def segment_control(size: int) -> list[ControlMessage]:
    """The control messages of a send that the kernel shall cut into datagrams of ``size`` bytes (a C u16)."""
    return [(SOL_UDP, UDP_SEGMENT, struct.pack("=H", size))]


def report_tos(sock: socket.socket) -> Offload:
    """Have receives tell the type of service that datagrams came with: without it the fabric's ECN marks are lost."""
    level, kind = TOS_REPORT[sock.family]
    try:
        sock.setsockopt(level, kind, 1)
    except OSError as error:
        return Offload(state="off", reason=f"IP_RECVTOS: {error.strerror}")
    return Offload(state="on", reason="")


def tos_control(family: socket.AddressFamily, tos: int) -> list[ControlMessage]:
    """The control messages of a send with a type of service (a C int); none for 0, which is a socket's own."""
    return [(*TOS_MESSAGE[family], struct.pack("=i", tos))] if tos else []


def read_control(control_untrusted: list[ControlMessage]) -> tuple[int, int]:
    """What a receive tells: the size of each datagram if they are merged (a C int), and their type of service.

    The first is 0 when it holds a single one. The second is a byte or a C int, and 0 when it is not told.
    """
    segment = tos = 0
    for level, kind, data in control_untrusted:
        if level == SOL_UDP:
            if kind == UDP_GRO:
                segment = max(0, int.from_bytes(data[:4], sys.byteorder, signed=True))
        elif (level, kind) in _TOS_MESSAGES:
            tos = data[0] if len(data) == 1 else int.from_bytes(data[:4], sys.byteorder) & 0xFF
    return segment, tos


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
