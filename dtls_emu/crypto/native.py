"""Sealers and openers that compiled code can call by address, without Python in between.

Optional for a backend: a sealer or opener that has a ``native`` field of type :class:`NativeEnd` is called by
the card's fast path; every other one by the slow path, a Python call a burst. The functions have these C
signatures; they do what ``seal`` and ``open`` of :mod:`dtls_emu.crypto.backend` do, and trust their caller to
have checked what those check (room, sizes, at most 64 rows)::

    void seal(void *state, uint8_t *rows, int64_t stride, int64_t size, int64_t count, int64_t last,
              int64_t epoch, int64_t first_sequence)
    void open(void *state, uint8_t *rows, int64_t stride, int64_t size, int64_t count, int64_t last,
              uint8_t *status)

``rows`` is where the first record begins. ``size`` and ``last`` are lengths of packets for ``seal``, of records
for ``open``. Records are of application data.

A function outlives its backend. A ``state`` lives as long as its sealer or opener, also when that is closed,
which only overwrites it: a call that comes too late must do no harm, and leave no plaintext to be sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

from llvmlite import ir
from numba import carray as _carray  # type: ignore[attr-defined]  # its type hints do not know it
from numba import types
from numba.extending import intrinsic

from dtls_emu.crypto.backend import Established, TrafficKeys
from dtls_emu.wire.kernel_files import compile_callback


if TYPE_CHECKING:
    from collections.abc import Callable

    from dtls_emu.crypto.backend import Backend


__all__ = [
    "NativeEnd",
    "call_open",
    "call_seal",
    "carray",
    "compile_ends",
    "has_native_ends",
    "native_end",
]

_POINTER: Any = types.CPointer(types.uint8)  # type: ignore[no-untyped-call]
_SEAL: Any = types.void(_POINTER, _POINTER, *[types.int64] * 6)
_OPEN: Any = types.void(_POINTER, _POINTER, *[types.int64] * 4, _POINTER)


_COMPILED: list[Any] = []

carray: Any = _carray
"""``carray(pointer, count)``: an array of what a C pointer leads to, in a kernel."""


class NativeEnd(NamedTuple):
    """A sealer or opener by its addresses.

    Fields:
        function: of the C function.
        state: its first argument.
    """

    function: int
    state: int


def native_end(end: object) -> NativeEnd | None:
    """What a sealer or opener offers to compiled code, or None."""
    native = getattr(end, "native", None)
    return native if isinstance(native, NativeEnd) else None


def compile_ends(seal: Callable[..., None], opener: Callable[..., None]) -> tuple[int, int]:
    """Addresses of two Python functions of the signatures above, compiled, and cached as kernels are."""
    ends = compile_callback(_SEAL, seal), compile_callback(_OPEN, opener)
    _COMPILED.append(ends)  # their code lives as long as they do
    return int(ends[0].address or 0), int(ends[1].address or 0)


def has_native_ends(backend: Backend) -> bool:
    """Whether a backend's sealers and openers have native functions."""
    if backend.needs_connection:
        return False
    established = Established(
        TrafficKeys(bytearray(32), bytearray(4)), TrafficKeys(bytearray(32), bytearray(4))
    )
    ends = backend.attach(established)
    native = [native_end(end) for end in ends]
    for end in ends:
        end.close()
    return None not in native


def _call(name: str, count: int) -> Any:
    """An intrinsic that calls a C function of so many arguments, all of 64 bits, by its address."""

    def define(_typing: Any, function: Any, arguments: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            word = ir.IntType(64)
            address = context.cast(builder, args[0], signature.args[0], types.int64)
            values = [
                context.cast(builder, builder.extract_value(args[1], index), kind, types.int64)
                for index, kind in enumerate(signature.args[1])
            ]
            kind = ir.FunctionType(ir.VoidType(), [word] * count)
            builder.call(builder.inttoptr(address, kind.as_pointer()), values)
            return context.get_dummy_value()

        return types.void(function, arguments), generate

    define.__name__ = define.__qualname__ = name
    return intrinsic(define)


call_seal: Callable[[int, tuple[int, int, int, int, int, int, int, int]], None] = cast(
    "Any", _call("call_seal", 8)
)
"""``call_seal(function, (state, rows, stride, size, count, last, epoch, first_sequence))``, in a kernel."""

call_open: Callable[[int, tuple[int, int, int, int, int, int, int]], None] = cast(
    "Any", _call("call_open", 7)
)
"""``call_open(function, (state, rows, stride, size, count, last, status))``, in a kernel."""
