"""Congestion marks of a tunnel: out with a packet, and what the fabric made of them in again (RFC 6040).

A way out copies the ECN field of the packet inside to the header outside (4.1, normal mode; RFC 9601 says it of VXLAN),
a way in combines both (4.2). ``-`` is a packet that is dropped, for its ends would never learn of the congestion::

                     outside
    inside     Not-ECT   ECT(0)   ECT(1)   CE
    Not-ECT    Not-ECT   Not-ECT  Not-ECT  -
    ECT(0)     ECT(0)    ECT(0)   ECT(1)   CE
    ECT(1)     ECT(1)    ECT(1)   ECT(1)   CE
    CE         CE        CE       CE       CE
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dtls_emu.wire.checksum import adjust
from dtls_emu.wire.ecn import CE, ECN, ECT_0, ECT_1
from dtls_emu.wire.memory import kernel, load_u8, load_u16_be, store_u16_be


if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


__all__ = ["NOT_CAPABLE", "combine", "mark_rows", "type_of_service"]

NOT_CAPABLE: Final = -1
"""Of :func:`combine`: congestion outside, and a packet inside that cannot say so."""

_IPV4_CHECKSUM: Final = 10


@kernel
def type_of_service(buffer: NDArray[np.uint8], packet: int) -> int:
    """The type of service, or traffic class, of the IP packet at ``packet``, which has at least two bytes."""
    if load_u8(buffer, packet) >> 4 == 4:
        return load_u8(buffer, packet + 1)
    return load_u16_be(buffer, packet) >> 4 & 0xFF


@kernel
def combine(inner: int, outer: int) -> int:
    """The ECN field of a packet that leaves a tunnel (RFC 6040, figure 4), or :data:`NOT_CAPABLE`.

    Args:
        inner, outer: type of service of the packet, and of what carried it.
    """
    inner &= ECN
    outer &= ECN
    if outer == CE:
        return CE if inner else NOT_CAPABLE
    return ECT_1 if outer == ECT_1 and inner == ECT_0 else inner


@kernel
def mark_rows(buffer: NDArray[np.uint8], stride: int, offset: int, count: int, ecn: int) -> None:
    """Set the ECN field of the IP packet at ``offset`` of each row; IPv4's checksum is as right as it was.

    Of IPv4 at least 20 bytes are there, of IPv6 two.
    """
    for row in range(count):
        packet = row * stride + offset
        old = load_u16_be(buffer, packet)
        if old >> 12 == 4:
            new = old & ~ECN | ecn
            if new != old:
                field = load_u16_be(buffer, packet + _IPV4_CHECKSUM)
                store_u16_be(buffer, packet + _IPV4_CHECKSUM, adjust(field, old, new))
        else:
            new = old & ~(ECN << 4) | ecn << 4
        store_u16_be(buffer, packet, new)
