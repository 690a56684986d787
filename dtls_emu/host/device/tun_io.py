"""Packets out of a TUN device and into it, as kernels: reads, writes, and the virtio header of each.

From the guest:

1. :func:`read_packet` reads one packet, behind its virtio header, into a row of a memory that is made once.
2. The begun checksum of an ordinary packet is finished: on the wire it must be right. That of a super-packet is the
   card's business: segmentation writes it.
3. :func:`read_burst` makes packets of one size that are there already the rows of one burst, as long as no read has to
   wait; a super-packet is a burst by itself.

To the guest: one write a packet, or one a super-packet with a header that says how it is to be cut. What the device
does not take is counted by its error.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dtls_emu.fabric.failures import FAILURES, count_failure
from dtls_emu.fabric.syscalls import ADDRESS, IOVEC, call, error_number
from dtls_emu.wire.burst import MAX_ROWS
from dtls_emu.wire.headers import MAX_PACKET, super_packet_layout
from dtls_emu.wire.memory import array_at, bytes_at, kernel, load_u8, load_u16_native
from dtls_emu.wire.overhead import IPV6_HEADER
from dtls_emu.wire.virtio import (
    CSUM_OFFSET_AT,
    CSUM_START_AT,
    FLAGS_AT,
    GSO_NONE,
    GSO_SIZE_AT,
    GSO_TYPE_AT,
    NEEDS_CHECKSUM,
    VNET_FIELDS,
    complete_checksum,
    fill_super_packet_header,
)


if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from dtls_emu.fabric.syscalls import SystemCalls


__all__ = [
    "BROKEN",
    "BURST",
    "DEVICE",
    "HEADROOM",
    "NOTHING",
    "PACKET",
    "READ_BYTES",
    "READ_COST",
    "ROW_BYTES",
    "ROW_STRIDE",
    "DeviceMemory",
    "device_at",
    "read_burst",
    "read_packet",
    "write_rows",
    "write_super_packet",
]

READ_BYTES: Final = 1 << 19
"""Of one turn: eight super-packets, about half a millisecond of a card's work, before others have theirs."""

READ_COST: Final = 4096
"""What a read counts at least, in bytes: a turn of small packets is 128 of them."""

HEADROOM: Final = 64
"""What lies in front of the packet in a row of the read memory; a virtio header is the last of it."""

ROW_BYTES: Final = IPV6_HEADER + MAX_PACKET

ROW_STRIDE: Final = 65_536 + 256
"""A few lines of the cache more than whole pages, so that the heads of rows do not fight for one place."""

# What a read comes to.
NOTHING: Final = 0  # nothing is there, or the turn is over
PACKET: Final = 1
BURST: Final = 2
BROKEN: Final = 3  # the device gives an error, which is in `error`

_HEADER: Final = VNET_FIELDS.size

TURN: Final = np.dtype(
    [
        ("budget", np.int64),  # bytes that may be read yet
        # Rows from `start` up to `row` wait, each of `size` bytes. The packet in `row` has been read if `is_held`.
        ("start", np.int64),
        ("row", np.int64),
        ("size", np.int64),
        ("is_held", np.int64),
        ("ends_with", np.int64),  # what the read behind the last burst came to
    ]
)

FOUND: Final = np.dtype(
    [
        ("row", np.int64),  # the first
        ("count", np.int64),
        ("size", np.int64),  # of each packet but the last, in bytes
        ("last", np.int64),
        ("gso_size", np.int64),  # of a super-packet, else 0
        ("layout", np.int64),  # of its headers, as a burst's
        ("packets", np.int64),  # that it stands for
    ]
)
"""A burst, or a packet, in the read memory."""

DEVICE: Final = np.dtype(
    [
        ("file", np.int64),
        ("header", np.int64),  # bytes of the virtio header, 0: there is none
        ("cuts_udp", np.int64),
        ("memory", ADDRESS),  # of the rows
        ("turn", TURN),
        ("packet", FOUND),  # that was read last
        ("burst", FOUND),
        ("error", np.int64),  # that made the device useless
        # Counters, in packets; `reads` and `writes` in calls.
        ("received", np.int64),
        ("received_bytes", np.int64),
        ("reads", np.int64),
        ("offered", np.int64),
        ("written", np.int64),
        ("writes", np.int64),
        ("failures", FAILURES),
        # The system calls: their functions, the address of `first`, and what a write takes.
        ("read", ADDRESS),
        ("writev", ADDRESS),
        ("call", ADDRESS),
        ("first", IOVEC),
        ("second", IOVEC),
        ("empty", np.uint8, (16,)),  # the header of a packet that is complete
        ("filled", np.uint8, (16,)),  # of a super-packet
    ],
    align=True,
)
"""All that the kernels read and write, but the rows."""

device_at: Callable[[int, int], NDArray[Any]] = array_at("device_at", DEVICE)
"""``device_at(address, 1)``: the array of one :data:`DEVICE` that begins at an address."""


class DeviceMemory:
    """The memory of one device.

    Fields:
        state: one :data:`DEVICE`; it and what it points to live as long as this object.
        rows: what is read into: 64 rows of :data:`ROW_STRIDE` bytes.

    Args:
        file: number of the open device.
        has_header: packets have a virtio header.
        cuts_udp: it takes super-packets of UDP.
        calls: system calls.
    """

    def __init__(self, file: int, *, has_header: bool, cuts_udp: bool, calls: SystemCalls) -> None:
        self.rows = np.empty(MAX_ROWS * ROW_STRIDE, np.uint8)
        self.state: NDArray[np.void] = np.zeros(1, DEVICE)
        state = self.state
        state["file"], state["header"] = file, _HEADER if has_header else 0
        state["cuts_udp"], state["memory"] = cuts_udp, self.rows.ctypes.data
        state["read"], state["writev"] = calls.read, calls.writev
        state["call"] = state.ctypes.data + DEVICE.fields["first"][1]  # type: ignore[index]  # it has fields

    @property
    def address(self) -> int:
        """Of the state, for :data:`device_at`."""
        return int(self.state.ctypes.data)


# ------------------------------------------------------------------------------------------------ from the guest


@kernel
def read_packet(device: Any, row: int) -> int:
    """Read the next packet into a row: :data:`PACKET`, which `packet` describes, or :data:`NOTHING`, or :data:`BROKEN`.

    It costs some of the turn's budget.
    """
    header = device.header
    while device.turn.budget > 0:
        at = row * ROW_STRIDE + HEADROOM
        got = call(device.read, device.file, device.memory + at - header, header + ROW_BYTES)
        if got < 0:
            error = error_number()
            if error in (errno.EAGAIN, errno.EINTR):
                return NOTHING
            count_failure(device.failures, error, 0)
            device.error = error
            return BROKEN
        length = got - header
        device.turn.budget -= max(READ_COST, length)
        device.reads += 1
        if length > 0:
            _describe(device, row, length)
            return PACKET
    return NOTHING


@kernel
def _describe(device: Any, row: int, length: int) -> None:
    """Read the virtio header of a packet, and finish its checksum."""
    found = device.packet
    gso_size = layout = 0
    packets = 1
    if device.header:
        memory = bytes_at(device.memory + row * ROW_STRIDE, HEADROOM + ROW_BYTES)
        header = HEADROOM - _HEADER
        has_sum = load_u8(memory, header + FLAGS_AT) & NEEDS_CHECKSUM != 0
        begin = load_u16_native(memory, header + CSUM_START_AT)
        field = load_u16_native(memory, header + CSUM_OFFSET_AT)
        if load_u8(memory, header + GSO_TYPE_AT) != GSO_NONE:
            gso_size = load_u16_native(memory, header + GSO_SIZE_AT)
        if gso_size > 0:
            layout = super_packet_layout(memory, HEADROOM, length, has_sum, begin, field)
            if layout >= 0:  # what cannot be cut is one packet, which the card drops as malformed
                packets = max((length - (layout & 0xFFFF) + gso_size - 1) // gso_size, 1)
        elif has_sum:
            # Before the packet is looked at: the guest says where the sum is written, and that may be any field.
            complete_checksum(memory, HEADROOM, length, begin, field)
    found.row = row
    found.count = 1
    found.size = length
    found.last = length
    found.gso_size = gso_size
    found.layout = layout
    found.packets = packets
    device.received += packets
    device.received_bytes += length


@kernel
def read_burst(devices: NDArray[np.void], budget: int) -> int:
    """Read packets until they are a burst: :data:`BURST`, which `burst` describes, or what the last read came to.

    A burst is valid until the next call. A turn is over when there is none.

    Args:
        devices: one.
        budget: above 0, a turn begins, in which so many bytes may be read.
    """
    device = devices[0]
    turn, packet = device.turn, device.packet
    if budget > 0:
        turn.budget = budget
        turn.start = 0
        turn.row = 0
        turn.is_held = 0
        turn.ends_with = 0
    if turn.ends_with:
        return int(turn.ends_with - 1)
    while True:
        if turn.is_held:
            turn.is_held = 0
        else:
            outcome = read_packet(device, turn.row)
            if outcome != PACKET:
                if turn.row == turn.start:
                    return outcome
                turn.ends_with = outcome + 1
                _hand_over(device, turn.row, turn.size)
                return BURST
        if turn.row > turn.start and (packet.gso_size or packet.size > turn.size):
            turn.is_held = 1  # it begins a burst of its own, at the next call
            _hand_over(device, turn.row, turn.size)
            turn.start = turn.row
            return BURST
        if packet.gso_size:
            turn.start = turn.row
            _hand_over(device, turn.row + 1, packet.size)
            device.burst.gso_size = packet.gso_size
            device.burst.layout = packet.layout
            device.burst.packets = packet.packets
            turn.start = 0
            turn.row = 0
            return BURST
        if turn.row == turn.start:
            turn.size = packet.size
        turn.row += 1
        if packet.size < turn.size or turn.row == MAX_ROWS:
            _hand_over(device, turn.row, packet.size)
            turn.start = 0
            turn.row = 0
            return BURST


@kernel
def _hand_over(device: Any, stop: int, last: int) -> None:
    """The rows up to `stop`, the last of them of so many bytes, are a burst."""
    turn, burst = device.turn, device.burst
    count = stop - turn.start
    burst.row = turn.start
    burst.count = count
    burst.size = turn.size if count > 1 else last
    burst.last = last
    burst.gso_size = 0
    burst.layout = 0
    burst.packets = count


# -------------------------------------------------------------------------------------------------- to the guest


@kernel
def write_rows(
    devices: NDArray[np.void],
    memory: NDArray[np.uint8],
    first: int,
    stride: int,
    size: int,
    rows: int,
    last: int,
) -> None:
    """Write packets singly: `size` bytes each but the last, the first of them at ``first`` of ``memory``."""
    device = devices[0]
    device.offered += rows
    empty = device.empty.ctypes.data
    address = memory.ctypes.data + first
    for row in range(rows):
        _write(device, empty, address + row * stride, last if row == rows - 1 else size, 1)


@kernel
def write_super_packet(
    devices: NDArray[np.void],
    memory: NDArray[np.uint8],
    packet: int,
    length: int,
    gso_size: int,
    layout: int,
    packets: int,
) -> None:
    """Write a super-packet at ``packet`` of ``memory``, that stands for so many packets.

    ``layout`` is what :func:`~dtls_emu.wire.headers.super_packet_layout` says of it, and not negative.
    """
    device = devices[0]
    device.offered += packets
    filled = device.filled
    fill_super_packet_header(memory, packet, layout, gso_size, filled, 0)
    _write(device, filled.ctypes.data, memory.ctypes.data + packet, length, packets)


@kernel
def _write(device: Any, header: int, address: int, length: int, packets: int) -> None:
    first, second = device.first, device.second
    first.base = header
    first.length = device.header
    second.base = address
    second.length = length
    if call(device.writev, device.file, device.call, 2) >= 0:
        device.written += packets
        device.writes += 1
    else:
        count_failure(device.failures, error_number(), packets)
