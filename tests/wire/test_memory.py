"""Loads, stores and copies of kernels, against Python's own."""

from typing import Literal

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtls_emu.wire import memory
from dtls_emu.wire.memory import copy_bytes, kernel


LOADS: dict[str, tuple[int, Literal["big", "little"]]] = {
    "load_u8": (1, "big"),
    "load_u16_be": (2, "big"),
    "load_u32_be": (4, "big"),
    "load_u48_be": (6, "big"),
    "load_u64_be": (8, "big"),
    "load_u16_native": (2, "little"),
    "load_u32_native": (4, "little"),
}
STORES = {"store_u8": 1, "store_u16_be": 2, "store_u32_be": 4, "store_u64_be": 8}


@kernel
def load_all(array, offset, wide, narrow):
    narrow[0] = memory.load_u8(array, offset)
    narrow[1] = memory.load_u16_be(array, offset)
    narrow[2] = memory.load_u32_be(array, offset)
    narrow[3] = memory.load_u48_be(array, offset)
    wide[0] = memory.load_u64_be(array, offset)
    narrow[4] = memory.load_u16_native(array, offset)
    narrow[5] = memory.load_u32_native(array, offset)


@kernel
def store_all(array, offset, value):
    memory.store_u8(array, offset, value)
    memory.store_u16_be(array, offset + 8, value)
    memory.store_u32_be(array, offset + 16, value)
    memory.store_u64_be(array, offset + 24, value)


@kernel
def copy(dst_array, dst_offset, src_array, src_offset, n):
    copy_bytes(dst_array, dst_offset, src_array, src_offset, n)


@settings(deadline=None)  # the first call compiles
@given(data=st.binary(min_size=16, max_size=16), offset=st.integers(0, 8))
def test_loads_read_unsigned_numbers_at_any_alignment(data, offset):
    """Each load is what int.from_bytes says, and never negative."""
    wide, narrow = np.zeros(1, np.uint64), np.zeros(6, np.int64)
    load_all(np.frombuffer(bytearray(data), np.uint8), offset, wide, narrow)
    *first, native16, native32 = narrow.tolist()
    actual = [*first, int(wide[0]), native16, native32]
    assert actual == [int.from_bytes(data[offset : offset + n], order) for n, order in LOADS.values()]


@settings(deadline=None)
@given(value=st.integers(-(2**63), 2**63 - 1), offset=st.integers(0, 7))
def test_stores_write_the_low_bits_and_nothing_else(value, offset):
    """Each store writes its own bytes and leaves the bytes around them alone."""
    array = np.full(48, 0xEE, np.uint8)
    store_all(array, offset, value)
    expected = bytearray(b"\xee" * 48)
    for index, width in enumerate(STORES.values()):
        start = offset + 8 * index
        expected[start : start + width] = (value % 2 ** (8 * width)).to_bytes(width)
    assert bytes(array) == bytes(expected)


@settings(deadline=None)
@given(source=st.integers(0, 300), target=st.integers(0, 300), n=st.integers(0, 300))
def test_copies_may_overlap(source, target, n):
    """A copy inside one array is as if through a temporary."""
    data = np.random.default_rng(1).integers(0, 256, 600, dtype=np.uint8)
    expected = bytearray(data.tobytes())
    expected[target : target + n] = expected[source : source + n]
    copy(data, target, data, source, n)
    assert data.tobytes() == bytes(expected)


OTHER_ARRAYS = {
    "signed": np.zeros(8, np.int8),
    "two-dimensional": np.zeros((2, 8), np.uint8),
    "strided": np.zeros(8, np.uint8)[::2],
}


@pytest.mark.parametrize("kind", OTHER_ARRAYS)
def test_other_arrays_are_refused_when_compiling(kind):
    """Only contiguous bytes are accepted: anything else would read the wrong memory."""
    array = OTHER_ARRAYS[kind]
    with pytest.raises(numba.TypingError, match="contiguous uint8"):
        copy(array, 0, array, 0, 1)
