"""A TUN device as the edge of a card: bursts out of it, bursts into it.

From the guest, by :meth:`TunDevice.receive`:

1. Read one packet, behind its virtio header, into the next row of a memory that is made once.
2. A super-packet goes to the card at once. Its checksum is the card's business: segmentation writes it.
3. The begun checksum of an ordinary packet is finished: on the wire it must be right.
4. Packets of one size that are there already become the rows of one burst, as long as no read has to wait.

To the guest, by :meth:`TunDevice.write`: one write a packet, or one a super-packet with a header that says how
it is to be cut. What the device does not take is a counted drop and never an exception.

What a kernel refuses (the header, checksums, TSO, USO) is done without; :attr:`TunDevice.offloads` says why.

References: ``linux/if_tun.h``; wireguard-go ``tun/tun_linux.go`` and ``tun/offload_linux.go``.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import numpy as np

from dtls_emu.errors import DtlsEmuError
from dtls_emu.fabric.offload import Offload
from dtls_emu.machine.linux import (
    IFF_NO_PI,
    IFF_TUN,
    IFF_VNET_HDR,
    INTERFACE_REQUEST,
    TUN_F_CSUM,
    TUN_F_TSO4,
    TUN_F_TSO6,
    TUN_F_TSO_ECN,
    TUN_F_USO4,
    TUN_F_USO6,
    TUN_PATH,
    TUNSETIFF,
    TUNSETOFFLOAD,
    TUNSETVNETHDRSZ,
)
from dtls_emu.machine.netns import entered
from dtls_emu.wire.burst import MAX_ROWS, Burst
from dtls_emu.wire.headers import MAX_PACKET, super_packet_layout
from dtls_emu.wire.overhead import IPV6_HEADER
from dtls_emu.wire.segment import segment
from dtls_emu.wire.virtio import (
    GSO_NONE,
    GSO_UDP_L4,
    NEEDS_CHECKSUM,
    NO_OFFLOAD,
    VNET_FIELDS,
    complete_checksum,
    super_packet_header,
)


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


__all__ = ["HEADROOM", "DeviceDrop", "TunDevice", "TunError", "TunStatistics", "open_tun"]

READ_BYTES: Final = 1 << 19
"""Of one turn: eight super-packets, about half a millisecond of a card's work, before others have theirs."""

READ_COST: Final = 4096
"""What a read counts at least, in bytes: a turn of small packets is 128 of them."""

# In the order in which they are tried: each needs those above.
_OFFLOADS: Final = {
    "tun_checksum": TUN_F_CSUM,
    "tun_tso": TUN_F_TSO4 | TUN_F_TSO6,
    "tun_tso_ecn": TUN_F_TSO_ECN,
    "tun_uso": TUN_F_USO4 | TUN_F_USO6,
}
_VNET_HEADER: Final = "tun_vnet_header"

HEADROOM: Final = 64
"""What lies in front of the packet in a row of the read memory; a virtio header is the last of it."""

# A few lines of the cache more than a whole number of pages, so that the heads of rows do not fight for one place.
_STRIDE: Final = 65_536 + 256

_FULL: Final = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM})
_DOWN: Final = frozenset({errno.EIO, errno.ENETDOWN, errno.EBADFD, errno.ENODEV})


class TunError(DtlsEmuError):
    """A TUN device cannot be had. Says which and why."""


class DeviceDrop(StrEnum):
    """Why a device did not take a packet."""

    FULL = "device_full"  # no room or memory
    DOWN = "device_down"  # not up, or gone
    REFUSED = "device_refused"  # the kernel does not like the packet


@dataclass(frozen=True, slots=True)
class TunStatistics:
    """The books at one moment, in packets; a super-packet counts as the packets it stands for.

    Fields:
        received, received_bytes: from the guest.
        reads: system calls that brought something.
        offered: to be written. ``offered == written + dropped``.
        written: taken by the device.
        writes: system calls that succeeded.
        dropped: by reason.
        errors: system calls that failed, by the name of the error.
    """

    received: int
    received_bytes: int
    reads: int
    offered: int
    written: int
    writes: int
    dropped: Mapping[DeviceDrop, int]
    errors: Mapping[str, int]

    @property
    def balanced(self) -> bool:
        """Whether every packet that was to be written is accounted for."""
        return self.offered == self.written + sum(self.dropped.values())


def open_tun(name: str, *, netns: str | None = None, create: bool = False) -> TunDevice:
    """Open a TUN device, non-blocking, with every offload that this kernel has.

    Args:
        name: of the interface, at most 15 bytes.
        netns: namespace that it is in, by name or path; None is this one.
        create: make it; it then goes when it is closed. Else it must be there, and stays.

    Raises:
        TunError: it is not there, is there already, in use, or not allowed.
        NamespaceError: no such namespace.
    """
    where = name if netns is None else f"{name} in {netns}"
    with entered(netns):
        if _exists(name) == create:
            raise TunError(f"{where}: {'is there already' if create else 'no such interface'}")
        try:
            return _attach(name, refusal="")
        except OSError as error:
            if error.errno in _HINTS:
                raise TunError(f"{where}: {error.strerror}; {_HINTS[error.errno]}") from error
            refusal = f"refused: {error.strerror} (Linux {os.uname().release})"
        try:
            return _attach(name, refusal=refusal)
        except OSError as error:
            raise TunError(f"{where}: {error.strerror}") from error


_HINTS: Final = {
    errno.ENOENT: f"there is no {TUN_PATH}, see `dtls-emu doctor`",
    errno.EACCES: f"{TUN_PATH} may not be opened",
    errno.EBUSY: "another process has it open",
    errno.EPERM: "it needs CAP_NET_ADMIN",
}
"""Errors that are not about the virtio header, so that doing without it would not help."""


def _exists(name: str) -> bool:
    try:
        socket.if_nametoindex(name)
    except OSError:
        return False
    return True


def _attach(name: str, *, refusal: str) -> TunDevice:
    """Open the interface: with the virtio header, or, for the reason given, without."""
    descriptor = os.open(TUN_PATH, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        flags = IFF_TUN | IFF_NO_PI | (0 if refusal else IFF_VNET_HDR)
        fcntl.ioctl(descriptor, TUNSETIFF, INTERFACE_REQUEST.pack(name.encode(), flags))
        if refusal:
            off = Offload(state="off", reason="needs the virtio header")
            offloads = {_VNET_HEADER: Offload(state="off", reason=refusal), **dict.fromkeys(_OFFLOADS, off)}
        else:
            fcntl.ioctl(descriptor, TUNSETVNETHDRSZ, struct.pack("=i", VNET_FIELDS.size))
            offloads = {_VNET_HEADER: Offload(state="on", reason=""), **_switch_on(descriptor)}
        return TunDevice(descriptor, name, offloads)
    except BaseException:
        os.close(descriptor)
        raise


def _switch_on(descriptor: int) -> dict[str, Offload]:
    """Offer the kernel what we can finish; it may know less."""
    offloads: dict[str, Offload] = {}
    accepted = 0
    for name, flags in _OFFLOADS.items():
        try:
            fcntl.ioctl(descriptor, TUNSETOFFLOAD, accepted | flags)
        except OSError as error:
            offloads[name] = Offload(state="off", reason=f"{error.strerror} (Linux {os.uname().release})")
        else:
            offloads[name] = Offload(state="on", reason="")
            accepted |= flags
    return offloads


class TunDevice:
    """An open TUN device. Not safe for concurrent use; usable until :meth:`close`.

    Fields:
        name: of the interface.
        gone: why nothing comes from it any more (the interface was deleted); "" while it is there.

    Args:
        descriptor: of the open device, non-blocking; it is closed by :meth:`close`.
        name: of the interface.
        offloads: what is in use, by name, and why not.
    """

    def __init__(self, descriptor: int, name: str, offloads: Mapping[str, Offload]) -> None:
        self.name = name
        self.gone = ""
        self._descriptor = descriptor
        self._offloads = offloads
        self._has_header = offloads[_VNET_HEADER]["state"] == "on"
        self._cuts_udp = offloads["tun_uso"]["state"] == "on"
        self._memory = np.empty(MAX_ROWS * _STRIDE, np.uint8)
        begin = HEADROOM - (VNET_FIELDS.size if self._has_header else 0)
        end = HEADROOM + IPV6_HEADER + MAX_PACKET
        view = self._memory.data
        self._rows = [[view[row * _STRIDE + begin : row * _STRIDE + end]] for row in range(MAX_ROWS)]
        self._received = self._received_bytes = self._reads = 0
        self._offered = self._written = self._writes = 0
        self._dropped: Counter[DeviceDrop] = Counter()
        self._errors: Counter[str] = Counter()

    def fileno(self) -> int:
        """File number, readable when the guest has sent something."""
        return self._descriptor

    def close(self) -> None:
        """Close it. Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @property
    def merges(self) -> bool:
        """Whether it takes super-packets, so that a card should join packets for it."""
        return self._has_header

    @property
    def cuts_udp(self) -> bool:
        """Whether it takes super-packets of UDP."""
        return self._cuts_udp

    @property
    def memory_address(self) -> int:
        """Of the first row, which :meth:`take` takes from: for a reader in compiled code."""
        return int(self._memory.ctypes.data)

    def offloads(self) -> dict[str, Offload]:
        """What is in use, by name, and why not."""
        return {name: offload.copy() for name, offload in self._offloads.items()}

    def statistics(self) -> TunStatistics:
        """The books."""
        return TunStatistics(
            received=self._received,
            received_bytes=self._received_bytes,
            reads=self._reads,
            offered=self._offered,
            written=self._written,
            writes=self._writes,
            dropped=dict(self._dropped),
            errors=dict(self._errors),
        )

    # ---------------------------------------------------------------------------------- from the guest

    def receive(self, deliver: Callable[[Burst], object], limit: int = READ_BYTES) -> None:
        """Hand over what the guest has sent, without waiting.

        Args:
            deliver: called for each burst, in order; it is valid only during the call.
            limit: most bytes of one turn; what remains is there at the next.
        """
        readv, unpack = os.readv, VNET_FIELDS.unpack_from
        header_size = VNET_FIELDS.size if self._has_header else 0
        start = row = size = 0  # rows from `start` up to `row` wait, each of `size` bytes
        while limit > 0:
            into = self._rows[row]
            try:
                length = readv(self._descriptor, into) - header_size
            except BlockingIOError:
                break
            except OSError as error:
                self._errors[errno.errorcode.get(error.errno or 0, "unknown")] += 1
                self.gone = error.strerror or "unknown"
                break
            limit -= max(READ_COST, length)
            self._reads += 1
            if length <= 0:
                continue
            self._received_bytes += length
            if header_size:
                flags, kind, _, gso_size, csum_start, csum_offset = unpack(into[0])
                if kind != GSO_NONE and gso_size:
                    if row > start:
                        deliver(self._burst(start, row, size, size))
                    burst = self._super_packet(row, length, gso_size, flags, csum_start, csum_offset)
                    self._received += burst.packets
                    deliver(burst)
                    start = row = 0
                    continue
                if flags & NEEDS_CHECKSUM:
                    complete_checksum(self._memory, row * _STRIDE + HEADROOM, length, csum_start, csum_offset)
            self._received += 1
            if row > start and length > size:
                deliver(self._burst(start, row, size, size))
                start = row
            if row == start:
                size = length
            row += 1
            if length < size or row == MAX_ROWS:
                deliver(self._burst(start, row, size, length))
                start = row = 0
        if row > start:
            deliver(self._burst(start, row, size, size))

    def take(self, length: int, deliver: Callable[[Burst], object]) -> None:
        """Hand over what compiled code has read into the first row: `length` bytes, virtio header and packet."""
        self._reads += 1
        length -= VNET_FIELDS.size
        self._received_bytes += length
        flags, kind, _, gso_size, csum_start, csum_offset = VNET_FIELDS.unpack_from(self._rows[0][0])
        if kind != GSO_NONE and gso_size:
            burst = self._super_packet(0, length, gso_size, flags, csum_start, csum_offset)
        else:
            if flags & NEEDS_CHECKSUM:
                complete_checksum(self._memory, HEADROOM, length, csum_start, csum_offset)
            burst = self._burst(0, 1, length, length)
        self._received += burst.packets
        deliver(burst)

    def settle(
        self, reads: int, received: int, received_bytes: int, offered: int, written: int, writes: int
    ) -> None:
        """Enter in the books what compiled code has read and written, as :class:`TunStatistics` counts it."""
        self._reads += reads
        self._received += received
        self._received_bytes += received_bytes
        self._offered += offered
        self._written += written
        self._writes += writes

    def refuse(self, error: int, packets: int, calls: int) -> None:
        """Likewise, so many writes that failed with an error, and the packets that they were to write."""
        self._errors[errno.errorcode.get(error, "unknown")] += calls
        self._drop(_reason(error), packets)

    def _burst(self, start: int, stop: int, size: int, last: int) -> Burst:
        return Burst(
            self._memory[start * _STRIDE : stop * _STRIDE],
            stride=_STRIDE,
            offset=HEADROOM,
            size=size,
            count=stop - start,
            last=last,
        )

    def _super_packet(
        self, row: int, length: int, gso_size: int, flags: int, csum_start: int, csum_offset: int
    ) -> Burst:
        memory = self._memory[row * _STRIDE : (row + 1) * _STRIDE]
        has_sum = bool(flags & NEEDS_CHECKSUM)
        layout = super_packet_layout(memory, HEADROOM, length, has_sum, csum_start, csum_offset)
        # What cannot be cut is one packet, which the card drops as malformed.
        packets = -(-(length - (layout & 0xFFFF)) // gso_size) if layout >= 0 else 1
        return Burst.super_packet(
            memory, offset=HEADROOM, length=length, gso_size=gso_size, packets=packets, layout=layout
        )

    # ------------------------------------------------------------------------------------ to the guest

    def write(self, burst: Burst) -> None:
        """Write the packets of a burst. Never blocks, never raises for what the device does."""
        self._offered += burst.packets
        view = burst.buffer.data
        start, size = burst.offset, burst.size
        if burst.gso_size:
            self._write_super_packet(burst, view[start : start + size])
            return
        for _ in range(burst.count - 1):
            self._write(NO_OFFLOAD, view[start : start + size], 1)
            start += burst.stride
        self._write(NO_OFFLOAD, view[start : start + burst.last], 1)

    def _write_super_packet(self, burst: Burst, packet: memoryview) -> None:
        if self._has_header:
            header = super_packet_header(burst.buffer, burst.offset, burst.size, burst.gso_size, burst.layout)
            if header is None:
                self._drop(DeviceDrop.REFUSED, burst.packets)
                return
            if self._cuts_udp or header[1] != GSO_UDP_L4:
                self._write(header, packet, burst.packets)
                return
        # The device cannot cut it, so it is cut here; each packet comes out complete.
        parts = segment(burst.row(0), burst.gso_size, layout=burst.layout)
        for part in parts:
            for row in part.rows():
                self._write(NO_OFFLOAD, row.data, 1)
        self._drop(DeviceDrop.REFUSED, burst.packets - sum(part.count for part in parts))

    def _write(self, header: bytes, packet: memoryview, packets: int) -> None:
        try:
            if self._has_header:
                os.writev(self._descriptor, (header, packet))
            else:
                os.write(self._descriptor, packet)
        except OSError as error:
            self._errors[errno.errorcode.get(error.errno or 0, "unknown")] += 1
            self._drop(_reason(error.errno or 0), packets)
        else:
            self._written += packets
            self._writes += 1

    def _drop(self, reason: DeviceDrop, packets: int) -> None:
        if packets:
            self._dropped[reason] += packets


def _reason(error: int) -> DeviceDrop:
    return DeviceDrop.FULL if error in _FULL else DeviceDrop.DOWN if error in _DOWN else DeviceDrop.REFUSED
