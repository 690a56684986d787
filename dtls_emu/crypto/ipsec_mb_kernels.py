"""Bursts through Intel's AES-GCM: frame all rows, then one C call a row, without Python in between.

The library's function is called by its address. As a ctypes object it would be a global that Numba cannot
cache; as a number it is cached, and as fast. C signatures, from ``intel-ipsec-mb.h``::

    void enc(const struct gcm_key_data *, struct gcm_context_data *, uint8_t *out, const uint8_t *in,
             uint64_t length, const uint8_t *iv, const uint8_t *aad, uint64_t aad_length,
             uint8_t *tag, uint64_t tag_length)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from dtls_emu.crypto.backend import RowStatus
from dtls_emu.crypto.framing import AAD_AT, AAD_SIZE, CELL, frame_rows, read_frames
from dtls_emu.wire.memory import kernel, load_u64_be
from dtls_emu.wire.overhead import RECORD_PREFIX, TAG


if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray


__all__ = ["call_gcm", "open_rows", "seal_rows"]

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
