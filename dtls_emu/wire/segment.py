"""Cut a TCP or UDP super-packet into rows of the wire, as a network card with TSO and USO does.

1. Find transport header and payload; refuse what cannot be cut.
2. For each row: encapsulation, headers, its part of the payload, each copied once.
3. Patch: lengths, IPv4 identification + i, TCP sequence number, FIN and PSH only on the last row, CWR only
   on the first (RFC 3168 6.1.2; a guest's kernel that means Accurate ECN cuts for itself), and all checksums. The sum over headers is taken once and the parts that
   differ are added, so that each row's payload is all that is summed.

The checksum fields of the super-packet do not matter: a packet from a virtual NIC has only a partial one
(virtio 1.2, 5.1.6.2, ``VIRTIO_NET_HDR_F_NEEDS_CSUM``), and only with a source route is that what a row's checksum is
made from. A packet that fits one row comes out complete, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from dtls_emu.wire.burst import MAX_ROWS, Burst
from dtls_emu.wire.checksum import finish, pseudo_header_sum, sum_bytes
from dtls_emu.wire.headers import (
    SUM_IN_FIELD,
    TCP,
    TCP_CHECKSUM,
    TCP_CWR,
    TCP_FIN,
    TCP_PSH,
    TCP_RST,
    TCP_SYN,
    TCP_URG,
    UDP,
    UDP_CHECKSUM,
    transport_layout,
)
from dtls_emu.wire.memory import (
    copy_bytes,
    kernel,
    load_u8,
    load_u16_be,
    load_u32_be,
    store_u16_be,
    store_u32_be,
)
from dtls_emu.wire.overhead import IPV6_HEADER, UDP_HEADER


if TYPE_CHECKING:
    from numpy.typing import NDArray


__all__ = ["NOT_SEGMENTABLE", "NO_ROOM", "segment", "segment_packet"]

NOT_SEGMENTABLE: Final = -1
"""Not TCP or UDP, a fragment, a lying header, or flags that only one packet may have (SYN, RST, URG)."""

NO_ROOM: Final = -2
"""The rows do not fit the destination, or the headers do not fit a row."""

_NO_HEADER: Final = np.empty(0, np.uint8)


def segment(
    packet: NDArray[np.uint8],
    payload_size: int,
    *,
    header: NDArray[np.uint8] | None = None,
    headroom: int = 0,
    tailroom: int = 0,
    buffer: NDArray[np.uint8] | None = None,
    mark: int = 0,
    tos: int = 0,
    layout: int = 0,
) -> list[Burst]:
    """Cut a super-packet into bursts of at most :data:`~dtls_emu.wire.burst.MAX_ROWS` rows.

    Args:
        packet: one IPv4 or IPv6 packet.
        payload_size: most bytes of TCP or UDP payload of a row (virtio's ``gso_size``).
        header: encapsulation to put in front of each row, or None.
        headroom: bytes to leave in front of each row.
        tailroom: bytes to leave behind it.
        buffer: where to, when it is large enough; else new memory. It must not overlap ``packet``.
        mark, tos: of the bursts.
        layout: of :func:`~dtls_emu.wire.headers.super_packet_layout`; 0 to have it found as for a packet that no
            NIC has told anything of.

    Returns:
        The bursts in order, one after the other in one buffer; none when the packet cannot be cut.
    """
    length = len(packet)
    layout = layout or transport_layout(packet, 0, length)
    if layout < 0 or payload_size < 1:
        return []
    encapsulation = _NO_HEADER if header is None else header
    headers = layout & 0xFFFF
    payload_size = min(payload_size, max(length - headers, 1))
    count = max(-(-(length - headers) // payload_size), 1)
    size = len(encapsulation) + headers + payload_size
    stride = headroom + size + tailroom
    if buffer is None or len(buffer) < count * stride:
        buffer = np.empty(count * stride, np.uint8)
    if segment_packet(packet, length, payload_size, buffer, stride, headroom, encapsulation, layout) != count:
        return []
    last = size - (count * payload_size - (length - headers))
    whole = Burst(
        buffer[: count * stride],
        stride=stride,
        offset=headroom,
        size=size if count > 1 else last,
        count=count,
        last=last,
        mark=mark,
        tos=tos,
    )
    if count <= MAX_ROWS:
        return [whole]
    return [whole.slice(start, min(start + MAX_ROWS, count)) for start in range(0, count, MAX_ROWS)]


@kernel
def segment_packet(
    packet: NDArray[np.uint8],
    length: int,
    mss: int,
    destination: NDArray[np.uint8],
    d_stride: int,
    d_offset: int,
    header: NDArray[np.uint8],
    layout: int = 0,
) -> int:
    """Cut the packet in the first ``length`` bytes of ``packet`` into rows of ``destination``.

    ``mss`` is the most payload of a row, in bytes. Each row has the encapsulation ``header``, which may be
    empty, at ``d_offset``, and the packet behind it. ``layout`` as :func:`segment` takes it.

    Returns:
        The number of rows, or :data:`NOT_SEGMENTABLE` or :data:`NO_ROOM`, with nothing written.
    """
    if length > len(packet):
        return NOT_SEGMENTABLE
    if layout == 0:
        layout = transport_layout(packet, 0, length)
    if layout < 0 or mss < 1:
        return NOT_SEGMENTABLE
    transport = layout >> 16 & 0xFFFF
    headers = layout & 0xFFFF
    payload = length - headers
    count = max((payload + mss - 1) // mss, 1)
    encapsulation = len(header)
    if d_offset < 0 or d_offset + encapsulation + headers + min(mss, payload) > d_stride:
        return NO_ROOM
    if count * d_stride > len(destination):
        return NO_ROOM

    is_ipv4 = load_u8(packet, 0) >> 4 == 4
    is_tcp = headers - transport != UDP_HEADER
    field = transport + (TCP_CHECKSUM if is_tcp else UDP_CHECKSUM)
    flags = 0
    sequence = 0
    if is_tcp:
        flags = load_u16_be(packet, transport + 12)
        sequence = load_u32_be(packet, transport + 4)
        if count > 1 and flags & (TCP_SYN | TCP_RST | TCP_URG):
            return NOT_SEGMENTABLE
    # Sums over the headers without what differs from row to row. x ^ 0xFFFF is -x in ones' complement.
    identification = load_u16_be(packet, 4)
    ip_sum = sum_bytes(packet, 0, transport)
    ip_sum += (load_u16_be(packet, 2) ^ 0xFFFF) + (identification ^ 0xFFFF)
    ip_sum += load_u16_be(packet, 10) ^ 0xFFFF
    transport_sum = sum_bytes(packet, transport, headers - transport)
    if layout & SUM_IN_FIELD:  # as it stands there, but for the length
        transport_sum += (length - transport) ^ 0xFFFF
    else:
        transport_sum += pseudo_header_sum(packet, 0, TCP if is_tcp else UDP, 0)
        transport_sum += load_u16_be(packet, field) ^ 0xFFFF
    if is_tcp:
        transport_sum += (flags ^ 0xFFFF) + (sequence >> 16 ^ 0xFFFF) + (sequence & 0xFFFF ^ 0xFFFF)
    else:
        transport_sum += load_u16_be(packet, transport + 4) ^ 0xFFFF

    for row in range(count):
        done = row * mss
        part = min(mss, payload - done)
        at = row * d_stride + d_offset
        copy_bytes(destination, at, header, 0, encapsulation)
        at += encapsulation
        copy_bytes(destination, at, packet, 0, headers)
        copy_bytes(destination, at + headers, packet, headers + done, part)
        total = headers + part
        if is_ipv4:
            own = (identification + row) & 0xFFFF
            store_u16_be(destination, at + 2, total)
            store_u16_be(destination, at + 4, own)
            store_u16_be(destination, at + 10, finish(ip_sum + total + own))
        else:
            store_u16_be(destination, at + 4, total - IPV6_HEADER)
        segment_length = total - transport
        covered = transport_sum + segment_length + sum_bytes(packet, headers + done, part)
        if is_tcp:
            own = (sequence + done) & 0xFFFFFFFF
            kept = flags
            if row > 0:
                kept &= ~TCP_CWR
            if row < count - 1:
                kept &= ~(TCP_FIN | TCP_PSH)
            store_u32_be(destination, at + transport + 4, own)
            store_u16_be(destination, at + transport + 12, kept)
            store_u16_be(destination, at + field, finish(covered + own + kept))
        else:
            store_u16_be(destination, at + transport + 4, segment_length)
            # A computed 0 is sent as its other form, 0 means no checksum (RFC 768).
            store_u16_be(destination, at + field, finish(covered + segment_length) or 0xFFFF)
    return count
