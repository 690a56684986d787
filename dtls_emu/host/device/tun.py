"""A TUN device as the edge of a card: opened with what the kernel offers, bursts out of it, bursts into it.

Reads and writes are kernels (:mod:`dtls_emu.host.device.tun_io`); this calls them for whole bursts, as a host's
compiled loop does for single packets, on the same memory. What the device does not take is a counted drop and never
an exception.

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

from dtls_emu.errors import DtlsEmuError
from dtls_emu.fabric.failures import drops_by_reason, errors_by_name
from dtls_emu.fabric.offload import Offload
from dtls_emu.fabric.syscalls import LIBC
from dtls_emu.host.device.tun_io import (
    BURST,
    HEADROOM,
    READ_BYTES,
    ROW_STRIDE,
    DeviceMemory,
    read_burst,
    write_rows,
    write_super_packet,
)
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
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.headers import transport_layout
from dtls_emu.wire.overhead import UDP_HEADER
from dtls_emu.wire.segment import segment
from dtls_emu.wire.virtio import VNET_FIELDS


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from dtls_emu.fabric.syscalls import SystemCalls


__all__ = ["DeviceDrop", "TunDevice", "TunError", "TunStatistics", "open_tun"]

# In the order in which they are tried: each needs those above.
_OFFLOADS: Final = {
    "tun_checksum": TUN_F_CSUM,
    "tun_tso": TUN_F_TSO4 | TUN_F_TSO6,
    "tun_tso_ecn": TUN_F_TSO_ECN,
    "tun_uso": TUN_F_USO4 | TUN_F_USO6,
}
_VNET_HEADER: Final = "tun_vnet_header"

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
    """The counters at one moment, in packets; a super-packet counts as the packets it stands for.

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
        memory: that compiled code works on, too; see :mod:`dtls_emu.host.device.tun_io`.

    Args:
        descriptor: of the open device, non-blocking; it is closed by :meth:`close`.
        name: of the interface.
        offloads: what is in use, by name, and why not.
        calls: system calls that carry packets.
    """

    def __init__(
        self, descriptor: int, name: str, offloads: Mapping[str, Offload], *, calls: SystemCalls = LIBC
    ) -> None:
        self.name = name
        self._descriptor = descriptor
        self._offloads = offloads
        self._has_header = offloads[_VNET_HEADER]["state"] == "on"
        self._cuts_udp = offloads["tun_uso"]["state"] == "on"
        self.memory = DeviceMemory(
            descriptor, has_header=self._has_header, cuts_udp=self._cuts_udp, calls=calls
        )
        self._state = self.memory.state
        self._found = self.memory.state["burst"]
        self._refused = 0  # packets that cannot be described to the device

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
    def gone(self) -> str:
        """Why nothing comes from it any more (the interface was deleted); "" while it is there."""
        error = int(self._state["error"][0])
        return os.strerror(error) if error else ""

    def offloads(self) -> dict[str, Offload]:
        """What is in use, by name, and why not."""
        return {name: offload.copy() for name, offload in self._offloads.items()}

    def statistics(self) -> TunStatistics:
        """The counters."""
        state = self._state[0]
        dropped = Counter(drops_by_reason(state["failures"], _reason))
        if self._refused:
            dropped[DeviceDrop.REFUSED] += self._refused
        return TunStatistics(
            received=int(state["received"]),
            received_bytes=int(state["received_bytes"]),
            reads=int(state["reads"]),
            offered=int(state["offered"]),
            written=int(state["written"]),
            writes=int(state["writes"]),
            dropped=dict(dropped),
            errors=errors_by_name((state["failures"],)),
        )

    # ---------------------------------------------------------------------------------- from the guest

    def receive(self, deliver: Callable[[Burst], object], limit: int = READ_BYTES) -> None:
        """Hand over what the guest has sent, without waiting.

        Args:
            deliver: called for each burst, in order; it is valid only during the call.
            limit: most bytes of one turn; what remains is there at the next.
        """
        state, found = self._state, self._found
        while read_burst(state, limit) == BURST:
            limit = 0
            deliver(self._burst(found))

    def take(self, deliver: Callable[[Burst], object]) -> None:
        """Hand over the packet that compiled code has read last."""
        deliver(self._burst(self._state["packet"]))

    def _burst(self, found: NDArray[np.void]) -> Burst:
        row, count, size, last, gso_size, layout, packets = found.item()
        return Burst(
            self.memory.rows[row * ROW_STRIDE : (row + count) * ROW_STRIDE],
            stride=ROW_STRIDE,
            offset=HEADROOM,
            size=size,
            count=count,
            last=last,
            gso_size=gso_size,
            layout=layout,
            packets=packets,
        )

    # ------------------------------------------------------------------------------------ to the guest

    def write(self, burst: Burst) -> None:
        """Write the packets of a burst. Never blocks, never raises for what the device does."""
        if burst.gso_size:
            self._write_super_packet(burst)
        else:
            buffer, stride, size = burst.buffer, burst.stride, burst.size
            write_rows(self._state, buffer, burst.offset, stride, size, burst.count, burst.last)

    def _write_super_packet(self, burst: Burst) -> None:
        buffer, at, length = burst.buffer, burst.offset, burst.size
        if self._has_header:
            layout = burst.layout or transport_layout(buffer, at, length)
            if layout < 0:
                self._refuse(burst.packets)
                return
            if self._cuts_udp or (layout & 0xFFFF) - (layout >> 16 & 0xFFFF) != UDP_HEADER:
                write_super_packet(self._state, buffer, at, length, burst.gso_size, layout, burst.packets)
                return
        # The device cannot cut it, so it is cut here; each packet comes out complete.
        parts = segment(burst.row(0), burst.gso_size, layout=burst.layout)
        for part in parts:
            self.write(part)
        self._refuse(burst.packets - sum(part.count for part in parts))

    def _refuse(self, packets: int) -> None:
        self._state["offered"] += packets
        self._refused += packets


def _reason(error: int) -> DeviceDrop:
    return DeviceDrop.FULL if error in _FULL else DeviceDrop.DOWN if error in _DOWN else DeviceDrop.REFUSED
