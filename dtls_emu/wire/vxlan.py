"""VXLAN with inner Ethernet (RFC 7348 5), which stands between a DTLS record and the inner IP packet.

::

    flags 08 | 000000 | VNI 3 | 00 | destination MAC 6 | source MAC 6 | ethertype 2 | inner IP packet

The 22 bytes are the same for every packet of a flow, so the card builds them once and copies them.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from dtls_emu.errors import LocalProtocolError
from dtls_emu.wire.burst import Burst, Shape
from dtls_emu.wire.memory import copy_bytes, kernel
from dtls_emu.wire.overhead import ENCAPSULATION


if TYPE_CHECKING:
    from numpy.typing import NDArray


__all__ = [
    "ETHERTYPE_IPV4",
    "ETHERTYPE_IPV6",
    "MAX_VNI",
    "VNI_FLAG",
    "VXLAN_PORT",
    "Encapsulation",
    "encapsulate",
    "encapsulate_rows",
    "encapsulation_header",
    "pull_encapsulation_untrusted",
]

VXLAN_PORT: Final = 4789
"""UDP port of VXLAN (RFC 7348 8)."""

VNI_FLAG: Final = 0x08  # the I flag: the VNI is valid, RFC 7348 5
ETHERTYPE_IPV4: Final = 0x0800
ETHERTYPE_IPV6: Final = 0x86DD
MAX_VNI: Final = 2**24 - 1

_HEADER: Final = Struct(">B3xI6s6sH")  # the VNI as the upper 24 of 32 bits


class Encapsulation(NamedTuple):
    """What VXLAN and Ethernet say of an inner packet.

    Fields:
        vni: of the virtual network.
        destination_mac, source_mac: 6 bytes each.
        ip_version: 4 or 6.
        packet: the inner IP packet, a view.
    """

    vni: int
    destination_mac: bytes
    source_mac: bytes
    ip_version: int
    packet: memoryview


def encapsulation_header(
    vni: int, source_mac: bytes, destination_mac: bytes, ip_version: int
) -> NDArray[np.uint8]:
    """The 22 bytes in front of each inner packet of a flow.

    Raises:
        LocalProtocolError: ``vni`` needs more than 24 bits.
    """
    if not 0 <= vni <= MAX_VNI:
        raise LocalProtocolError(f"a VNI has 24 bits: {vni}")
    ethertype = ETHERTYPE_IPV4 if ip_version == 4 else ETHERTYPE_IPV6
    packed = _HEADER.pack(VNI_FLAG, vni << 8, destination_mac, source_mac, ethertype)
    return np.frombuffer(bytearray(packed), np.uint8)


def encapsulate(
    burst: Burst,
    header: NDArray[np.uint8],
    buffer: NDArray[np.uint8] | None = None,
    *,
    headroom: int,
    tailroom: int,
) -> Burst:
    """Copy each packet behind ``header`` into rows of the wire: the one copy of a payload on its way out.

    Args:
        burst: inner IP packets.
        header: of :func:`encapsulation_header`.
        buffer: where to, when it is large enough; else new memory. It must not be the burst's own.
        headroom: bytes to leave in front of each row: 21 for DTLS, 0 in clear.
        tailroom: bytes to leave behind it: 16 for DTLS, 0 in clear.
    """
    size = burst.size + ENCAPSULATION
    stride = headroom + size + tailroom
    needed = burst.count * stride
    if buffer is None or len(buffer) < needed:
        buffer = np.empty(needed, np.uint8)
    encapsulate_rows(
        burst.buffer,
        burst.shape,
        buffer,
        stride,
        headroom,
        header,
    )
    return Burst(
        buffer[:needed],
        stride=stride,
        offset=headroom,
        size=size,
        count=burst.count,
        last=burst.last + ENCAPSULATION,
        mark=burst.mark,
        tos=burst.tos,
    )


def pull_encapsulation_untrusted(data: bytes | bytearray | memoryview) -> Encapsulation | None:
    """Parse VXLAN and Ethernet; None when the VNI flag is not set, it is too short, or no IP is inside.

    Reserved bits are ignored (RFC 7348 5). A frame with an inner VLAN tag is no IP here (RFC 7348 6.1).
    """
    if len(data) < ENCAPSULATION:
        return None
    flags, vni, destination_mac, source_mac, ethertype = _HEADER.unpack_from(data)
    if not flags & VNI_FLAG or ethertype not in {ETHERTYPE_IPV4, ETHERTYPE_IPV6}:
        return None
    version = 4 if ethertype == ETHERTYPE_IPV4 else 6
    return Encapsulation(vni >> 8, destination_mac, source_mac, version, memoryview(data)[ENCAPSULATION:])


@kernel
def encapsulate_rows(
    source: NDArray[np.uint8],
    shape: Shape,
    destination: NDArray[np.uint8],
    d_stride: int,
    d_offset: int,
    header: NDArray[np.uint8],
) -> None:
    """Copy packets to rows of ``destination``, each behind ``header``; ``d_offset`` is where in its row that begins."""
    stride, offset, size, count, last = shape
    for row in range(count):
        length = last if row == count - 1 else size
        target = row * d_stride + d_offset
        copy_bytes(destination, target, header, 0, ENCAPSULATION)
        copy_bytes(destination, target + ENCAPSULATION, source, row * stride + offset, length)
