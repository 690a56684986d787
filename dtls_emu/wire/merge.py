"""Join the packets of one flow into super-packets, as generic receive offload does: the reverse of segment.

1. A row can be joined when it is TCP or UDP with payload, no lying header, right checksums, and for TCP the
   ACK flag and none of SYN, RST, URG and CWR. Any other row stays as it is and ends what stood before it.
2. The next row joins when its headers are those of the first but for lengths, checksums, IPv4
   identification and, for TCP, the sequence number, which must follow. A shorter payload, FIN or PSH join as
   the last. Nothing is reordered and nothing is skipped.
3. Headers of the first and payloads of all are copied once; lengths and flags are patched.

IPv4 identifications must count up by one, as :func:`~dtls_emu.wire.segment.segment` makes them. Under DF
they may also stay the same: such a packet's identification has no meaning (RFC 6864 4.1).

A row with CWR stands alone, because nobody can tell from it what the flag means. To RFC 3168 (6.1.2) it is an event,
which a super-packet has on the first packet that it is cut into; to Accurate ECN (RFC 9768 3.2.2) it is a bit of a
counter that all of them have, as AE and ECE are. Linux joins rows that all have it, and marks them
(``SKB_GSO_TCP_ACCECN``); virtio's header has no such word, so a guest that forwards them would cut them wrongly.

Checksums are verified although the record that carried the packet was authentic: that says who sent these
bytes, not that the guest's checksum over them was right, and joining would give a bad packet a good one. The
joined packet has a *partial* checksum, the sum of its pseudo header, which is what
``VIRTIO_NET_HDR_F_NEEDS_CSUM`` promises (virtio 1.2, 5.1.6.2) and ``segment`` completes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from dtls_emu.wire.checksum import finish, fold, pseudo_header_sum, sum_bytes
from dtls_emu.wire.headers import (
    DONT_FRAGMENT,
    MAX_PACKET,
    TCP,
    TCP_ACK,
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
)
from dtls_emu.wire.overhead import IPV6_HEADER, UDP_HEADER


if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dtls_emu.wire.burst import Burst


__all__ = [
    "GROUP_GSO_SIZE",
    "GROUP_LAYOUT",
    "GROUP_LENGTH",
    "GROUP_POSITION",
    "GROUP_ROWS",
    "GROUP_START",
    "GROUP_WORDS",
    "Merged",
    "merge",
    "merge_rows",
]

GROUP_WORDS: Final = 6
"""Words of a group: first row, rows, position and length of the packet, ``gso_size``, layout of its headers."""

GROUP_START: Final = 0
GROUP_ROWS: Final = 1
GROUP_POSITION: Final = 2
GROUP_LENGTH: Final = 3
GROUP_GSO_SIZE: Final = 4
GROUP_LAYOUT: Final = 5


class Merged(NamedTuple):
    """Consecutive rows of a burst: joined into one packet, or to be delivered as they are.

    Fields:
        start_row, row_count: which rows.
        packet: the super-packet, a view of the destination; None for rows that stay as they are.
        gso_size: payload bytes of each row but the last (virtio's ``gso_size``); 0 without a packet.
        position: where the packet begins in the destination, in bytes.
        transport: where the TCP or UDP header begins in the packet (virtio's ``csum_start``).
        payload: where the payload begins (virtio's ``hdr_len``).
    """

    start_row: int
    row_count: int
    packet: NDArray[np.uint8] | None
    gso_size: int
    position: int
    transport: int
    payload: int


def merge(burst: Burst, buffer: NDArray[np.uint8] | None = None, *, headroom: int = 0) -> list[Merged]:
    """Join the rows of a burst, all of one flow: a run of the inspection.

    Args:
        burst: inner IP packets.
        buffer: where super-packets go, when it is large enough; else new memory. Not the burst's own.
        headroom: bytes to leave in front of each super-packet, for a virtio header.

    Returns:
        Groups in the order of their rows; together they are all rows.
    """
    count = burst.count
    needed = burst.nbytes + count * headroom
    if buffer is None or len(buffer) < needed:
        buffer = np.empty(needed, np.uint8)
    groups = np.empty((count, GROUP_WORDS), np.int64)
    found = merge_rows(
        burst.buffer,
        burst.stride,
        burst.offset,
        burst.size,
        count,
        burst.last,
        buffer,
        headroom,
        groups,
    )
    merged = []
    for start, rows, position, length, gso_size, layout in groups[:found].tolist():
        packet = buffer[position : position + length] if gso_size else None
        merged.append(Merged(start, rows, packet, gso_size, position, layout >> 16, layout & 0xFFFF))
    return merged


@kernel
def merge_rows(
    buffer: NDArray[np.uint8],
    stride: int,
    offset: int,
    size: int,
    count: int,
    last: int,
    destination: NDArray[np.uint8],
    d_offset: int,
    groups: NDArray[np.int64],
) -> int:
    """Join the rows of a burst of one flow.

    Super-packets go to ``destination``, one after the other, each behind ``d_offset`` free bytes; it has at
    least ``(count - 1) * size + last + count * d_offset`` bytes. Fills ``groups``, at least ``count`` rows of
    :data:`GROUP_WORDS`; a ``gso_size`` of 0 means that the group's rows stay as they are.

    Returns:
        How many groups there are; -1, with nothing written, when ``destination`` or ``groups`` is too small.
    """
    if len(destination) < (count - 1) * size + last + count * d_offset or len(groups) < count:
        return -1
    found = 0
    position = 0
    row = 0
    while row < count:
        first = row * stride + offset
        length = last if row == count - 1 else size
        layout = _joinable(buffer, first, length)
        end = row + 1
        total = length
        gso_size = length - (layout & 0xFFFF)
        ends = layout < 0 or _ends_group(buffer, first, layout)
        while end < count and not ends:
            at = end * stride + offset
            length = last if end == count - 1 else size
            part = length - (layout & 0xFFFF)
            if part <= 0 or total + part > MAX_PACKET:
                break
            # Checksums last: they are the costly part, and a row that fails is looked at again as a first.
            if transport_layout(buffer, at, length) != layout:
                break
            if not _follows(buffer, first, at, layout, end - row, total - (layout & 0xFFFF)):
                break
            if not _is_intact(buffer, at, length, layout):
                break
            ends = part < gso_size or _ends_group(buffer, at, layout)
            total += part
            end += 1
        if end - row > 1:
            position += d_offset
            _join(buffer, stride, offset, row, end, layout, gso_size, total, destination, position)
            groups[found, GROUP_START] = row
            groups[found, GROUP_ROWS] = end - row
            groups[found, GROUP_POSITION] = position
            groups[found, GROUP_LENGTH] = total
            groups[found, GROUP_GSO_SIZE] = gso_size
            groups[found, GROUP_LAYOUT] = layout
            position += total
            found += 1
        elif found > 0 and groups[found - 1, GROUP_GSO_SIZE] == 0:
            groups[found - 1, GROUP_ROWS] += 1
        else:
            groups[found, GROUP_START] = row
            groups[found, GROUP_ROWS] = 1
            for word in range(GROUP_POSITION, GROUP_WORDS):
                groups[found, word] = 0
            found += 1
        row = end
    return found


@kernel
def _joinable(buffer: NDArray[np.uint8], start: int, length: int) -> int:
    """Layout of a row that can be part of a super-packet, -1 for any other."""
    layout = transport_layout(buffer, start, length)
    transport = layout >> 16
    payload = layout & 0xFFFF
    if layout < 0 or payload == length:
        return -1
    if payload - transport != UDP_HEADER:
        flags = load_u8(buffer, start + transport + 13)
        if flags & (TCP_SYN | TCP_RST | TCP_URG | TCP_CWR | TCP_ACK) != TCP_ACK:
            return -1
    return layout if _is_intact(buffer, start, length, layout) else -1


@kernel
def _is_intact(buffer: NDArray[np.uint8], start: int, length: int, layout: int) -> bool:
    """Are all checksums right? UDP without one (RFC 768) does not count: the joined packet will have one."""
    transport = layout >> 16
    is_udp = (layout & 0xFFFF) - transport == UDP_HEADER
    if is_udp and load_u16_be(buffer, start + transport + UDP_CHECKSUM) == 0:
        return False
    if load_u8(buffer, start) >> 4 == 4 and finish(sum_bytes(buffer, start, transport)) != 0:
        return False
    covered = length - transport
    total = pseudo_header_sum(buffer, start, UDP if is_udp else TCP, covered)
    return finish(total + sum_bytes(buffer, start + transport, covered)) == 0


@kernel
def _ends_group(buffer: NDArray[np.uint8], start: int, layout: int) -> bool:
    transport = layout >> 16
    if (layout & 0xFFFF) - transport == UDP_HEADER:
        return False
    return load_u8(buffer, start + transport + 13) & (TCP_FIN | TCP_PSH) != 0


@kernel
def _follows(
    buffer: NDArray[np.uint8], first: int, at: int, layout: int, distance: int, payload_before: int
) -> bool:
    """Are the headers at ``at`` those of ``first``, ``distance`` rows and ``payload_before`` bytes later?"""
    transport = layout >> 16
    payload = layout & 0xFFFF
    if load_u8(buffer, first) >> 4 == 4:
        moved = (load_u16_be(buffer, at + 4) - load_u16_be(buffer, first + 4)) & 0xFFFF
        constant = moved == 0 and load_u16_be(buffer, first + 6) & DONT_FRAGMENT != 0
        if not constant and moved != distance:
            return False
        # Version, header length and type of service; then all but length, identification and checksum.
        if load_u16_be(buffer, at) != load_u16_be(buffer, first):
            return False
        if load_u32_be(buffer, at + 6) != load_u32_be(buffer, first + 6):
            return False
        common = 12
    else:
        if load_u32_be(buffer, at) != load_u32_be(buffer, first):
            return False
        if load_u16_be(buffer, at + 6) != load_u16_be(buffer, first + 6):
            return False
        common = 8
    # What is left of the IP header, and the ports.
    while common < transport + 4:
        if load_u32_be(buffer, at + common) != load_u32_be(buffer, first + common):
            return False
        common += 4
    if payload - transport == UDP_HEADER:
        return True
    sequence = load_u32_be(buffer, first + transport + 4) + payload_before
    if load_u32_be(buffer, at + transport + 4) != sequence & 0xFFFFFFFF:
        return False
    # Acknowledgement; header length, flags and window; options.
    if load_u32_be(buffer, at + transport + 8) != load_u32_be(buffer, first + transport + 8):
        return False
    word = load_u32_be(buffer, at + transport + 12)
    base = load_u32_be(buffer, first + transport + 12)
    if (word ^ base) & ~((TCP_FIN | TCP_PSH) << 16):
        return False
    if load_u16_be(buffer, at + transport + 18) != load_u16_be(buffer, first + transport + 18):
        return False
    common = transport + 20
    while common < payload:
        if load_u32_be(buffer, at + common) != load_u32_be(buffer, first + common):
            return False
        common += 4
    return True


@kernel
def _join(
    buffer: NDArray[np.uint8],
    stride: int,
    offset: int,
    row: int,
    end: int,
    layout: int,
    gso_size: int,
    total: int,
    destination: NDArray[np.uint8],
    position: int,
) -> None:
    """Write one super-packet of ``total`` bytes from rows ``row`` to ``end``."""
    transport = layout >> 16
    payload = layout & 0xFFFF
    first = row * stride + offset
    copy_bytes(destination, position, buffer, first, payload + gso_size)
    target = position + payload + gso_size
    for other in range(row + 1, end):
        part = min(gso_size, position + total - target)
        copy_bytes(destination, target, buffer, other * stride + offset + payload, part)
        target += part
    if load_u8(buffer, first) >> 4 == 4:
        store_u16_be(destination, position + 2, total)
        store_u16_be(destination, position + 10, 0)
        store_u16_be(destination, position + 10, finish(sum_bytes(destination, position, transport)))
    else:
        store_u16_be(destination, position + 4, total - IPV6_HEADER)
    covered = total - transport
    if payload - transport == UDP_HEADER:
        store_u16_be(destination, position + transport + 4, covered)
        partial = fold(pseudo_header_sum(buffer, first, UDP, covered))
        store_u16_be(destination, position + transport + UDP_CHECKSUM, partial)
    else:
        # FIN and PSH of the last row are the super-packet's.
        flags = load_u16_be(buffer, first + transport + 12)
        flags |= load_u16_be(buffer, (end - 1) * stride + offset + transport + 12)
        store_u16_be(destination, position + transport + 12, flags)
        partial = fold(pseudo_header_sum(buffer, first, TCP, covered))
        store_u16_be(destination, position + transport + TCP_CHECKSUM, partial)
