"""Datagrams in, as kernels: ports in turn, one read after the other.

1. Ports that are readable are read in turn (:func:`receive_next`), each a bounded number of times, so that one flow
   does not starve another. A caller may stop amid a turn, and go on with it later.
2. One read brings up to 128 datagrams of one size that the kernel has merged (``UDP_GRO``); control messages tell
   their size and their type of service.
3. What is empty, or was cut off, is rejected; what came is described in `arrival`, its sender in `name`.
"""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dtls_emu.fabric.failures import FAILURES, count_failure
from dtls_emu.fabric.offload import SOL_UDP, TOS_MESSAGE, UDP_GRO
from dtls_emu.fabric.socket_address import NAME_SPACE
from dtls_emu.fabric.syscalls import (
    ADDRESS,
    EVENT,
    IOVEC,
    MSG_DONTWAIT,
    MSGHDR,
    call,
    epoll_wait,
    error_number,
)
from dtls_emu.wire.memory import kernel, load_u8, load_u32_native, load_u64_native


if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dtls_emu.fabric.syscalls import SystemCalls


__all__ = ["READS_PER_PORT", "RECEIVER", "RECEIVE_BYTES", "Receiver", "drain", "receive_next"]

RECEIVE_BYTES: Final = 65_536
"""Of the receive buffer: more than any UDP payload, merged or not, so nothing is ever cut off."""

READS_PER_PORT: Final = 8
"""Reads of one port in a turn, before others have theirs: one flow must not starve another."""

MAX_EVENTS: Final = 64

TURN: Final = np.dtype(
    [
        # Most rounds of ready ports in a turn, and most reads of a port in a round.
        ("rounds", np.int64),
        ("reads", np.int64),
        # How far it is: rounds begun, ports that were ready in this one and the next of them, the port that is
        # being read and how many reads of it are left.
        ("round", np.int64),
        ("ready", np.int64),
        ("next", np.int64),
        ("file", np.int64),
        ("left", np.int64),
    ]
)

ARRIVAL: Final = np.dtype(
    [
        ("port", np.int64),  # UDP port of this host
        ("count", np.int64),  # datagrams
        ("size", np.int64),  # of each but the last, in bytes
        ("last", np.int64),
        ("tos", np.int64),  # type of service, or traffic class
    ]
)

_CONTROL_SPACE: Final = 64
_CONTROL_HEADER: Final = socket.CMSG_LEN(0)
_CONTROL_STEP: Final = socket.CMSG_SPACE(4)
_LEVEL_AT: Final = _CONTROL_HEADER - 8
_TYPE_AT: Final = _CONTROL_HEADER - 4
_CUT_OFF: Final = int(socket.MSG_TRUNC | socket.MSG_CTRUNC)

RECEIVER: Final = np.dtype(
    [
        ("epoll", np.int64),  # file number of the epoll that has the ports
        ("turn", TURN),
        ("arrival", ARRIVAL),
        # Counters, in datagrams; `reads` in calls that brought something.
        ("received", np.int64),
        ("rejected", np.int64),
        ("reads", np.int64),
        ("failures", FAILURES),
        # Level and type of the control message with the type of service.
        ("tos_level", np.int64),
        ("tos_type", np.int64),
        # The system call: its function, the address of its `message`, and what that points to.
        ("recvmsg", ADDRESS),
        ("call", ADDRESS),
        ("message", MSGHDR),
        ("vector", IOVEC),
        ("control", np.uint8, (_CONTROL_SPACE,)),
        ("name", np.uint8, (NAME_SPACE,)),
        ("events", np.uint8, (MAX_EVENTS * EVENT.itemsize,)),
    ],
    align=True,
)
"""All that receiving reads and writes, but which files are ports, and the memory that is received into."""

_EVENT_SIZE: Final = EVENT.itemsize
_FILE_AT: Final[int] = EVENT.fields["file"][1]  # type: ignore[index]  # it has fields


class Receiver:
    """The memory of a host's receiving.

    Fields:
        state: one :data:`RECEIVER`; it and what it points to live as long as this object.
        memory: what is received into.

    Args:
        family: of the sockets.
        epoll: file number of the epoll that has the ports.
        calls: system calls.
    """

    def __init__(self, family: int, epoll: int, *, calls: SystemCalls) -> None:
        self.memory = np.empty(RECEIVE_BYTES, np.uint8)
        self.state: NDArray[np.void] = np.zeros(1, RECEIVER)
        state, base = self.state, self.state.ctypes.data
        state["epoll"] = epoll
        state["turn"]["rounds"], state["turn"]["reads"] = READS_PER_PORT, 1
        state["tos_level"], state["tos_type"] = TOS_MESSAGE[family]
        state["recvmsg"], state["call"] = calls.recvmsg, base + _offset("message")
        state["vector"]["base"], state["vector"]["length"] = self.memory.ctypes.data, RECEIVE_BYTES
        message = state["message"]
        message["vectors"], message["vector_count"] = base + _offset("vector"), 1
        message["name"], message["control"] = base + _offset("name"), base + _offset("control")


def _offset(field: str) -> int:
    offset: int = RECEIVER.fields[field][1]  # type: ignore[index]  # it has fields
    return offset


@kernel
def receive_next(receivers: NDArray[np.void], ports: NDArray[np.int32]) -> bool:
    """Read the port whose turn it is. False: the turn is over, and the next call begins another.

    Args:
        receivers: one; if so, `arrival` says what has come.
        ports: number of the port by the file number of its socket, 0 for other files.
    """
    receiver = receivers[0]
    turn = receiver.turn
    while True:
        if turn.left > 0:
            turn.left -= 1
            found = _receive(receiver, turn.file)
            if found > 0:
                receiver.arrival.port = ports[turn.file]
                return True
            if found < 0:
                turn.left = 0
            continue
        if turn.next >= turn.ready:
            if turn.round == turn.rounds:
                break
            ready = epoll_wait(receiver.epoll, receiver.events.ctypes.data, MAX_EVENTS, 0)
            if ready <= 0:
                break
            turn.round += 1
            turn.ready = ready
            turn.next = 0
        file = load_u32_native(receiver.events, turn.next * _EVENT_SIZE + _FILE_AT)
        turn.next += 1
        if file < len(ports) and ports[file]:  # else it was closed since
            turn.file = file
            turn.left = turn.reads
    turn.round = 0
    return False


@kernel
def drain(receivers: NDArray[np.void], file: int, limit: int) -> None:
    """Read what has arrived at a port, and only count it."""
    for _ in range(limit):
        if _receive(receivers[0], file) < 0:
            return


@kernel
def _receive(receiver: Any, file: int) -> int:
    """One read of a port. Returns how many datagrams came; 0 if they were rejected, -1 if nothing was there."""
    message = receiver.message
    message.name_length = NAME_SPACE
    message.control_length = _CONTROL_SPACE
    message.flags = 0
    got = call(receiver.recvmsg, file, receiver.call, MSG_DONTWAIT)
    if got < 0:
        error = error_number()
        if error not in (errno.EAGAIN, errno.EINTR):
            count_failure(receiver.failures, error, 0)
        return -1
    receiver.reads += 1
    if got == 0 or message.flags & _CUT_OFF:
        receiver.received += 1
        receiver.rejected += 1
        return 0
    arrival = receiver.arrival
    size = _read_control(receiver)
    if size <= 0 or size > got:
        size = got
    count = (got + size - 1) // size
    arrival.count = count
    arrival.size = size
    arrival.last = got - (count - 1) * size
    receiver.received += count
    return int(count)


@kernel
def _read_control(receiver: Any) -> int:
    """The size of each datagram of a merged receive, 0 when it holds a single one; `arrival` has their type of service."""
    control = receiver.control
    receiver.arrival.tos = 0
    segment = 0
    for at in range(0, receiver.message.control_length - _CONTROL_HEADER, _CONTROL_STEP):
        level, kind = load_u32_native(control, at + _LEVEL_AT), load_u32_native(control, at + _TYPE_AT)
        number = load_u32_native(control, at + _CONTROL_HEADER)
        if level == SOL_UDP and kind == UDP_GRO:
            segment = number if number < 1 << 31 else 0  # a C int
        elif level == receiver.tos_level and kind == receiver.tos_type:
            # Of IPv4 a byte, of IPv6 a C int.
            is_byte = load_u64_native(control, at) == np.uint64(_CONTROL_HEADER + 1)
            receiver.arrival.tos = load_u8(control, at + _CONTROL_HEADER) if is_byte else number & 0xFF
    return segment
