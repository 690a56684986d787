"""The real underlay: UDP sockets, with segmentation and merging by the kernel where it has them.

Out: datagrams of one turn leave together where they can, up to 64 in one ``sendmsg`` (:mod:`dtls_emu.fabric.udp_send`).
In: up to 128 merged datagrams in one ``recvmsg``, into memory that is made once (:mod:`dtls_emu.fabric.udp_receive`).
This is the sockets themselves, and the same kernels called from Python; a host's compiled loop calls them on the same
memory. Nothing a peer or a device does raises: what is not sent is counted by reason.

A datagram that is too large for the path is refused (outer DF is set); :meth:`UdpFabric.take_too_long` says where.
"""

from __future__ import annotations

import errno
import ipaddress
import logging
import os
import select
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from dtls_emu.fabric.failures import count_failure, drops_by_reason, errors_by_name
from dtls_emu.fabric.offload import (
    SEGMENTS_AGAIN,
    SOCKET_BUFFER_BYTES,
    FabricUnavailableError,
    enlarge_buffers,
    forbid_fragments,
    kernel_drops,
    path_mtu,
    prepare_gro,
    prepare_gso,
    report_tos,
)
from dtls_emu.fabric.socket_address import pull_socket_address
from dtls_emu.fabric.syscalls import LIBC
from dtls_emu.fabric.udp_receive import READS_PER_PORT, Receiver, drain, receive_next
from dtls_emu.fabric.udp_send import REFUSED_SEGMENTS, TOO_LONG, Sender, flush, lead_path, make_paths, put
from dtls_emu.vocabulary import DropReason
from dtls_emu.wire.burst import MAX_ROWS, Burst


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

    from numpy.typing import NDArray

    from dtls_emu.fabric.offload import Offload, OffloadMode
    from dtls_emu.fabric.syscalls import SystemCalls
    from dtls_emu.fabric.underlay import Receive
    from dtls_emu.nic.effects import Transmit, UnderlayAddress


__all__ = ["UdpFabric", "UdpStatistics"]

logger = logging.getLogger(__name__)

_LAST_READS: Final = 1 << 14
"""Most reads of a port that is being closed: more than a socket's buffer holds, and a flood does not end."""

_REASONS: Final = {
    errno.EMSGSIZE: DropReason.LINK_MTU,
    errno.EAGAIN: DropReason.SOCKET_BUFFER,
    errno.ENOBUFS: DropReason.SOCKET_BUFFER,
    errno.ENOMEM: DropReason.SOCKET_BUFFER,
}
"""What a failed send counts as. Everything else is ``no_link``: no route, refused, filtered, no such port."""


@dataclass(frozen=True, slots=True)
class UdpStatistics:
    """The counters at one moment: ``offered == sent + dropped``, ``received == delivered + rejected + unread``.

    Fields, in datagrams unless said:
        offered: handed in by the card, those that wait for the end of the turn not included.
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

    Fields:
        address: the host's underlay address.
        ports_changed: how often a port was opened or closed.
        sender, receiver: memory that compiled code works on, too; see their modules.
        port_of_file: number of the port by the file number of its socket, 0 for other files; another array after
            `ports_changed`.

    Args:
        address: the host's underlay address, IPv4 or IPv6.
        gso, gro: segmentation and merging by the kernel.
        buffer_bytes: wanted for each socket, each direction.
        clock: seconds; of the compiled code, where there is any.
        calls: system calls that carry datagrams.

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
        calls: SystemCalls = LIBC,
    ) -> None:
        self.ports_changed = 0
        self.port_of_file: NDArray[np.int32] = np.zeros(0, np.int32)
        self.address = address
        self._family = socket.AF_INET if ipaddress.ip_address(address).version == 4 else socket.AF_INET6
        self._gro_mode = gro
        self._buffer_bytes = buffer_bytes
        self._clock = clock
        self._calls = calls
        self._sockets: dict[int, socket.socket] = {}  # by port
        self._unread = self._unread_reads = self._closed_drops = 0
        self._too_long: set[str] = set()
        self._is_refusal_said = False
        self._offloads = self._probe(gso)
        self._epoll = select.epoll()
        segments = self._offloads["udp_gso"]["state"] == "on"
        self.sender = Sender(self._family, segments=segments, calls=calls)
        self.receiver = Receiver(self._family, self._epoll.fileno(), calls=calls)
        self._paths = make_paths(1)  # that of what waits
        self._attention = self.sender.state["attention"]
        self._leads: tuple[int, UnderlayAddress] | None = None  # port and address that it leads from and to
        self._waits = False
        # Views, because looking a field up costs as much as reading it.
        state = self.receiver.state
        self._arrival, self._source, self._reads = state["arrival"], state["name"], state["reads"]
        self._turn = READS_PER_PORT, 1
        self._merges = self._offloads["udp_gro"]["state"] == "on"

    def open_port(self, port: int) -> int:
        """Bind a local UDP port, or any free one for 0. Nothing happens when it is open already.

        Returns:
            its number.

        Raises:
            FabricUnavailableError: another program has it, or it is not allowed.
        """
        if port in self._sockets:
            return port
        sock = self._bound(port)
        number: int = sock.getsockname()[1]
        self._sockets[number] = sock
        self._epoll.register(sock.fileno(), select.EPOLLIN)
        self._note_ports()
        return number

    def close_port(self, port: int) -> None:
        """Close a local port; what waits is sent, what has arrived there and was not read is counted. Idempotent."""
        if port in self._sockets:
            self.flush()
            self._leads = None
            sock = self._sockets.pop(port)
            self._count_unread(sock)
            self._closed_drops += kernel_drops(sock)
            self._epoll.unregister(sock.fileno())
            sock.close()
            self._note_ports()

    def close(self) -> None:
        """Close every port. Idempotent."""
        for port in list(self._sockets):
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
        return {port: sock.fileno() for port, sock in self._sockets.items()}

    def fileno(self) -> int:
        """One file number that is readable when any port is, ports opened later included (an epoll)."""
        return self._epoll.fileno()

    def wait(self, timeout: float) -> bool:
        """Sleep until a port is readable, ``timeout`` seconds at most. Whether one is."""
        return bool(self._epoll.poll(timeout, 1))

    def offloads(self) -> dict[str, Offload]:
        """What is in use, by name, and why not: ``udp_gso``, ``udp_gro``, ``socket_buffer``, ``dont_fragment``, ``ecn``."""
        offloads = {name: offload.copy() for name, offload in self._offloads.items()}
        if self.sender.state["refused_by"][0]:
            offloads["udp_gso"] = {"state": "off", "reason": self._refusal}
        return offloads

    def statistics(self) -> UdpStatistics:
        """The counters."""
        sent, got = self.sender.state[0], self.receiver.state[0]
        received, rejected = int(got["received"]), int(got["rejected"])
        return UdpStatistics(
            offered=int(sent["offered"]),
            sent=int(sent["sent"]),
            dropped=drops_by_reason(sent["failures"], _reason),
            received=received,
            delivered=received - rejected - self._unread,
            rejected=rejected,
            unread=self._unread,
            sends=int(sent["sends"]),
            reads=int(got["reads"]) + self._unread_reads,
            gso_refusals=int(sent["gso_refusals"]),
            kernel_drops=self._closed_drops + sum(map(kernel_drops, self._sockets.values())),
            errors=errors_by_name((sent["failures"], got["failures"])),
        )

    def path_mtus(self, addresses: Iterable[str]) -> dict[str, int | None]:
        """Largest IP packet that this machine would send to each address, in bytes; None where it has no route there."""
        with socket.socket(self._family, socket.SOCK_DGRAM) as sock:
            with suppress(OSError):  # then there are no routes
                sock.bind((self.address, 0))
            return {address: path_mtu(sock, address) for address in addresses}

    @property
    def has_too_long(self) -> bool:
        """Whether :meth:`take_too_long` has something to tell."""
        return bool(self._too_long)

    def take_too_long(self) -> set[str]:
        """Addresses to which a datagram was refused because it is too large for the path; handed out once."""
        addresses, self._too_long = self._too_long, set()
        return addresses

    # ---------------------------------------------------------------------------------------------- out

    def transmit(self, effect: Transmit) -> None:
        """Send the datagrams of an effect now. Never blocks, never raises for what the network does."""
        self.put(effect)
        self.flush()

    def put(self, effect: Transmit) -> None:
        """Send the datagrams of an effect, at the latest when :meth:`flush` is called; they are copied where they wait."""
        burst = effect.burst
        target = effect.source_port, effect.destination
        if target != self._leads and not self._lead(target, burst.count):
            return
        self._waits = put(self.sender.state, self._paths, burst.wire, burst.size, burst.tos, self._clock())
        if not self._waits:
            self.attend(self._paths)

    def flush(self) -> None:
        """Send what waits."""
        if self._waits:
            self._waits = False
            flush(self.sender.state, self._paths, self._clock())
            self.attend(self._paths)

    def attend(self, paths: NDArray[np.void]) -> None:
        """Look at what kernels have come upon while they sent over these paths, and left to Python."""
        attention = self._attention.item()
        if not attention:
            return
        self._attention[0] = 0
        if attention & REFUSED_SEGMENTS:
            self._say_refusal()
        if attention & TOO_LONG:
            for path in np.flatnonzero(paths["is_too_long"]).tolist():
                address, _ = pull_socket_address(paths["name"][path].tobytes())
                self._too_long.add(address)
            paths["is_too_long"] = 0

    def _lead(self, target: tuple[int, UnderlayAddress], count: int) -> bool:
        """Send what waits, and have what follows go from another port, or to another address; False: it cannot."""
        self.flush()
        self._leads = None
        source_port, destination = target
        sock = self._sockets.get(source_port) or self._open_quietly(source_port, count)
        if sock is None:
            return False
        lead_path(self._paths, 0, sock.fileno(), destination)
        self._leads = target
        return True

    def _say_refusal(self) -> None:
        """Say once that datagrams go one by one: the kernel or a device refuses segments."""
        if not self._is_refusal_said:
            self._is_refusal_said = True
            logger.warning(
                "UDP segmentation %s; datagrams of %s are sent one by one", self._refusal, self.address
            )

    @property
    def _refusal(self) -> str:
        error = os.strerror(int(self.sender.state["refused_by"][0]))
        return f"refused at run time: {error}; tried again every {SEGMENTS_AGAIN:g} s"

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
        turn = (limit, 1) if self._merges else (1, limit)
        if turn != self._turn:
            self._turn = turn
            self.receiver.state["turn"] = *turn, 0, 0, 0, 0, 0
        state, before = self.receiver.state, self._reads.item()
        while receive_next(state, self.port_of_file):
            self.take(deliver, now)
        return int(self._reads.item() - before)

    def take(self, deliver: Receive, now: float) -> None:
        """Hand in what the last read has brought, in bursts of at most 64 rows."""
        port, count, size, last, tos = self._arrival.item()
        source = pull_socket_address(self._source.tobytes())
        burst = Burst.from_datagrams(self.receiver.memory[: (count - 1) * size + last], size, 0, tos)
        if count <= MAX_ROWS:
            deliver(burst, source, port, now)
            return
        for start in range(0, count, MAX_ROWS):
            deliver(burst.slice(start, min(start + MAX_ROWS, count)), source, port, now)

    def _count_unread(self, sock: socket.socket) -> None:
        """Count what the kernel would throw away when a port is closed."""
        # Into memory of its own: the fabric's may hold a burst that is still being handed in.
        own = Receiver(self._family, self._epoll.fileno(), calls=self._calls)
        drain(own.state, sock.fileno(), _LAST_READS)
        self._unread += int(own.state["received"][0] - own.state["rejected"][0])
        self._unread_reads += int(own.state["reads"][0])
        for counter in ("received", "rejected", "failures"):
            self.receiver.state[counter] += own.state[counter]

    # ------------------------------------------------------------------------------------------ sockets

    def _note_ports(self) -> None:
        """A port was opened or closed: kernels go by the file numbers of sockets."""
        self.ports_changed += 1
        files = self.ports
        self.port_of_file = np.zeros(max(files.values(), default=-1) + 1, np.int32)
        for port, file in files.items():
            self.port_of_file[file] = port
        self.receiver.state["turn"]["left"] = 0  # the file that is being read may be another by now

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
        sock = socket.socket(self._family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            prepare_gro(sock, self._gro_mode)
            enlarge_buffers(sock, self._buffer_bytes)
            forbid_fragments(sock)
            report_tos(sock)
            sock.bind((self.address, port))
        except OSError as error:
            sock.close()
            raise FabricUnavailableError(
                f"cannot bind {self.address} port {port}: {error.strerror}"
            ) from error
        except FabricUnavailableError:
            sock.close()
            raise
        return sock

    def _open_quietly(self, port: int, count: int) -> socket.socket | None:
        """Open a port that datagrams are to leave from; if it cannot be, they are dropped and counted."""
        try:
            return self._sockets[self.open_port(port)]
        except FabricUnavailableError as error:
            cause: Any = error.__cause__
            self.sender.state["offered"] += count
            count_failure(self.sender.state["failures"][0], getattr(cause, "errno", 0) or 0, count)
            return None


def _reason(error: int) -> DropReason:
    return _REASONS.get(error, DropReason.NO_LINK)
