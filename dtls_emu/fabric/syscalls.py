"""System calls for kernels: the C library's functions, and the structures that they take.

Each returns what the C function returns; after -1, :func:`error_number` says why. Whoever calls keeps alive what the
addresses point to. ``man 2`` of each; ``struct epoll_event`` is packed on x86-64 only (``linux/eventpoll.h``).

Those that carry packets are called by address (:class:`SystemCalls`), which costs nothing beside the call itself, so a
test can put a function of its own in the place of the kernel's.
"""

from __future__ import annotations

import ctypes
import platform
from typing import Any, Final, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from dtls_emu.wire.memory import kernel


__all__ = [
    "ADDRESS",
    "CLOCK_MONOTONIC",
    "EVENT",
    "IOVEC",
    "LIBC",
    "MSGHDR",
    "MSG_DONTWAIT",
    "POLLFD",
    "TIMESPEC",
    "SystemCalls",
    "call",
    "clock_gettime",
    "epoll_wait",
    "error_number",
    "ppoll",
]

MSG_DONTWAIT: Final = 0x40
CLOCK_MONOTONIC: Final = 1

ADDRESS: Final = np.dtype(np.intp)
"""Of memory or of a function. Signed, because Numba makes a float of a sum of signed and unsigned words."""

IOVEC: Final = np.dtype([("base", ADDRESS), ("length", ADDRESS)])

MSGHDR: Final = np.dtype(
    [
        ("name", ADDRESS),
        ("name_length", np.uint32),
        ("vectors", ADDRESS),
        ("vector_count", ADDRESS),
        ("control", ADDRESS),
        ("control_length", ADDRESS),
        ("flags", np.int32),
    ],
    align=True,
)

_PACKED: Final = platform.machine() in {"x86_64", "AMD64"}
EVENT: Final = np.dtype(
    {
        "names": ["file"],
        "formats": [np.int32],
        "offsets": [4 if _PACKED else 8],
        "itemsize": 12 if _PACKED else 16,
    }
)
"""An event of epoll, of which only the file number is of interest."""

TIMESPEC: Final = np.dtype([("seconds", np.int_), ("nanoseconds", np.int_)])
POLLFD: Final = np.dtype([("file", np.int32), ("events", np.int16), ("returned", np.int16)])

_INT: Final = types.int32
_WORD: Final = types.intp


class SystemCalls(NamedTuple):
    """Addresses of the functions that carry packets, with the C library's signatures."""

    sendmsg: int
    recvmsg: int
    read: int
    writev: int


def _addresses() -> SystemCalls:
    library = ctypes.CDLL(None)
    return SystemCalls(
        *(ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0 for name in SystemCalls._fields)
    )


LIBC: Final = _addresses()
"""The C library's."""


def _call(_typing: Any, function: Any, file: Any, argument: Any, number: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address, *values = (
            context.cast(builder, value, given, wanted)
            for value, given, wanted in zip(args, signature.args, (_WORD, _INT, _WORD, _WORD), strict=True)
        )
        word = context.get_value_type(_WORD)
        kind = ir.FunctionType(word, [ir.IntType(32), word, word])
        return builder.call(builder.inttoptr(address, kind.as_pointer()), values)

    return _WORD(function, file, argument, number), generate


call: Any = intrinsic(_call)
"""``call(function, file, argument, number)``: a function of :class:`SystemCalls`, by its address."""


def _function(name: str, *arguments: Any) -> Any:
    return types.ExternalFunction(name, _INT(*arguments))


epoll_wait: Any = _function("epoll_wait", _INT, _WORD, _INT, _INT)
ppoll: Any = _function("ppoll", _WORD, _WORD, _WORD, _WORD)
clock_gettime: Any = _function("clock_gettime", _INT, _WORD)
_errno_location: Any = types.ExternalFunction("__errno_location", _WORD())


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
