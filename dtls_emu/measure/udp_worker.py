"""One host of the UDP path, in a process of its own: a card on sockets, told what to do over a pipe.

One trial of the sender:

1. offer a burst to the card and send what comes out, with one system call where the kernel cuts datagrams;
2. while more is under way than the receiver's socket buffer safely holds, sleep;
3. at the end wait until the receiver has seen everything, or has stood still for a while.

One trial of the receiver:

1. read, open and deliver until everything is there; count, and compare a sample with what was sent;
2. after each read, tell the sender how far it is through shared memory.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Final

from dtls_emu.errors import DtlsEmuError
from dtls_emu.fabric.offload import FabricUnavailableError
from dtls_emu.fabric.udp import UdpFabric
from dtls_emu.measure.cards import clock, read_card
from dtls_emu.measure.machine import pin, undisturbed
from dtls_emu.measure.packets import check_rows, udp_burst
from dtls_emu.nic.effects import Driver, carry_out
from dtls_emu.simulation.accounts import AccountingError
from dtls_emu.tunnel.settings import TunnelSettings
from dtls_emu.vocabulary import DropReason
from dtls_emu.wire.overhead import path_overhead
from dtls_emu.wire.vxlan import VXLAN_PORT


if TYPE_CHECKING:
    from collections.abc import Iterable
    from ctypes import Array, c_longlong
    from multiprocessing.connection import Connection
    from pathlib import Path

    from dtls_emu.fabric.offload import Offload, OffloadMode
    from dtls_emu.lab.topology import Topology
    from dtls_emu.measure.packets import Ends
    from dtls_emu.nic.effects import ClosePort, Deliver, Effect, Transmit, UnderlayAddress
    from dtls_emu.wire.burst import Burst


__all__ = ["EndConfig", "EndReport", "Failure", "Order", "Ready", "Role", "serve", "window"]

PORTS: Final = (TunnelSettings().port, VXLAN_PORT)
"""Where a card expects others to call first."""

CHECK_EVERY: Final = 64
"""One delivered burst in so many is compared byte for byte: 0.2 µs a burst, the same for every arm."""

WINDOW_SHARE: Final = 2
"""A window is half of the socket buffer: what the kernel charges for a datagram is only estimated."""

WINDOW_BURSTS: Final = 32
"""At most so many bursts are under way. With fewer than 16 an end waits for the other and hides what encryption
costs; from 16 to 64 the ratio stays the same; hundreds no longer fit the caches."""

PAUSE_S: Final = 20e-6
"""Sleep of a sender whose window is full; the kernel adds its timer slack of 50 µs."""

STANDSTILL_S: Final = 0.25
"""On loopback, a receiver that has read nothing for so long will not read more."""

IDLE_S: Final = 0.02
"""A receiver without datagrams looks up that often whether the sender has finished."""

TUNNEL_S: Final = 10.0
"""Longest wait for a tunnel. On loopback a handshake takes a few milliseconds."""

PUMP_EVERY: Final = 16
"""A sender looks up after so many bursts: 0.1 µs a burst."""

NO_PACKETS: Final = frozenset(
    {
        DropReason.HANDSHAKE_NOISE,
        DropReason.HALF_OPEN_LIMIT,
        DropReason.UNEXPECTED_CONTENT,
        DropReason.WRONG_EPOCH,
    }
)
"""What is dropped for these reasons was never a VM's packet. If it was, it is missing and the run is void.

On a busy machine a process may wait until its peer repeats its flight; what comes of that arrives when the handshake is
over: plaintext records, and a Finished that nobody asked for."""

PROCESSED: Final = 0
FINISHED: Final = 1
SHARED_WORDS: Final = 2
"""Shared memory: datagrams the receiver has dealt with in this trial; 1 once the sender has finished it."""


class Role(StrEnum):
    """Which end of the path a process is."""

    SENDER = "sender"
    RECEIVER = "receiver"


@dataclass(frozen=True, slots=True)
class EndConfig:
    """What a process needs to make its cards.

    Fields:
        role: which end it is.
        topologies: by arm; each arm has fabric addresses of its own.
        host, vm: the end's.
        ends: inner addresses.
        credentials: folder of the host's certificate and key.
        offload: UDP_SEGMENT and UDP_GRO where the kernel has them.
    """

    role: Role
    topologies: dict[str, Topology]
    host: str
    vm: str
    ends: Ends
    credentials: Path
    offload: bool


@dataclass(frozen=True, slots=True)
class Ready:
    """A process has made its cards: what its sockets use, how big their buffers are, and its core."""

    offloads: dict[str, Offload]
    buffer_bytes: int
    core: int | None


@dataclass(frozen=True, slots=True)
class Order:
    """One trial: offer, or expect, so many full bursts.

    Fields:
        arm, size: which cards and packets.
        bursts: how many.
        window: most datagrams under way.
    """

    arm: str
    size: int
    bursts: int
    window: int


@dataclass(frozen=True, slots=True)
class EndReport:
    """What one end counted during a trial.

    Fields:
        offered: packets handed to the card by the sending VM.
        delivered, octets: packets and bytes handed to the receiving VM.
        dropped: by reason, in the card and by the socket.
        kernel_drops: receives that the kernel dropped; a merged one counts once.
        first, last: of the first packet offered, or of the last one delivered, in seconds of the machine.
        cpu_s: CPU seconds of the process, user and system.
    """

    offered: int
    delivered: int
    octets: int
    dropped: dict[str, int]
    kernel_drops: int
    first: float
    last: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a process could not do what it was told; ``is_void``: a packet was altered."""

    reason: str
    is_void: bool


def serve(config: EndConfig, pipe: Connection, shared: Array[c_longlong]) -> None:
    """The process: set up, say :class:`Ready`, then a report for each order, until None comes or the pipe ends."""
    core = pin(list(Role).index(config.role))
    try:
        ends = {arm: _End(config, arm) for arm in config.topologies}
        some = next(iter(ends.values()))
        pipe.send(Ready(some.fabric.offloads(), some.buffer_bytes(), core))
        while (order := _next_order(pipe, list(ends.values()))) is not None:
            end = ends[order.arm]
            if config.role is Role.SENDER:
                pipe.send(_send(end, order, shared))
            else:
                shared[PROCESSED] = shared[FINISHED] = 0
                pipe.send(order)  # ready for it
                pipe.send(_receive(end, order, shared))
    except (EOFError, ConnectionError):
        pass  # the coordinator is gone
    except DtlsEmuError as error:
        pipe.send(Failure(str(error), isinstance(error, AccountingError)))


def _next_order(pipe: Connection, ends: list[_End]) -> Order | None:
    """Wait for an order; meanwhile every tunnel gets what it wants, a sign of life for its peer above all."""
    while True:
        due = min(end.card.next_timeout() for end in ends)
        timeout = None if due == inf else max(0.0, due - clock())
        if pipe in wait([pipe, *(end.fabric.fileno() for end in ends)], timeout):
            order: Order | None = pipe.recv()
            return order
        for end in ends:
            end.pump(0)


class _End(Driver):
    """One arm's card and sockets in this process; it carries out what the card asks for.

    Fields:
        processed: datagrams that have come in from the other end.
        delivered, octets: packets and bytes handed to the VM.
        expected: rows to compare delivered packets with, or None.
    """

    def __init__(self, config: EndConfig, arm: str) -> None:
        topology = config.topologies[arm]
        mode: OffloadMode = "auto" if config.offload else "off"
        self.config = config
        self.fabric = UdpFabric(topology.hosts[config.host].underlay, gso=mode, gro=mode)
        self._ports = {self.fabric.open_port(port) for port in PORTS}
        self.card = read_card(topology, config.host, config.credentials)
        self.processed = self.delivered = self.octets = 0
        self.expected: Burst | None = None
        self._until_check = 1
        self._taken = 0  # a port that another program has

    def buffer_bytes(self) -> int:
        """What the kernel lets a socket of this end hold, its own overhead included."""
        with socket.socket(fileno=os.dup(self.fabric.ports[PORTS[0]])) as sock:
            return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)

    def dropped(self) -> dict[str, int]:
        """Every packet dropped here so far, by reason."""
        counters = (
            self.card.egress.counters.dropped,
            self.card.ingress.counters.dropped,
            self.fabric.statistics().dropped,
        )
        total: dict[str, int] = {}
        for dropped in counters:
            for reason, count in dropped.items():
                if reason in NO_PACKETS:
                    continue
                total[str(reason)] = total.get(str(reason), 0) + count
        return total

    def offer(self, burst: Burst, now: float) -> None:
        """A burst of the VM's."""
        self._carry_out(self.card.from_guest(self.config.vm, burst, now), now)

    def take(self, burst: Burst, source: UnderlayAddress, local_port: int, now: float) -> None:
        """Datagrams from the fabric."""
        self.processed += burst.count
        self._carry_out(self.card.from_fabric(burst, source, local_port, now), now)

    def pump(self, timeout: float) -> bool:
        """Let datagrams in and time pass, waiting for either at most ``timeout`` seconds; whether any came."""
        now = clock()
        due = self.card.next_timeout()
        if due <= now:
            self._carry_out(self.card.handle_timeout(now), now)
        came = self.fabric.receive(self.take, now) > 0
        if not came and timeout:
            self.fabric.wait(max(0.0, min(timeout, due - now)))
        return came

    def _carry_out(self, effects: Iterable[Effect], now: float) -> None:
        carry_out(effects, self)
        if self._taken:
            taken, self._taken = self._taken, 0
            self._carry_out(self.card.port_unavailable(taken, now), now)

    def transmit(self, effect: Transmit) -> None:
        """Send datagrams. One of a handshake that does not leave is no packet of the trial."""
        if effect.source_port in self._ports or self._open(effect.source_port):
            self.fabric.transmit(effect)
        else:
            self._taken = effect.source_port

    def deliver(self, effect: Deliver) -> None:
        """Count packets, and compare a sample with what was sent."""
        burst = effect.burst
        self.delivered += burst.count
        self.octets += burst.nbytes
        self._until_check -= 1
        if self._until_check <= 0 and self.expected is not None:
            self._until_check = CHECK_EVERY
            check_rows(burst, self.expected)

    def close_port(self, effect: ClosePort) -> None:
        """Close a port."""
        self._ports.discard(effect.port)
        self.fabric.close_port(effect.port)

    def _open(self, port: int) -> bool:
        try:
            self._ports.add(self.fabric.open_port(port))
        except FabricUnavailableError:
            return False
        return True


def _send(end: _End, order: Order, shared: Array[c_longlong]) -> EndReport:
    burst = udp_burst(end.config.ends, order.size)
    before = end.dropped()
    with undisturbed():
        cpu_s = -time.process_time()
        first = clock()
        sent = 0
        for number in range(order.bursts):
            if sent - shared[PROCESSED] > order.window - burst.count:
                sent -= _await_room(shared, sent, order.window - burst.count)
            end.offer(burst, clock())
            sent += burst.count
            if end.card.egress.counters.waiting:
                _await_tunnel(end)
            if number % PUMP_EVERY == 0:
                end.pump(0)  # a key may be renewed in the middle of a trial
        last = clock()
        cpu_s += time.process_time()
    shared[FINISHED] = 1
    end.pump(0)
    return EndReport(order.bursts * burst.count, 0, 0, _since(end.dropped(), before), 0, first, last, cpu_s)


def _receive(end: _End, order: Order, shared: Array[c_longlong]) -> EndReport:
    expected = udp_burst(end.config.ends, order.size)
    total = order.bursts * expected.count
    before, kernel_before = end.dropped(), end.fabric.statistics().kernel_drops
    end.processed = end.delivered = end.octets = 0
    end.expected = expected
    with undisturbed():
        cpu_s = -time.process_time()
        last = clock()
        while end.delivered < total:
            stood_still = bool(shared[FINISHED]) and clock() - last > STANDSTILL_S
            if end.pump(IDLE_S):
                last = clock()
                shared[PROCESSED] = end.processed
            elif stood_still:  # judged before the look: on a busy machine it is this process that stood still
                break
        cpu_s += time.process_time()
    kernel_drops = end.fabric.statistics().kernel_drops - kernel_before
    return EndReport(
        0, end.delivered, end.octets, _since(end.dropped(), before), kernel_drops, last, last, cpu_s
    )


def _await_room(shared: Array[c_longlong], sent: int, room_at: int) -> int:
    """Sleep until no more than ``room_at`` datagrams are under way.

    Returns:
        how many of them are lost: nothing has moved for so long that they will not arrive.
    """
    seen, since = shared[PROCESSED], clock()
    while sent - shared[PROCESSED] > room_at:
        time.sleep(PAUSE_S)
        now = clock()
        if shared[PROCESSED] != seen:
            seen, since = shared[PROCESSED], now
        elif now - since > STANDSTILL_S:
            return sent - seen
    return 0


def _await_tunnel(end: _End) -> None:
    """The first packet of an arm waits for its tunnel: keep the handshake going.

    Raises:
        DtlsEmuError: the tunnel did not come up, with the card's reason.
    """
    deadline = clock() + TUNNEL_S
    while end.card.egress.counters.waiting:
        end.pump(IDLE_S)
        failures = [tunnel.failure for tunnel in end.card.tunnels.values() if tunnel.failure]
        if failures or clock() > deadline:
            raise DtlsEmuError(f"no tunnel over UDP: {failures or 'no answer'}")


def _since(now: dict[str, int], before: dict[str, int]) -> dict[str, int]:
    return {
        reason: count - before.get(reason, 0)
        for reason, count in now.items()
        if count != before.get(reason, 0)
    }


def datagram_charge(size: int) -> int:
    """Bytes of socket buffer that one datagram may cost: the kernel rounds up and adds its own (``truesize``)."""
    return 2 * (size + path_overhead(encrypted=True).datagram) + 1_024


def window(buffer_bytes: int, size: int, burst: int) -> int:
    """Most datagrams under way: at least one burst, or nothing would ever move."""
    fitting = buffer_bytes // WINDOW_SHARE // datagram_charge(size)
    return max(burst, min(fitting, WINDOW_BURSTS * burst))
