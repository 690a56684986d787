"""A kernel that answers as a test wants, in the place of the C library's functions that carry packets::

    kernel = Kernel()
    kernel.on_send = lambda send: errno.ENOBUFS if send.segment else 0
    fabric = UdpFabric("127.0.0.1", calls=kernel.calls)

Compiled code calls it, so it must outlive whoever has got its calls.
"""

from __future__ import annotations

import ctypes
import socket
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from dtls_emu.fabric.offload import SOL_UDP, TOS_MESSAGE, UDP_GRO, UDP_SEGMENT
from dtls_emu.fabric.syscalls import LIBC


if TYPE_CHECKING:
    from collections.abc import Callable

    from dtls_emu.fabric.syscalls import SystemCalls


__all__ = ["Arrival", "Kernel", "Send", "receive_merged"]

_HEADER: Final = socket.CMSG_LEN(0)
_STEP: Final = socket.CMSG_SPACE(4)


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Message(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.POINTER(_Vector)),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


_CARRY: Final = ctypes.CFUNCTYPE(
    ctypes.c_ssize_t, ctypes.c_int, ctypes.POINTER(_Message), ctypes.c_int, use_errno=True
)
_WRITE: Final = ctypes.CFUNCTYPE(
    ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p, ctypes.c_int, use_errno=True
)


@dataclass(frozen=True)
class Send:
    """One call of ``sendmsg``.

    Fields:
        file: number of the socket.
        name: the ``sockaddr``.
        data: what is to be sent.
        segment: size of the datagrams that it is to be cut into, 0: it is one.
    """

    file: int
    name: bytes
    data: bytes
    segment: int

    @property
    def rows(self) -> list[bytes]:
        """The datagrams."""
        step = self.segment or max(len(self.data), 1)
        return [self.data[start : start + step] for start in range(0, len(self.data), step)]


@dataclass(frozen=True)
class Arrival:
    """What a call of ``recvmsg`` brings.

    Fields:
        data: all datagrams.
        control: level, type and data of each message.
        flags: of the ``msghdr``.
        name: the ``sockaddr``; None: that of the datagram that has really come.
    """

    data: bytes
    control: tuple[tuple[int, int, bytes], ...] = ()
    flags: int = 0
    name: bytes | None = None


class Kernel:
    """See the module.

    Fields that may be set:
        on_send: says of each send the error that it gives; 0: the real kernel is asked.
        on_receive: told at each receive whether something has really come, and says what it is to have brought, or
            the error that it gives; None: what is so.
        on_write: as `on_send`, of each write to a device.

    Fields:
        calls: for fabrics and devices.
    """

    def __init__(self) -> None:
        self.on_send: Callable[[Send], int] = lambda _send: 0
        self.on_receive: Callable[[bool], Arrival | int | None] = lambda _came: None
        self.on_write: Callable[[], int] = lambda: 0
        library = ctypes.CDLL(None, use_errno=True)
        self._real_send, self._real_receive, self._real_write = (
            kind((name, library))
            for kind, name in ((_CARRY, "sendmsg"), (_CARRY, "recvmsg"), (_WRITE, "writev"))
        )
        self._callbacks = _CARRY(self._send), _CARRY(self._receive), _WRITE(self._write)
        send, receive, write = (ctypes.cast(each, ctypes.c_void_p).value or 0 for each in self._callbacks)
        self.calls: SystemCalls = LIBC._replace(sendmsg=send, recvmsg=receive, writev=write)

    def _send(self, file: int, message: Any, flags: int) -> int:
        if error := self.on_send(_read_send(file, message.contents)):
            ctypes.set_errno(error)
            return -1
        return int(self._real_send(file, message, flags))

    def _receive(self, file: int, message: Any, flags: int) -> int:
        got = int(self._real_receive(file, message, flags))
        answer = self.on_receive(got >= 0)
        if answer is None:
            return got  # with the real error, if it is one
        if isinstance(answer, int):
            ctypes.set_errno(answer)
            return -1
        return _fill(message.contents, answer)

    def _write(self, file: int, vectors: int, count: int) -> int:
        if error := self.on_write():
            ctypes.set_errno(error)
            return -1
        return int(self._real_write(file, vectors, count))


def receive_merged(sock: socket.socket) -> tuple[bytes, int, int, tuple[Any, ...]]:
    """What a fabric's own socket would have brought it: datagrams, the size of each (0: it is one), type of service, sender.

    Raises:
        BlockingIOError: nothing is there.
    """
    data, control, _, source = sock.recvmsg(1 << 16, 4 * _STEP)
    segment = tos = 0
    for level, kind, content in control:
        if (level, kind) == (SOL_UDP, UDP_GRO):
            segment = int.from_bytes(content[:4], sys.byteorder)
        elif (level, kind) == TOS_MESSAGE[sock.family]:
            tos = content[0] if len(content) == 1 else int.from_bytes(content[:4], sys.byteorder)
    return data, segment, tos, source


def _read_send(file: int, message: Any) -> Send:
    vector = message.vectors[0]
    control = ctypes.string_at(message.control, message.control_length) if message.control_length else b""
    segment = 0
    for at in range(0, len(control), _STEP):
        level, kind = (int.from_bytes(control[at + _HEADER - back :][:4], sys.byteorder) for back in (8, 4))
        if (level, kind) == (SOL_UDP, UDP_SEGMENT):
            segment = int.from_bytes(control[at + _HEADER :][:2], sys.byteorder)
    name = ctypes.string_at(message.name, message.name_length)
    return Send(file, name, ctypes.string_at(vector.base, vector.length), segment)


def _fill(message: Any, arrival: Arrival) -> int:
    vector = message.vectors[0]
    ctypes.memmove(vector.base, arrival.data, len(arrival.data))
    control = b"".join(
        (_HEADER + len(data)).to_bytes(ctypes.sizeof(ctypes.c_size_t), sys.byteorder)
        + level.to_bytes(4, sys.byteorder)
        + kind.to_bytes(4, sys.byteorder)
        + data.ljust(_STEP - _HEADER, b"\0")
        for level, kind, data in arrival.control
    )
    ctypes.memmove(message.control, control, len(control))
    message.control_length = len(control)
    message.flags = arrival.flags
    if arrival.name is not None:
        ctypes.memmove(message.name, arrival.name, len(arrival.name))
        message.name_length = len(arrival.name)
    return len(arrival.data)
