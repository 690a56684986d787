"""Bursts through OpenSSL's EVP interface: frame all rows, then five C calls a row, without Python in between.

For each row (EVP_EncryptInit(3), "AEAD interface")::

    Init_ex(context, NULL, NULL, NULL, nonce)      the key is in the context since it was made
    Update(context, NULL, &length, additional, 13)
    Update(context, packet, &length, packet, n)
    Final_ex(context, end, &length)
    ctrl(context, EVP_CTRL_AEAD_GET_TAG, 16, tag)

and to open ``ctrl(..., SET_TAG, ...)`` before ``Final_ex``, which compares the tags in constant time. Functions are
called by their addresses, as in :mod:`dtls_emu.crypto.ipsec_mb_kernels`.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from dtls_emu.crypto.backend import APPLICATION_DATA, RowStatus
from dtls_emu.crypto.framing import AAD_AT, AAD_SIZE, CELL, CELLS_SIZE, frame_rows, read_frames
from dtls_emu.crypto.libcrypto_library import GCM_GET_TAG, GCM_SET_TAG
from dtls_emu.crypto.native import carray, compile_ends
from dtls_emu.wire.memory import kernel, load_u64_native
from dtls_emu.wire.overhead import RECORD_OVERHEAD, RECORD_PREFIX, TAG


if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


__all__ = [
    "CELLS_AT",
    "CONTEXT_AT",
    "FUNCTIONS_AT",
    "LENGTH_AT",
    "STATE_SIZE",
    "call_evp",
    "native_functions",
    "open_rows",
    "seal_rows",
]

# One direction's memory: the context's address (0: closed), addresses of the functions, a length that nobody reads, cells.
CONTEXT_AT: Final = 0
FUNCTIONS_AT: Final = 8  # initialise, update, final, control
LENGTH_AT: Final = FUNCTIONS_AT + 4 * 8
CELLS_AT: Final = LENGTH_AT + 8
STATE_SIZE: Final = CELLS_AT + CELLS_SIZE

_OK: Final = int(RowStatus.OK)
_AUTH_FAILED: Final = int(RowStatus.AUTH_FAILED)


@kernel
def seal_rows(
    state: NDArray[np.uint8],
    buffer: NDArray[np.uint8],
    start: int,
    stride: int,
    size: int,
    count: int,
    last: int,
    epoch: int,
    first_sequence: int,
    content_type: int,
) -> int:
    """Seal every row in place; ``state`` is one direction's memory, the rest as in `frame_rows`.

    A row that OpenSSL does not seal is overwritten with zeros, its header too: no packet leaves in clear, and whoever
    receives it counts a bad datagram.

    Returns:
        How many rows were sealed.
    """
    cells = state[CELLS_AT:]
    frame_rows(buffer, start, stride, size, count, last, epoch, first_sequence, content_type, cells)
    context = _word(state, CONTEXT_AT)
    initialise, update = _word(state, FUNCTIONS_AT), _word(state, FUNCTIONS_AT + 8)
    final, control = _word(state, FUNCTIONS_AT + 16), _word(state, FUNCTIONS_AT + 24)
    length_at = state.ctypes.data + LENGTH_AT
    payload = buffer.ctypes.data + start + RECORD_PREFIX
    cell = cells.ctypes.data
    sealed = 0
    for index in range(count):
        length = size if index < count - 1 else last
        end = payload + length
        done = context != 0 and call_evp(initialise, (context, 0, 0, 0, cell)) > 0
        done = done and call_evp(update, (context, 0, length_at, cell + AAD_AT, AAD_SIZE)) > 0
        # A length of 0 would be no data to OpenSSL, but the end of them.
        done = done and (length == 0 or call_evp(update, (context, payload, length_at, payload, length)) > 0)
        done = done and call_evp(final, (context, end, length_at, 0, 0)) > 0
        done = done and call_evp(control, (context, GCM_GET_TAG, TAG, end, 0)) > 0
        if done:
            sealed += 1
        else:
            first = start + index * stride
            buffer[first : first + RECORD_PREFIX + length + TAG] = 0
        payload += stride
        cell += CELL
    return sealed


@kernel
def open_rows(
    state: NDArray[np.uint8],
    buffer: NDArray[np.uint8],
    start: int,
    stride: int,
    size: int,
    count: int,
    last: int,
    status: NDArray[np.uint8],
) -> None:
    """Open in place every row whose status is OK. What OpenSSL does not verify becomes zeros, for whatever reason."""
    cells = state[CELLS_AT:]
    read_frames(buffer, start, stride, size, count, last, status, cells)
    context = _word(state, CONTEXT_AT)
    initialise, update = _word(state, FUNCTIONS_AT), _word(state, FUNCTIONS_AT + 8)
    final, control = _word(state, FUNCTIONS_AT + 16), _word(state, FUNCTIONS_AT + 24)
    length_at = state.ctypes.data + LENGTH_AT
    base = buffer.ctypes.data
    cell = cells.ctypes.data - CELL
    for index in range(count):
        cell += CELL
        if status[index] != _OK:
            continue
        first = start + index * stride + RECORD_PREFIX
        length = (size if index < count - 1 else last) - RECORD_OVERHEAD
        payload = base + first
        end = payload + length
        done = context != 0 and call_evp(initialise, (context, 0, 0, 0, cell)) > 0
        done = done and call_evp(update, (context, 0, length_at, cell + AAD_AT, AAD_SIZE)) > 0
        done = done and (length == 0 or call_evp(update, (context, payload, length_at, payload, length)) > 0)
        done = done and call_evp(control, (context, GCM_SET_TAG, TAG, end, 0)) > 0
        done = done and call_evp(final, (context, end, length_at, 0, 0)) > 0
        if not done:
            status[index] = _AUTH_FAILED
            buffer[first : first + length] = 0


@cache
def native_functions() -> tuple[int, int]:
    """Addresses of `seal` and `open` as :mod:`dtls_emu.crypto.native` wants them. Compiled when first asked for."""
    return compile_ends(_seal_native, _open_native)


def _seal_native(
    state: Any,
    rows: Any,
    stride: int,
    size: int,
    count: int,
    last: int,
    epoch: int,
    first_sequence: int,
) -> None:
    seal_rows(
        carray(state, STATE_SIZE),
        carray(rows, (count - 1) * stride + RECORD_PREFIX + last + TAG),
        0,
        stride,
        size,
        count,
        last,
        epoch,
        first_sequence,
        APPLICATION_DATA,
    )


def _open_native(state: Any, rows: Any, stride: int, size: int, count: int, last: int, status: Any) -> None:
    open_rows(
        carray(state, STATE_SIZE),
        carray(rows, (count - 1) * stride + last),
        0,
        stride,
        size,
        count,
        last,
        carray(status, count),
    )


@kernel
def _word(memory: NDArray[np.uint8], at: int) -> Any:
    return np.int64(load_u64_native(memory, at))


def _call_evp(_typing: Any, function: Any, arguments: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word, number = ir.IntType(64), ir.IntType(32)
        address = context.cast(builder, args[0], signature.args[0], types.int64)
        values = [
            context.cast(builder, builder.extract_value(args[1], index), kind, types.int64)
            for index, kind in enumerate(signature.args[1])
        ]
        kind = ir.FunctionType(number, [word] * len(values))
        returned = builder.call(builder.inttoptr(address, kind.as_pointer()), values)
        return builder.sext(returned, word)

    return types.int64(function, arguments), generate


call_evp: Callable[[int, tuple[int, int, int, int, int]], int] = cast("Any", intrinsic(_call_evp))
"""``call_evp(function, (a, b, c, d, e))``: a C function that returns an int, by its address.

Arguments are addresses and numbers of 64 bits; a function that takes fewer leaves the rest alone, and one that takes an
int looks at half of the word (System V and AArch64 calling conventions).
"""
