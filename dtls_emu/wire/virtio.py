"""The header that virtio devices put in front of each packet (virtio 1.2, 5.1.6; ``linux/virtio_net.h``).

It says what the receiver has to finish: a checksum that is only begun, and packets that are yet to be cut from
a super-packet. Its numbers are in the machine's byte order, as the legacy interface has them (5.1.6.1).
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from dtls_emu.wire.checksum import finish, sum_bytes
from dtls_emu.wire.headers import TCP_CHECKSUM, TCP_CWR, UDP_CHECKSUM
from dtls_emu.wire.memory import kernel, load_u8, store_u8, store_u16_be, store_u16_native
from dtls_emu.wire.overhead import UDP_HEADER


if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


__all__ = [
    "CSUM_OFFSET_AT",
    "CSUM_START_AT",
    "FLAGS_AT",
    "GSO_ECN",
    "GSO_NONE",
    "GSO_SIZE_AT",
    "GSO_TCPV4",
    "GSO_TCPV6",
    "GSO_TYPE_AT",
    "GSO_UDP_L4",
    "HDR_LEN_AT",
    "NEEDS_CHECKSUM",
    "NO_OFFLOAD",
    "VNET_FIELDS",
    "complete_checksum",
    "fill_super_packet_header",
]

VNET_FIELDS: Final = Struct("=BBHHHH")
"""``flags``, ``gso_type``, ``hdr_len``, ``gso_size``, ``csum_start``, ``csum_offset``: 10 bytes."""

# Where they are, in bytes.
FLAGS_AT: Final = 0
GSO_TYPE_AT: Final = 1
HDR_LEN_AT: Final = 2
GSO_SIZE_AT: Final = 4
CSUM_START_AT: Final = 6
CSUM_OFFSET_AT: Final = 8

NEEDS_CHECKSUM: Final = 0x01  # VIRTIO_NET_HDR_F_NEEDS_CSUM

GSO_NONE: Final = 0
GSO_TCPV4: Final = 1
GSO_TCPV6: Final = 4
GSO_UDP_L4: Final = 5
GSO_ECN: Final = 0x80  # of a TCP super-packet whose first packet has CWR

NO_OFFLOAD: Final = bytes(VNET_FIELDS.size)
"""The header of a packet that is complete."""


@kernel
def complete_checksum(
    buffer: NDArray[np.uint8], packet: int, length: int, csum_start: int, csum_offset: int
) -> bool:
    """Finish the checksum of the packet at ``packet``, whose field holds the sum of its pseudo header.

    ``csum_start`` and ``csum_offset`` are the header's: from where the sum is taken, and where the field lies
    from there. False, with nothing written, when they do not lie within the packet's ``length``.
    """
    if csum_start < 0 or csum_offset < 0 or csum_start + csum_offset + 2 > length:
        return False
    total = finish(sum_bytes(buffer, packet + csum_start, length - csum_start))
    if total == 0 and csum_offset == UDP_CHECKSUM:
        total = 0xFFFF  # 0 means no checksum (RFC 768)
    store_u16_be(buffer, packet + csum_start + csum_offset, total)
    return True


@kernel
def fill_super_packet_header(
    buffer: NDArray[np.uint8],
    packet: int,
    layout: int,
    gso_size: int,
    destination: NDArray[np.uint8],
    at: int,
) -> None:
    """Write the header of a super-packet at ``at`` of ``destination``, which has room for it.

    ``layout`` is what :func:`~dtls_emu.wire.headers.super_packet_layout` says of the packet at ``packet``.
    """
    transport, payload = layout >> 16 & 0xFFFF, layout & 0xFFFF
    if payload - transport == UDP_HEADER:
        kind, field = GSO_UDP_L4, UDP_CHECKSUM
    else:
        kind = GSO_TCPV4 if load_u8(buffer, packet) >> 4 == 4 else GSO_TCPV6
        field = TCP_CHECKSUM
        if load_u8(buffer, packet + transport + 13) & TCP_CWR:
            kind |= GSO_ECN
    store_u8(destination, at + FLAGS_AT, NEEDS_CHECKSUM)
    store_u8(destination, at + GSO_TYPE_AT, kind)
    store_u16_native(destination, at + HDR_LEN_AT, payload)
    store_u16_native(destination, at + GSO_SIZE_AT, gso_size)
    store_u16_native(destination, at + CSUM_START_AT, transport)
    store_u16_native(destination, at + CSUM_OFFSET_AT, field)
