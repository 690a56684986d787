"""The real underlay: UDP sockets, with segmentation and merging by the kernel where it has them.

Out: a burst goes with one ``sendmsg`` of up to 64 datagrams (``UDP_SEGMENT``). In: one ``recvmsg_into`` a buffer
that is made once, of up to 128 merged datagrams (``UDP_GRO``). Nothing a peer or a device does raises: what is
not sent is counted by reason.

A device may refuse segments only when they are sent. Then every datagram is sent singly at once, and, when that
works, for a while; the reason is kept in :meth:`UdpFabric.offloads` and logged once.

A datagram that is too large for the path is refused too (outer DF is set); :meth:`UdpFabric.take_too_long` says where.
"""

from __future__ import annotations

import errno
import ipaddress
import logging
import os
import select
import socket
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from dtls_emu.fabric.offload import (
    CONTROL_BYTES,
    GSO_REFUSALS,
    MAX_SEND_BYTES,
    MAX_SEND_SEGMENTS,
    REFUSED_BY,
    RESUME_AT,
    SEGMENTATION_WORDS,
    SEGMENTS_AGAIN,
    SOCKET_BUFFER_BYTES,
    FabricUnavailableError,
    enlarge_buffers,
    forbid_fragments,
    kernel_drops,
    may_segment,
    note_refusal,
    path_mtu,
    prepare_gro,
    prepare_gso,
    read_control,
    report_tos,
    segment_control,
    tos_control,
)
from dtls_emu.vocabulary import DropReason
from dtls_emu.wire.burst import MAX_ROWS, Burst


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

    from numpy.typing import NDArray

    from dtls_emu.fabric.offload import ControlMessage, Offload, OffloadMode
    from dtls_emu.fabric.underlay import DropObserver, Receive
    from dtls_emu.nic.effects import Transmit, UnderlayAddress


__all__ = ["UdpFabric", "UdpStatistics"]

logger = logging.getLogger(__name__)

RECEIVE_BYTES: Final = 65_536
"""Of the receive buffer: more than any UDP payload, merged or not, so nothing is ever cut off."""

READS_PER_PORT: Final = 8
"""Reads of one port before the next port has its turn: one flow must not starve another."""

_LAST_READS: Final = 1 << 14
"""Most reads of a port that is being closed: more than a socket's buffer holds, and a flood does not end."""

_CUT_OFF: Final = int(socket.MSG_TRUNC | socket.MSG_CTRUNC)  # a plain int: a flag's `&` is a Python function

_REASONS: Final = {
    errno.EMSGSIZE: DropReason.LINK_MTU,
    errno.EAGAIN: DropReason.SOCKET_BUFFER,
    errno.ENOBUFS: DropReason.SOCKET_BUFFER,
    errno.ENOMEM: DropReason.SOCKET_BUFFER,
}
"""What a failed send counts as. Everything else is ``no_link``: no route, refused, filtered, no such port."""


@dataclass(frozen=True, slots=True)
class UdpStatistics:
    """The books at one moment: ``offered == sent + dropped``, ``received == delivered + rejected + unread``.

    Fields, in datagrams unless said:
        offered: handed in by the card.
        sent: taken by the kernel.
        dropped: on the way out, by reason.
        received: from the kernel.
        delivered: handed to the card.
        rejected: empty or cut off, counted as ``bad_datagram``.
        unread: had arrived at a port when it was closed.
        sends, reads: system calls that carried something.
        gso_refusals: sends of several datagrams that the kernel or a device refused.
        kernel_drops: receives lost because a socket's buffer was full. A merged receive counts once.
        errors: system calls that failed, by the name of the error.
    """

    offered: int
    sent: int
    dropped: Mapping[DropReason, int]
    received: int
    delivered: int
    rejected: int
    unread: int
    sends: int
    reads: int
    gso_refusals: int
    kernel_drops: int
    errors: Mapping[str, int]

    @property
    def balanced(self) -> bool:
        """Whether every datagram is accounted for."""
        return (
            self.offered == self.sent + sum(self.dropped.values())
            and self.received == self.delivered + self.rejected + self.unread
        )


class UdpFabric:
    """UDP sockets of one host, one for each local port, opened on first use.

    Not safe for concurrent use. Usable with ``with``.

    Fields that may be set at any time:
        on_drop: called for each drop on the way out.

    Fields:
        ports_changed: how often a port was opened or closed.
        segmentation: what is known of it, see :mod:`dtls_emu.fabric.offload`; compiled code works on it, too.

    Args:
        address: the host's underlay address, IPv4 or IPv6.
        gso, gro: segmentation and merging by the kernel.
        buffer_bytes: wanted for each socket, each direction.
        clock: seconds; of the compiled code, where there is any.
        socket_type: for tests, which make it fail.

    Raises:
        FabricUnavailableError: not an address of this machine, or an offload that is ``on`` is not there.
    """

    def __init__(
        self,
        address: str,
        *,
        gso: OffloadMode = "auto",
        gro: OffloadMode = "auto",
        buffer_bytes: int = SOCKET_BUFFER_BYTES,
        clock: Callable[[], float] = time.monotonic,
        socket_type: type[socket.socket] = socket.socket,
    ) -> None:
        self.on_drop: DropObserver | None = None
        self.ports_changed = 0
        self._address = address
        self._family = socket.AF_INET if ipaddress.ip_address(address).version == 4 else socket.AF_INET6
        self._gro_mode = gro
        self._buffer_bytes = buffer_bytes
        self._clock = clock
        self._socket_type = socket_type
        self._ports: dict[int, _Port] = {}
        self._ports_by_fileno: dict[int, _Port] = {}
        self._controls: dict[tuple[int, int], list[ControlMessage]] = {}
        self._offered = self._sent = self._sends = self._gso_refusals = 0
        self._received = self._delivered = self._rejected = self._unread = 0
        self._reads = self._closed_drops = 0
        self._dropped: Counter[DropReason] = Counter()
        self._errors: Counter[str] = Counter()
        self._offloads = self._probe(gso)
        self._too_long: set[str] = set()
        self._is_refusal_said = False
        self.segmentation: NDArray[np.float64] = np.zeros(SEGMENTATION_WORDS, np.float64)
        self.segmentation[RESUME_AT] = 0 if self._offloads["udp_gso"]["state"] == "on" else inf
        self._merges = self._offloads["udp_gro"]["state"] == "on"
        self._epoll = select.epoll()

    def open_port(self, port: int) -> int:
        """Bind a local UDP port, or any free one for 0. Nothing happens when it is open already.

        Returns:
            its number.

        Raises:
            FabricUnavailableError: another program has it, or it is not allowed.
        """
        if port in self._ports:
            return port
        sock = self._bound(port)
        number: int = sock.getsockname()[1]
        entry = _Port(sock, number)
        self._ports[number] = self._ports_by_fileno[sock.fileno()] = entry
        self._epoll.register(sock.fileno(), select.EPOLLIN)
        self.ports_changed += 1
        return number

    def close_port(self, port: int) -> None:
        """Close a local port; what has arrived there and was not read is counted. Idempotent."""
        entry = self._ports.pop(port, None)
        if entry is not None:
            self.ports_changed += 1
            self._count_unread(entry)
            self._closed_drops += kernel_drops(entry.sock)
            fileno = entry.sock.fileno()
            del self._ports_by_fileno[fileno]
            self._epoll.unregister(fileno)
            entry.sock.close()

    def close(self) -> None:
        """Close every port. Idempotent."""
        for port in list(self._ports):
            self.close_port(port)
        self._epoll.close()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    @property
    def ports(self) -> Mapping[int, int]:
        """Open local ports, and the file number of each one's socket."""
        return {port: entry.sock.fileno() for port, entry in self._ports.items()}

    def fileno(self) -> int:
        """One file number that is readable when any port is, ports opened later included (an epoll)."""
        return self._epoll.fileno()

    def wait(self, timeout: float) -> bool:
        """Sleep until a port is readable, ``timeout`` seconds at most. Whether one is."""
        return bool(self._epoll.poll(timeout, 1))

    def offloads(self) -> dict[str, Offload]:
        """What is in use, by name, and why not: ``udp_gso``, ``udp_gro``, ``socket_buffer``, ``dont_fragment``, ``ecn``."""
        offloads = {name: offload.copy() for name, offload in self._offloads.items()}
        if self.segmentation[REFUSED_BY]:
            offloads["udp_gso"] = {"state": "off", "reason": self._refusal}
        return offloads

    def statistics(self) -> UdpStatistics:
        """The books."""
        return UdpStatistics(
            offered=self._offered,
            sent=self._sent,
            dropped=dict(self._dropped),
            received=self._received,
            delivered=self._delivered,
            rejected=self._rejected,
            unread=self._unread,
            sends=self._sends,
            reads=self._reads,
            gso_refusals=self._gso_refusals,
            kernel_drops=self._closed_drops + sum(kernel_drops(port.sock) for port in self._ports.values()),
            errors=dict(self._errors),
        )

    def path_mtus(self, addresses: Iterable[str]) -> dict[str, int | None]:
        """Largest IP packet that this machine would send to each address, in bytes; None where it has no way there."""
        with self._socket_type(self._family, socket.SOCK_DGRAM) as sock:
            with suppress(OSError):  # then there are no ways
                sock.bind((self._address, 0))
            return {address: path_mtu(sock, address) for address in addresses}

    @property
    def has_too_long(self) -> bool:
        """Whether :meth:`take_too_long` has something to tell."""
        return bool(self._too_long)

    def take_too_long(self) -> set[str]:
        """Addresses to which a datagram was refused because it is too large for the path; handed out once."""
        addresses, self._too_long = self._too_long, set()
        return addresses

    def note_too_long(self, address: str) -> None:
        """Likewise, what compiled code has met."""
        self._too_long.add(address)

    # ---------------------------------------------------------------------------------------------- out

    def transmit(self, effect: Transmit) -> None:
        """Send the datagrams of an effect. Never blocks, never raises for what the network does."""
        burst = effect.burst
        count, size = burst.count, burst.size
        self._offered += count
        port = self._ports.get(effect.source_port) or self._open_quietly(effect.source_port)
        if port is None:
            self._drop(DropReason.NO_LINK, count, burst.mark)
            return
        wire = burst.wire.data
        if count == 1 or not self._may_segment():
            self._send_singly(port, wire, size, effect.destination, burst.mark, burst.tos)
            return
        rows = min(MAX_SEND_SEGMENTS, MAX_SEND_BYTES // size) or 1
        if count <= rows:
            self._send_segments(port, wire, size, count, effect.destination, burst.mark, burst.tos)
            return
        for start in range(0, count, rows):
            part = wire[start * size : (start + rows) * size]
            if len(part) > size and self._may_segment():
                self._send_segments(
                    port, part, size, min(rows, count - start), effect.destination, burst.mark, burst.tos
                )
            else:
                self._send_singly(port, part, size, effect.destination, burst.mark, burst.tos)

    def _send_segments(
        self,
        port: _Port,
        wire: memoryview,
        size: int,
        count: int,
        destination: UnderlayAddress,
        mark: int,
        tos: int,
    ) -> None:
        control = self._controls.get((size, tos))
        if control is None:
            control = segment_control(size) + tos_control(self._family, tos)
            self._controls[size, tos] = control
        try:
            port.sock.sendmsg((wire,), control, 0, destination)
        except OSError as error:
            self._errors[_name(error)] += 1
            number = error.errno or 0
            if number not in GSO_REFUSALS and number != errno.EMSGSIZE:
                self._drop(_reason(error), count, mark)
                return
            full_sent = self._send_singly(port, wire, size, destination, mark, tos)
            self._gso_refusals += number in GSO_REFUSALS
            if note_refusal(self.segmentation, number, len(wire) // size, full_sent, self._clock()):
                self._say_refusal()
        else:
            self._sent += count
            self._sends += 1
            if self.segmentation.item(RESUME_AT):
                self.segmentation[:] = 0

    def _send_singly(
        self, port: _Port, wire: memoryview, size: int, destination: UnderlayAddress, mark: int, tos: int
    ) -> int:
        """Send datagrams one by one. Returns how many of full size went."""
        sendto = port.sock.sendto
        control = tos_control(self._family, tos) if tos else []
        sent = full_sent = 0
        for start in range(0, len(wire), size):
            try:
                if control:
                    port.sock.sendmsg((wire[start : start + size],), control, 0, destination)
                else:
                    sendto(wire[start : start + size], destination)
            except OSError as error:
                self._errors[_name(error)] += 1
                self._drop(_reason(error), 1, mark)
                if error.errno == errno.EMSGSIZE:
                    self._too_long.add(destination[0])
            else:
                sent += 1
                full_sent += start + size <= len(wire)
        self._sent += sent
        self._sends += sent
        return full_sent

    def _may_segment(self) -> bool:
        return not self.segmentation.item(RESUME_AT) or may_segment(self.segmentation, self._clock())

    def _say_refusal(self) -> None:
        """Say once that datagrams go one by one: the kernel or a device refuses segments."""
        if not self._is_refusal_said:
            self._is_refusal_said = True
            logger.warning(
                "UDP segmentation %s; datagrams of %s are sent one by one", self._refusal, self._address
            )

    @property
    def _refusal(self) -> str:
        error = os.strerror(int(self.segmentation[REFUSED_BY]))
        return f"refused at run time: {error}; tried again every {SEGMENTS_AGAIN:g} s"

    def _drop(self, reason: DropReason, count: int, mark: int) -> None:
        self._dropped[reason] += count
        if self.on_drop is not None:
            self.on_drop(reason, count, mark)

    # ----------------------------------------------------------------------------------------------- in

    def receive(self, deliver: Receive, now: float, *, limit: int = READS_PER_PORT) -> int:
        """Hand in what has arrived, without waiting.

        Args:
            deliver: called for each burst, which is only valid during the call.
            now: passed on, in seconds.
            limit: most reads of one port; what remains is there at the next call.

        Returns:
            the number of reads. 0: nothing was there.
        """
        # Asking epoll again is a quarter of the price of a read that fails. A merged read is worth asking
        # before each; a single datagram is not, so without merging a port is read until nothing is left.
        turns, reads_a_turn = (limit, 1) if self._merges else (1, limit)
        reads = 0
        for _ in range(turns):
            ready = self._epoll.poll(0)
            if not ready:
                break
            for fileno, _ in ready:
                port = self._ports_by_fileno.get(fileno)
                if port is not None:  # the receiver may have closed it in this turn
                    reads += self._drain(port, deliver, now, reads_a_turn)
        return reads

    def _drain(self, port: _Port, deliver: Receive, now: float, limit: int) -> int:
        recvmsg_into, vector = port.sock.recvmsg_into, port.vector
        for reads in range(limit):
            try:
                length, control, flags, source = recvmsg_into(vector, CONTROL_BYTES)
            except BlockingIOError:
                return reads
            except OSError as error:
                if port.sock.fileno() >= 0:  # else the receiver has closed the port, which is no error
                    self._errors[_name(error)] += 1
                return reads
            self._reads += 1
            if length == 0 or flags & _CUT_OFF:
                self._received += 1
                self._rejected += 1
                continue
            segment, tos = read_control(control)
            burst = Burst.from_datagrams(port.buffer[:length], segment, 0, tos)
            count = burst.count
            self._received += count
            self._delivered += count
            if count <= MAX_ROWS:
                deliver(burst, source[:2], port.number, now)
            else:
                for part in _parts(burst):
                    deliver(part, source[:2], port.number, now)
        return limit

    def _count_unread(self, port: _Port) -> None:
        """Count what the kernel would throw away when a port is closed."""
        delivered = self._delivered
        # Into memory of its own: the port's may hold a burst that is still being handed in.
        self._drain(_Port(port.sock, port.number), lambda *_: None, 0.0, _LAST_READS)
        self._unread += self._delivered - delivered
        self._delivered = delivered

    def take(
        self, data: NDArray[np.uint8], segment: int, deliver: Callable[[Burst], object], tos: int = 0
    ) -> None:
        """Hand in what compiled code has received: one read, of datagrams of `segment` bytes. It has counted the read."""
        burst = Burst.from_datagrams(data, segment, tos=tos)
        self._received += burst.count
        self._delivered += burst.count
        for part in _parts(burst):
            deliver(part)

    def settle(
        self,
        *,
        offered: int,
        sent: int,
        sends: int,
        received: int,
        delivered: int,
        rejected: int,
        reads: int,
        gso_refusals: int,
    ) -> None:
        """Enter in the books what compiled code has sent and received, as :class:`UdpStatistics` counts it."""
        self._offered += offered
        self._sent += sent
        self._sends += sends
        self._received += received
        self._delivered += delivered
        self._rejected += rejected
        self._reads += reads
        self._gso_refusals += gso_refusals
        if self.segmentation[REFUSED_BY]:
            self._say_refusal()

    def refuse(self, error: int, count: int, calls: int) -> None:
        """Likewise, so many calls that failed with an error, and the datagrams that they were to send."""
        self._errors[errno.errorcode.get(error, "unknown")] += calls
        if count:
            self._drop(_REASONS.get(error, DropReason.NO_LINK), count, 0)

    # ------------------------------------------------------------------------------------------ sockets

    def _probe(self, gso: OffloadMode) -> dict[str, Offload]:
        with self._bound(0) as sock:
            return {
                "udp_gso": prepare_gso(sock, gso),
                "udp_gro": prepare_gro(sock, self._gro_mode),
                "socket_buffer": enlarge_buffers(sock, self._buffer_bytes),
                "dont_fragment": forbid_fragments(sock),
                "ecn": report_tos(sock),
            }

    def _bound(self, port: int) -> socket.socket:
        sock = self._socket_type(self._family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            prepare_gro(sock, self._gro_mode)
            enlarge_buffers(sock, self._buffer_bytes)
            forbid_fragments(sock)
            report_tos(sock)
            sock.bind((self._address, port))
        except OSError as error:
            sock.close()
            raise FabricUnavailableError(
                f"cannot bind {self._address} port {port}: {error.strerror}"
            ) from error
        except FabricUnavailableError:
            sock.close()
            raise
        return sock

    def _open_quietly(self, port: int) -> _Port | None:
        try:
            return self._ports[self.open_port(port)]
        except FabricUnavailableError as error:
            self._errors[_name(error.__cause__)] += 1
            return None


class _Port:
    """A socket and its receive buffer."""

    __slots__ = ("buffer", "number", "sock", "vector")

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock = sock
        self.number = number
        self.buffer = np.empty(RECEIVE_BYTES, np.uint8)
        self.vector = [self.buffer.data]


def _parts(burst: Burst) -> list[Burst]:
    """A burst as bursts of at most 64 rows."""
    count = burst.count
    return [burst.slice(start, min(start + MAX_ROWS, count)) for start in range(0, count, MAX_ROWS)]


def _name(error: BaseException | None) -> str:
    number = error.errno if isinstance(error, OSError) else None
    return errno.errorcode.get(number or 0, "unknown")


def _reason(error: OSError) -> DropReason:
    return _REASONS.get(error.errno or 0, DropReason.NO_LINK)
