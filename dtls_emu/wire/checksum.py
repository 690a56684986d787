"""The internet checksum (RFC 1071) and its pseudo headers (RFC 793 3.1, RFC 768, RFC 8200 8.1).

Sums are kept unfolded in 64 bits: ones'-complement addition does not care when carries come back, so a
kernel adds 32-bit words, which compilers vectorise, and folds once. It does not care about byte order
either (RFC 1071 2.B): the loops add words as they lie in memory and swap the folded result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dtls_emu.wire.memory import kernel, load_u8, load_u16_native, load_u32_be, load_u32_native


if TYPE_CHECKING:
    from numpy.typing import NDArray


__all__ = ["adjust", "checksum", "finish", "fold", "internet_checksum", "pseudo_header_sum", "sum_bytes"]


def internet_checksum(data: bytes | bytearray | memoryview) -> int:
    """The checksum of ``data``, whose checksum field is zero (RFC 1071); 0 for data with a right one in it."""
    array = np.array(memoryview(data), np.uint8, ndmin=1)
    return int(checksum(array, 0, len(array)))


@kernel
def sum_bytes(buffer: NDArray[np.uint8], offset: int, length: int) -> int:
    """Folded ones'-complement sum of ``length`` bytes as big-endian 16-bit words; an odd end is padded."""
    total = 0
    words = length >> 2
    for index in range(words):
        total += load_u32_native(buffer, offset + (index << 2))
    tail = offset + (words << 2)
    if length & 2:
        total += load_u16_native(buffer, tail)
        tail += 2
    folded = fold(total)
    swapped = ((folded & 0xFF) << 8) | (folded >> 8)
    if length & 1:
        swapped += load_u8(buffer, tail) << 8
    return swapped


@kernel
def fold(total: int) -> int:
    """Bring the carries of a sum of up to 63 bits back into 16."""
    total = (total & 0xFFFFFFFF) + (total >> 32)
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return (total & 0xFFFF) + (total >> 16)


@kernel
def finish(total: int) -> int:
    """The checksum field of a sum: folded and complemented."""
    return fold(total) ^ 0xFFFF


@kernel
def checksum(buffer: NDArray[np.uint8], offset: int, length: int) -> int:
    """The checksum of ``length`` bytes whose checksum field is zero; 0 when a right one is in it."""
    return finish(sum_bytes(buffer, offset, length))


@kernel
def adjust(field: int, old: int, new: int) -> int:
    """A checksum field after a covered 16-bit word went from ``old`` to ``new`` (RFC 1624, equation 3)."""
    return finish((field ^ 0xFFFF) + (old ^ 0xFFFF) + new)


@kernel
def pseudo_header_sum(buffer: NDArray[np.uint8], packet: int, protocol: int, length: int) -> int:
    """Sum of the pseudo header of the IP packet at ``packet``, for ``length`` bytes of transport."""
    if load_u8(buffer, packet) >> 4 == 4:
        return load_u32_be(buffer, packet + 12) + load_u32_be(buffer, packet + 16) + protocol + length
    total = protocol + length
    for word in range(8):
        total += load_u32_be(buffer, packet + 8 + (word << 2))
    return total
