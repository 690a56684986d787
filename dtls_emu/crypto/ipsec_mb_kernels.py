"""Bursts through Intel's AES-GCM: frame all rows, then one C call a row, without Python in between.

The library's function is called by its address. As a ctypes object it would be a global that Numba cannot
cache; as a number it is cached, and as fast. C signatures, from ``intel-ipsec-mb.h``::

    void enc(const struct gcm_key_data *, struct gcm_context_data *, uint8_t *out, const uint8_t *in,
             uint64_t length, const uint8_t *iv, const uint8_t *aad, uint64_t aad_length,
             uint8_t *tag, uint64_t tag_length)
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
from dtls_emu.crypto.native import carray, compile_ends
from dtls_emu.wire.memory import kernel, load_u64_be, load_u64_native
from dtls_emu.wire.overhead import RECORD_PREFIX, TAG


if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


__all__ = [
    "CELLS_AT",
    "CONTEXT_AT",
    "FUNCTION_AT",
    "STATE_SIZE",
    "TAG_AT",
    "call_gcm",
    "native_functions",
    "open_rows",
    "seal_rows",
]

# One direction's memory, see `dtls_emu.crypto.ipsec_mb`.
CONTEXT_AT: Final = 4096
CELLS_AT: Final = CONTEXT_AT + 512
TAG_AT: Final = CELLS_AT + CELLS_SIZE
FUNCTION_AT: Final = TAG_AT + TAG
STATE_SIZE: Final = FUNCTION_AT + 8

_OK: Final = int(RowStatus.OK)
_AUTH_FAILED: Final = int(RowStatus.AUTH_FAILED)


@kernel
def seal_rows(
    encrypt: int,
    key_data: int,
    context: int,
    buffer: NDArray[np.uint8],
    start: int,
    stride: int,
    size: int,
    count: int,
    last: int,
    epoch: int,
    first_sequence: int,
    content_type: int,
    cells: NDArray[np.uint8],
) -> None:
    """Seal every row in place.

    ``encrypt``, ``key_data`` and ``context`` are addresses; the rest is as in
    :func:`dtls_emu.crypto.framing.frame_rows`. All rows are framed before the first is sealed: the cipher
    would wait for the stores to its nonce if they were still on their way.
    """
    frame_rows(buffer, start, stride, size, count, last, epoch, first_sequence, content_type, cells)
    payload = buffer.ctypes.data + start + RECORD_PREFIX
    cell = cells.ctypes.data
    for index in range(count):
        length = size if index < count - 1 else last
        call_gcm(encrypt, key_data, context, payload, length, cell, cell + AAD_AT, payload + length)
        payload += stride
        cell += CELL


@kernel
def open_rows(
    decrypt: int,
    key_data: int,
    context: int,
    buffer: NDArray[np.uint8],
    start: int,
    stride: int,
    size: int,
    count: int,
    last: int,
    status: NDArray[np.uint8],
    cells: NDArray[np.uint8],
    tag: NDArray[np.uint8],
) -> None:
    """Open in place every row whose status is OK. ``tag`` is 16 bytes of scratch.

    The tags are compared whole, by one OR of their differences: the time does not tell where they differ.
    """
    read_frames(buffer, start, stride, size, count, last, status, cells)
    base = buffer.ctypes.data
    cell = cells.ctypes.data - CELL
    for index in range(count):
        cell += CELL
        if status[index] != _OK:
            continue
        payload = start + index * stride + RECORD_PREFIX
        end = start + index * stride + (size if index < count - 1 else last) - TAG
        call_gcm(
            decrypt, key_data, context, base + payload, end - payload, cell, cell + AAD_AT, tag.ctypes.data
        )
        difference = (load_u64_be(buffer, end) ^ load_u64_be(tag, 0)) | (
            load_u64_be(buffer, end + 8) ^ load_u64_be(tag, 8)
        )
        if difference:
            status[index] = _AUTH_FAILED
            buffer[payload:end] = 0


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
    memory = carray(state, STATE_SIZE)
    buffer = carray(rows, (count - 1) * stride + RECORD_PREFIX + last + TAG)
    function = _signed(load_u64_native(memory, FUNCTION_AT))
    if function == 0:  # closed: what cannot be sealed must not be left to be sent
        buffer[:] = 0
        return
    seal_rows(
        function,
        memory.ctypes.data,
        memory.ctypes.data + CONTEXT_AT,
        buffer,
        0,
        stride,
        size,
        count,
        last,
        epoch,
        first_sequence,
        APPLICATION_DATA,
        memory[CELLS_AT:TAG_AT],
    )


def _open_native(state: Any, rows: Any, stride: int, size: int, count: int, last: int, status: Any) -> None:
    memory = carray(state, STATE_SIZE)
    verdicts = carray(status, count)
    function = _signed(load_u64_native(memory, FUNCTION_AT))
    if function == 0:  # closed
        verdicts[:] = _AUTH_FAILED
        return
    open_rows(
        function,
        memory.ctypes.data,
        memory.ctypes.data + CONTEXT_AT,
        carray(rows, (count - 1) * stride + last),
        0,
        stride,
        size,
        count,
        last,
        verdicts,
        memory[CELLS_AT:TAG_AT],
        memory[TAG_AT:FUNCTION_AT],
    )


@kernel
def _signed(number: int) -> Any:
    return np.int64(number)


def _call_gcm(
    _typing: Any,
    function: Any,
    key_data: Any,
    context_data: Any,
    data: Any,
    length: Any,
    nonce: Any,
    additional: Any,
    tag: Any,
) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = ir.IntType(64)
        pointer = ir.IntType(8).as_pointer()
        address, *values = (
            context.cast(builder, value, kind, types.int64)
            for value, kind in zip(args, signature.args, strict=True)
        )
        key, state, at, size, iv, aad, digest = values
        kind = ir.FunctionType(ir.VoidType(), [pointer] * 4 + [word] + [pointer] * 2 + [word, pointer, word])
        in_place = builder.inttoptr(at, pointer)
        builder.call(
            builder.inttoptr(address, kind.as_pointer()),
            [
                builder.inttoptr(key, pointer),
                builder.inttoptr(state, pointer),
                in_place,
                in_place,
                size,
                builder.inttoptr(iv, pointer),
                builder.inttoptr(aad, pointer),
                ir.Constant(word, AAD_SIZE),
                builder.inttoptr(digest, pointer),
                ir.Constant(word, TAG),
            ],
        )
        return context.get_dummy_value()

    arguments = (function, key_data, context_data, data, length, nonce, additional, tag)
    return types.void(*arguments), generate


call_gcm: Callable[[int, int, int, int, int, int, int, int], None] = cast("Any", intrinsic(_call_gcm))
"""``call_gcm(function, key_data, context, data, length, nonce, additional, tag)``: one C call, in place.

All but ``length`` are addresses; the additional data are 13 bytes, the tag 16.
"""
