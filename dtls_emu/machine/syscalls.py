"""System calls for kernels: the C library's functions, with addresses as plain numbers.

Each returns what the C function returns; after -1, :func:`error_number` says why. Whoever calls keeps alive what the
addresses point to. ``man 2`` of each; ``struct epoll_event`` is packed on x86-64 only (``linux/eventpoll.h``).
"""

from __future__ import annotations

import platform
from typing import Any, Final

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from dtls_emu.wire.memory import kernel


__all__ = [
    "CLOCK_MONOTONIC",
    "EVENT_DATA",
    "EVENT_SIZE",
    "MSG_DONTWAIT",
    "clock_gettime",
    "epoll_wait",
    "error_number",
    "ppoll",
    "read",
    "recvmsg",
    "sendmsg",
    "write",
]

_PACKED: Final = platform.machine() in {"x86_64", "AMD64"}
EVENT_SIZE: Final = 12 if _PACKED else 16
EVENT_DATA: Final = 4 if _PACKED else 8
"""Where in an event the file number is."""

MSG_DONTWAIT: Final = 0x40
CLOCK_MONOTONIC: Final = 1

_INT: Final = types.int32
_WORD: Final = types.intp


def _function(name: str, *arguments: Any, result: Any = _WORD) -> Any:
    return types.ExternalFunction(name, result(*arguments))


read: Any = _function("read", _INT, _WORD, _WORD)
write: Any = _function("write", _INT, _WORD, _WORD)
recvmsg: Any = _function("recvmsg", _INT, _WORD, _INT)
sendmsg: Any = _function("sendmsg", _INT, _WORD, _INT)
epoll_wait: Any = _function("epoll_wait", _INT, _WORD, _INT, _INT, result=_INT)
ppoll: Any = _function("ppoll", _WORD, _WORD, _WORD, _WORD, result=_INT)
clock_gettime: Any = _function("clock_gettime", _INT, _WORD, result=_INT)
_errno_location: Any = _function("__errno_location")


def _load_int(_typing: Any, address: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        number = builder.load(builder.inttoptr(args[0], ir.IntType(32).as_pointer()))
        return builder.sext(number, ir.IntType(64))

    return types.int64(address), generate


_load_int_at: Any = intrinsic(_load_int)


@kernel
def error_number() -> int:
    """The ``errno`` of this thread."""
    return int(_load_int_at(_errno_location()))
