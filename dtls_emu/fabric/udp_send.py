"""Datagrams out, as kernels: what leaves together, in one system call, and what is done when that is refused.

1. Datagrams of one turn that can leave together wait behind one another in `wire` (:func:`make_room`,
   :func:`note_waiting`). They go at the latest as the turn ends (:func:`flush`): nothing waits for what is not there
   yet, and nothing overtakes anything. A burst that fills a send alone goes from where it lies (:func:`put`).
2. The kernel takes up to 64 datagrams of one size and type of service to one address at once, whatever flows are in
   them (``UDP_SEGMENT``); the last may be shorter. Many flows, or flows that are held back, make small super-packets
   and lone acknowledgements: each would cost a send here, and a receive and an opening at the other end.
3. A device may refuse segments only when they are sent. Then every datagram is sent singly at once, and, when that
   works, for a while (:func:`note_refusal`). What is not sent is counted by its error.
"""

from __future__ import annotations

import errno
import socket
import struct
from math import inf
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from dtls_emu.fabric.failures import FAILURES, count_failure
from dtls_emu.fabric.offload import (
    MAX_SEND_BYTES,
    MAX_SEND_SEGMENTS,
    SEGMENTS_AGAIN,
    SOL_UDP,
    TOS_MESSAGE,
    UDP_SEGMENT,
)
from dtls_emu.fabric.socket_address import NAME_SPACE, push_socket_address
from dtls_emu.fabric.syscalls import ADDRESS, IOVEC, MSGHDR, call, error_number
from dtls_emu.wire.memory import bytes_at, copy_bytes, kernel, store_u16_native, store_u32_native


if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dtls_emu.fabric.syscalls import SystemCalls
    from dtls_emu.nic.effects import UnderlayAddress


__all__ = [
    "MAX_COPY",
    "NO_SOCKET",
    "PATH",
    "REFUSED_SEGMENTS",
    "SENDER",
    "TOO_LONG",
    "Datagrams",
    "Sender",
    "flush",
    "lead_path",
    "make_paths",
    "make_room",
    "note_waiting",
    "put",
]

MAX_COPY: Final = MAX_SEND_BYTES // 2
"""Bytes of a burst that is worth a copy: two fit one send."""

WIRE_BYTES: Final = 1 << 17
"""Of the memory for what waits: a send, and what a sealer writes beyond the last datagram."""

GSO_REFUSALS: Final = (errno.EIO, errno.EINVAL)
"""How a kernel or driver without UDP segmentation answers a send that asks for it (EIO: no checksum offload).
EMSGSIZE never means that: what is too large is the datagram. EINVAL may mean either (:func:`note_refusal`)."""

NO_SOCKET: Final = -1

TOO_LONG: Final = 1
"""Attention: a datagram was refused because it is too large for its path, which is marked."""

REFUSED_SEGMENTS: Final = 2
"""Attention: datagrams go one by one for a while."""

PATH: Final = np.dtype(
    [
        ("socket", np.int64),  # file number, or NO_SOCKET
        ("is_too_long", np.int64),  # a datagram was refused because it is too large
        ("name_length", np.int64),
        ("name", np.uint8, (NAME_SPACE,)),  # a sockaddr
    ],
    align=True,
)
"""From a socket of this host to an address."""

_CONTROL_HEADER: Final = socket.CMSG_LEN(0)
_CONTROL_STEP: Final = socket.CMSG_SPACE(4)

SENDER: Final = np.dtype(
    [
        # What waits: `count` datagrams of `size` bytes, the last maybe shorter, `used` bytes at `wire`.
        ("wire", ADDRESS),
        ("used", np.int64),
        ("count", np.int64),
        ("size", np.int64),
        ("tos", np.int64),
        ("path", np.int64),
        # What is known of segmentation: when it is tried again, in seconds (0: it is used, infinity: it never is),
        # and the error of the last refusal, 0 once a send has gone.
        ("resume_at", np.float64),
        ("refused_by", np.int64),
        ("attention", np.int64),  # what Python has to look at: TOO_LONG, REFUSED_SEGMENTS
        # Counters, in datagrams; `sends` in calls, `gso_refusals` in calls for several.
        ("offered", np.int64),
        ("sent", np.int64),
        ("sends", np.int64),
        ("gso_refusals", np.int64),
        ("failures", FAILURES),
        # The system call: its function, the address of its `message`, and what that points to.
        ("sendmsg", ADDRESS),
        ("call", ADDRESS),
        ("message", MSGHDR),
        ("vector", IOVEC),
        ("control", np.uint8, (2 * _CONTROL_STEP,)),
    ],
    align=True,
)
"""All that sending reads and writes, but the paths."""


class Datagrams(NamedTuple):
    """What is to be sent over one path, datagrams behind one another.

    Fields:
        path: its number.
        size: of each but the last, in bytes.
        rows: how many.
        last: size of the last.
        tos: type of service, or traffic class.
    """

    path: int
    size: int
    rows: int
    last: int
    tos: int


class Sender:
    """The memory of a host's sending.

    Fields:
        state: one :data:`SENDER`; it and what it points to live as long as this object.
        wire: the memory for what waits.

    Args:
        family: of the sockets.
        segments: let the kernel cut.
        calls: system calls.
    """

    def __init__(self, family: int, *, segments: bool, calls: SystemCalls) -> None:
        self.wire = np.empty(WIRE_BYTES, np.uint8)
        self.state: NDArray[np.void] = np.zeros(1, SENDER)
        state, base = self.state, self.state.ctypes.data
        state["wire"] = self.wire.ctypes.data
        state["resume_at"] = 0 if segments else inf
        state["sendmsg"], state["call"] = calls.sendmsg, base + _offset("message")
        state["message"]["vectors"], state["message"]["vector_count"] = base + _offset("vector"), 1
        # Both tell their own length: of a C u16, and of a C int (udp(7), ip(7), ipv6(7)).
        messages = ((socket.CMSG_LEN(2), SOL_UDP, UDP_SEGMENT), (socket.CMSG_LEN(4), *TOS_MESSAGE[family]))
        for number, message in enumerate(messages):
            struct.pack_into("@Nii", state["control"][0], number * _CONTROL_STEP, *message)


def make_paths(count: int) -> NDArray[np.void]:
    """So many of :data:`PATH`, that lead nowhere yet."""
    paths: NDArray[np.void] = np.zeros(count, PATH)
    paths["socket"] = NO_SOCKET
    return paths


def lead_path(paths: NDArray[np.void], path: int, file: int, destination: UnderlayAddress) -> None:
    """Have a path lead from a socket, or from none, to an address."""
    name = push_socket_address(*destination)
    paths["socket"][path], paths["name_length"][path] = file, len(name)
    paths["name"][path, : len(name)] = np.frombuffer(name, np.uint8)


def _offset(field: str) -> int:
    offset: int = SENDER.fields[field][1]  # type: ignore[index]  # it has fields
    return offset


# --------------------------------------------------------------------------------------- what leaves together


@kernel
def put(
    senders: NDArray[np.void],
    paths: NDArray[np.void],
    rows: NDArray[np.uint8],
    size: int,
    tos: int,
    now: float,
) -> bool:
    """Send datagrams of `size` bytes over the first path. Whether any wait for those that follow."""
    sender = senders[0]
    length = len(rows)
    if length > MAX_COPY:
        flush(senders, paths, now)
        _send_rows(sender, paths, 0, rows.ctypes.data, length, size, tos, now)
        return False
    count = (length + size - 1) // size
    datagrams = Datagrams(0, size, count, length - (count - 1) * size, tos)
    make_room(senders, paths, datagrams, now)
    copy_bytes(bytes_at(sender.wire, WIRE_BYTES), sender.used, rows, 0, length)
    note_waiting(senders, paths, datagrams, now)
    return bool(sender.count > 0)


@kernel
def make_room(senders: NDArray[np.void], paths: NDArray[np.void], datagrams: Datagrams, now: float) -> None:
    """Send what waits, unless these datagrams, of no more than one send, can leave with it."""
    sender = senders[0]
    total = (datagrams.rows - 1) * datagrams.size + datagrams.last
    if sender.count and (
        # The rows have one size; a shorter one can only be the last.
        (datagrams.size != sender.size and (datagrams.size > sender.size or datagrams.rows > 1))
        or sender.count + datagrams.rows > MAX_SEND_SEGMENTS
        or sender.used + total > MAX_SEND_BYTES
        or datagrams.path != sender.path
        or datagrams.tos != sender.tos
        or total > MAX_COPY
    ):
        flush(senders, paths, now)


@kernel
def note_waiting(
    senders: NDArray[np.void], paths: NDArray[np.void], datagrams: Datagrams, now: float
) -> None:
    """These datagrams are in `wire`, behind what waits; they go at once if nothing can follow them."""
    sender = senders[0]
    if sender.count == 0:
        sender.size = datagrams.size
        sender.path = datagrams.path
        sender.tos = datagrams.tos
    total = (datagrams.rows - 1) * datagrams.size + datagrams.last
    sender.used += total
    sender.count += datagrams.rows
    if datagrams.last < sender.size or total > MAX_COPY:
        flush(senders, paths, now)


@kernel
def flush(senders: NDArray[np.void], paths: NDArray[np.void], now: float) -> None:
    """Send what waits."""
    sender = senders[0]
    if sender.count:
        _send_rows(sender, paths, sender.path, sender.wire, sender.used, sender.size, sender.tos, now)
        sender.used = 0
        sender.count = 0


# ------------------------------------------------------------------------------------------------ system calls


@kernel
def _send_rows(
    sender: Any,
    paths: NDArray[np.void],
    path: int,
    address: int,
    length: int,
    size: int,
    tos: int,
    now: float,
) -> None:
    """Send `length` bytes of datagrams, as many at once as the kernel takes."""
    most = max(min(MAX_SEND_SEGMENTS, MAX_SEND_BYTES // size), 1) * size
    message = sender.message
    message.name = paths[path].name.ctypes.data
    message.name_length = paths[path].name_length
    for start in range(0, length, most):
        _send_some(sender, paths[path], address + start, min(most, length - start), size, tos, now)


@kernel
def _send_some(sender: Any, path: Any, address: int, length: int, size: int, tos: int, now: float) -> None:
    count = (length + size - 1) // size
    sender.offered += count
    if count > 1 and not may_segment(sender, now):
        _send_singly(sender, path, address, length, size, tos)
    elif _send(sender, path, address, length, size if count > 1 else 0, tos) >= 0:
        sender.sent += count
        sender.sends += 1
        if count > 1 and sender.resume_at > 0:
            sender.resume_at = 0
            sender.refused_by = 0
    else:
        error = error_number()
        if count == 1 or (error not in GSO_REFUSALS and error != errno.EMSGSIZE):
            _drop(sender, path, error, count)
        else:
            count_failure(sender.failures, error, 0)
            full_sent = _send_singly(sender, path, address, length, size, tos)
            if error in GSO_REFUSALS:
                sender.gso_refusals += 1
            if note_refusal(sender, error, length // size, full_sent, now):
                sender.attention |= REFUSED_SEGMENTS


@kernel
def _send_singly(sender: Any, path: Any, address: int, length: int, size: int, tos: int) -> int:
    """Send datagrams one by one. Returns how many of full size went."""
    sent = full_sent = 0
    for start in range(0, length, size):
        single = min(size, length - start)
        if _send(sender, path, address + start, single, 0, tos) >= 0:
            sent += 1
            full_sent += single == size
        else:
            _drop(sender, path, error_number(), 1)
    sender.sent += sent
    sender.sends += sent
    return full_sent


@kernel
def _send(sender: Any, path: Any, address: int, length: int, segment: int, tos: int) -> int:
    """One system call: for several datagrams of `segment` bytes, or for a single one (0)."""
    vector, message, control = sender.vector, sender.message, sender.control
    vector.base = address
    vector.length = length
    # Two control messages: the segments' size, the type of service. Each is left out where it is 0.
    first = 0 if segment else _CONTROL_STEP
    message.control = control.ctypes.data + first
    message.control_length = (_CONTROL_STEP if segment else 0) + (_CONTROL_STEP if tos else 0)
    if segment:
        store_u16_native(control, _CONTROL_HEADER, segment)
    if tos:
        store_u32_native(control, _CONTROL_STEP + _CONTROL_HEADER, tos)
    return int(call(sender.sendmsg, path.socket, sender.call, 0))


@kernel
def _drop(sender: Any, path: Any, error: int, count: int) -> None:
    """A call that was to send so many datagrams has failed, and they are dropped."""
    count_failure(sender.failures, error, count)
    if error == errno.EMSGSIZE:
        path.is_too_long = 1
        sender.attention |= TOO_LONG


# -------------------------------------------------------------------------------------------------- refusals


@kernel
def may_segment(sender: Any, now: float) -> bool:
    """Whether datagrams are to be sent several at once."""
    return bool(sender.resume_at == 0 or now >= sender.resume_at)


@kernel
def note_refusal(sender: Any, error: int, full: int, full_sent: int, now: float) -> bool:
    """A send of several datagrams was refused, and each was then sent alone: do without segmentation for a while?

    Older kernels answer EINVAL not only when they cannot segment but also when segments do not fit the path. In the
    second case no datagram of full size goes alone either; in the first all do. The last, which may be shorter, says
    nothing, and neither does a send with one that is full: nothing was to be cut.

    Args:
        sender: what is known of segmentation.
        error: of the refusal.
        full: datagrams of full size that were to be sent.
        full_sent: those of them that went alone.
        now: seconds.
    """
    blamed = error in GSO_REFUSALS and full > 1 and full_sent == full
    if blamed:
        sender.resume_at = now + SEGMENTS_AGAIN
        sender.refused_by = error
    return blamed
