"""Bytes at native speed: what a kernel is, and its copies, loads and stores in network byte order.

Each function but :func:`kernel` is a Numba ``@intrinsic``: it exists only inside a kernel and becomes one or
two instructions there. They take a one-dimensional, C-contiguous ``uint8`` array and a byte offset, or make an
array of what is at an address, and are the only place of the package that touches memory without Numba's own index
check, so the rule is: check lengths first. Under ``NUMBA_BOUNDSCHECK=1`` each access is checked and raises
``IndexError``; the fuzz tests run so.

Narrow loads give ``int64`` and 64-bit ones ``uint64``; arithmetic between the two would silently
become ``float64``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.core.errors import TypingError
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array
from numba.np.numpy_support import from_dtype
from numpy.typing import NDArray

from dtls_emu.wire.kernel_files import compile_kernel


__all__ = [
    "array_at",
    "bytes_at",
    "copy_bytes",
    "kernel",
    "load_u8",
    "load_u16_be",
    "load_u16_native",
    "load_u32_be",
    "load_u32_native",
    "load_u48_be",
    "load_u64_be",
    "load_u64_native",
    "store_u8",
    "store_u16_be",
    "store_u16_native",
    "store_u32_be",
    "store_u32_native",
    "store_u64_be",
    "words_at",
]

Bytes = NDArray[np.uint8]
Load = Callable[[Bytes, int], int]
Store = Callable[[Bytes, int, int], None]
Maker = Callable[[int, int], NDArray[Any]]
Function = TypeVar("Function", bound=Callable[..., Any])

kernel: Callable[[Function], Function] = compile_kernel
"""The decorator of every hot function: ``@njit``, GIL released, cached on disk, without Numba's run time.

Kernels allocate nothing, and the caller's arrays outlive the call. With the run time, each call counts
references of each array it is given, atomically, calls between kernels included: measured at 20 ns for a
helper called once a packet, three times what it does.
"""


def _copy_bytes(
    _typing: Any, dst_array: Any, dst_offset: Any, src_array: Any, src_offset: Any, n: Any
) -> Any:
    _require_bytes(dst_array, src_array)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        count = context.cast(builder, args[4], signature.args[4], types.int64)
        destination = _address(context, builder, signature.args[0:2], args[0:2], count)
        source = _address(context, builder, signature.args[2:4], args[2:4], count)
        cgutils.raw_memmove(builder, destination, source, count, 1)  # type: ignore[no-untyped-call]
        return context.get_dummy_value()

    return types.void(dst_array, dst_offset, src_array, src_offset, n), generate


def _load(name: str, *parts: int, swap: bool = True) -> Any:
    """An intrinsic that reads an unsigned number of consecutive ``parts`` (in bits) at any alignment."""
    result = types.uint64 if parts == (64,) else types.int64

    def define(_typing: Any, array: Any, offset: Any) -> Any:
        _require_bytes(array)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            address = _address(context, builder, signature.args, args, sum(parts) // 8)
            wide = ir.IntType(64)
            value = ir.Constant(wide, 0)
            for bits in parts:
                load = builder.load(builder.bitcast(address, ir.IntType(bits).as_pointer()))
                load.align = 1
                part = builder.bswap(load) if swap and bits > 8 else load
                value = builder.or_(
                    builder.shl(value, ir.Constant(wide, bits % 64)),
                    builder.zext(part, wide) if bits < 64 else part,
                )
                address = builder.gep(address, [ir.Constant(wide, bits // 8)])
            return value

        return result(array, offset), generate

    return _named(define, name)


def _store(name: str, *parts: int, swap: bool = True) -> Any:
    """An intrinsic that writes the low bits of a number as consecutive ``parts`` (in bits), highest first."""

    def define(_typing: Any, array: Any, offset: Any, value: Any) -> Any:
        _require_bytes(array)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            address = _address(context, builder, signature.args[:2], args[:2], sum(parts) // 8)
            wide = ir.IntType(64)
            number = context.cast(builder, args[2], signature.args[2], types.uint64)
            shift = sum(parts)
            for bits in parts:
                shift -= bits
                part = builder.lshr(number, ir.Constant(wide, shift))
                part = builder.trunc(part, ir.IntType(bits)) if bits < 64 else part
                part = builder.bswap(part) if swap and bits > 8 else part
                store = builder.store(part, builder.bitcast(address, ir.IntType(bits).as_pointer()))
                store.align = 1
                address = builder.gep(address, [ir.Constant(wide, bits // 8)])
            return context.get_dummy_value()

        return types.void(array, offset, value), generate

    return _named(define, name)


def array_at(name: str, dtype: Any, columns: int = 0) -> Any:
    """An intrinsic that makes an array of what is at an address: of ``count`` elements, or rows of so many columns.

    ``name(address, count)``. Whoever calls it keeps what is there alive.

    Args:
        name: of the intrinsic.
        dtype: NumPy's; also of records.
        columns: of a two-dimensional array; 0 for a one-dimensional one.
    """
    kind: Any = from_dtype(np.dtype(dtype))
    array = types.Array(kind, 2 if columns else 1, "C")
    size = np.dtype(dtype).itemsize

    def define(_typing: Any, address: Any, count: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            place, length = (
                context.cast(builder, value, given, types.intp)
                for value, given in zip(args, signature.args, strict=True)
            )

            def constant(number: int) -> Any:
                return context.get_constant(types.intp, number)

            width = constant(size)
            shape = (length, constant(columns)) if columns else (length,)
            strides = (constant(size * columns), width) if columns else (width,)
            made = context.make_array(array)(context, builder)
            data = builder.inttoptr(place, made.data.type)
            populate_array(made, data, shape, strides, width, None)  # type: ignore[no-untyped-call]
            return made._getvalue()  # noqa: SLF001  # as Numba's own makers of arrays do

        return array(address, count), generate

    return _named(define, name)


def _named(define: Callable[..., Any], name: str) -> Any:
    """Make the intrinsic under its public name, which is the one that compile errors print."""
    define.__name__ = define.__qualname__ = name
    return intrinsic(define)


def _require_bytes(*arrays: Any) -> None:
    for array in arrays:
        if not (
            isinstance(array, types.Array)
            and array.dtype == types.uint8
            and array.ndim == 1
            and array.layout == "C"
        ):
            raise TypingError(f"needs a one-dimensional contiguous uint8 array, not {array}")


def _address(context: Any, builder: Any, kinds: Any, values: Any, width: Any) -> Any:
    """Pointer to ``array[offset]``, checked against ``width`` bytes where bounds checks are asked for."""
    array = context.make_array(kinds[0])(context, builder, values[0])
    offset = context.cast(builder, values[1], kinds[1], types.int64)
    if getattr(config, "BOUNDSCHECK", 0):
        wide = ir.IntType(64)
        size = ir.Constant(wide, width) if isinstance(width, int) else width
        length = builder.extract_value(array.shape, 0)
        zero = ir.Constant(wide, 0)
        outside = builder.or_(
            builder.or_(builder.icmp_signed("<", offset, zero), builder.icmp_signed("<", size, zero)),
            builder.icmp_signed(">", builder.add(offset, size), length),
        )
        with builder.if_then(outside, likely=False):
            context.call_conv.return_user_exc(
                builder, IndexError, ("kernel touches memory outside its array",)
            )
    return builder.gep(array.data, [offset])


copy_bytes: Callable[[Bytes, int, Bytes, int, int], None] = _named(_copy_bytes, "copy_bytes")
"""``copy_bytes(dst_array, dst_offset, src_array, src_offset, n)``; the ranges may overlap."""

load_u8: Load = _load("load_u8", 8)
load_u16_be: Load = _load("load_u16_be", 16)
load_u32_be: Load = _load("load_u32_be", 32)
load_u48_be: Load = _load("load_u48_be", 16, 32)
load_u64_be: Load = _load("load_u64_be", 64)
load_u16_native: Load = _load("load_u16_native", 16, swap=False)
load_u32_native: Load = _load("load_u32_native", 32, swap=False)
load_u64_native: Load = _load("load_u64_native", 64, swap=False)

store_u8: Store = _store("store_u8", 8)
store_u16_be: Store = _store("store_u16_be", 16)
store_u16_native: Store = _store("store_u16_native", 16, swap=False)
store_u32_be: Store = _store("store_u32_be", 32)
store_u32_native: Store = _store("store_u32_native", 32, swap=False)
store_u64_be: Store = _store("store_u64_be", 64)

bytes_at: Maker = array_at("bytes_at", np.uint8)
"""``bytes_at(address, count)``. Whoever calls it keeps what is there alive."""

words_at: Maker = array_at("words_at", np.int64)
"""Likewise ``int64``."""
