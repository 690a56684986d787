"""One host of the UDP path, in a process of its own: a card on sockets, told what to do over a pipe.

One trial of the sender:

1. offer a burst to the card and send what comes out, with one system call where the kernel cuts datagrams;
2. in a closed loop, while more is under way than the receiver's socket buffer safely holds, sleep; on a schedule,
   until the next one is due: what the receiver cannot take is lost in its socket buffer;
3. at the end tell the receiver how many packets there were.

One trial of the receiver:

1. read, open and deliver until everything is there, or nothing has come for a while; count, and compare a sample with
   what was sent, or take the delay of every packet;
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
from sys import maxsize
from typing import TYPE_CHECKING, Final

from dtls_emu.errors import DtlsEmuError
from dtls_emu.fabric.offload import FabricUnavailableError
from dtls_emu.fabric.udp import UdpFabric
from dtls_emu.measure.cards import clock, read_card
from dtls_emu.measure.delays import Delays
from dtls_emu.measure.machine import involuntary_switches, pin, undisturbed
from dtls_emu.measure.packets import check_rows, ends_of, read_tags, rows_per_burst, udp_bursts
from dtls_emu.measure.source import make_source
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
    from dtls_emu.measure.source import Load
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
"""Shared memory: datagrams the receiver has dealt with in this trial; how many packets the sender has handed to its
card, once there will be no more."""


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
        ends: inner addresses, of each IP version that both have.
        credentials: folder of the host's certificate and key.
        offload: UDP_SEGMENT and UDP_GRO where the kernel has them.
    """

    role: Role
    topologies: dict[str, Topology]
    host: str
    vm: str
    ends: tuple[Ends, ...]
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
    """One trial.

    Fields:
        load: what is offered, or expected.
        window: most datagrams under way, in a closed loop.
    """

    load: Load
    window: int


@dataclass(frozen=True, slots=True)
class EndReport:
    """What one end counted during a trial.

    Fields:
        offered: packets that the sending VM had to send.
        refused: of them, those that its queue had no room for.
        delivered, octets: packets and bytes handed to the receiving VM.
        dropped: by reason, in the card and by the socket.
        kernel_drops: receives that the kernel dropped; a merged one counts once.
        first, last: of the first packet offered, or of the last one delivered, in seconds of the machine.
        cpu_s: CPU seconds of the process, user and system.
        switches: involuntary context switches of the process.
        delays: of the packets, if they were timed.
    """

    offered: int
    refused: int
    delivered: int
    octets: int
    dropped: dict[str, int]
    kernel_drops: int
    first: float
    last: float
    cpu_s: float
    switches: int = 0
    delays: Delays | None = None


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
            end = ends[order.load.arm]
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
        expected: what to compare delivered packets with, a burst of each flow.
        delays: takes those of the packets, if they are timed.
    """

    def __init__(self, config: EndConfig, arm: str) -> None:
        topology = config.topologies[arm]
        mode: OffloadMode = "auto" if config.offload else "off"
        self.config = config
        self.fabric = UdpFabric(topology.hosts[config.host].underlay, gso=mode, gro=mode)
        self._ports = {self.fabric.open_port(port) for port in PORTS}
        self.card = read_card(topology, config.host, config.credentials)
        self.processed = self.delivered = self.octets = 0
        self.expected: list[Burst] = []
        self.delays: Delays | None = None
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
        if self.delays is not None:
            self.delays.add(time.monotonic_ns() - read_tags(burst))
            return
        self._until_check -= 1
        if self._until_check <= 0:
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
    load = order.load
    bursts = _bursts(end, load)
    before = end.dropped()
    rows = bursts[0].count
    room_at = order.window - rows if load.rate is None else maxsize
    with undisturbed():
        switches, cpu_s = -involuntary_switches(), -time.process_time()
        first = clock()
        source = make_source(load, bursts)
        sent = handed = number = 0
        while (burst := source.next()) is not None:
            if sent - shared[PROCESSED] > room_at:
                sent -= _await_room(shared, sent, room_at)
            end.offer(burst, clock())
            sent += rows
            handed += rows
            number += 1
            if end.card.egress.counters.waiting:
                _await_tunnel(end)
            if number % PUMP_EVERY == 0:
                end.pump(0)  # a key may be renewed in the middle of a trial
        last = clock()
        cpu_s += time.process_time()
        switches += involuntary_switches()
    shared[FINISHED] = handed
    end.pump(0)
    dropped = _since(end.dropped(), before)
    return EndReport(source.offered, source.refused, 0, 0, dropped, 0, first, last, cpu_s, switches)


def _receive(end: _End, order: Order, shared: Array[c_longlong]) -> EndReport:
    end.expected = _bursts(end, order.load)
    end.delays = Delays() if order.load.timed else None
    before, kernel_before = end.dropped(), end.fabric.statistics().kernel_drops
    end.processed = end.delivered = end.octets = 0
    with undisturbed():
        switches, cpu_s = -involuntary_switches(), -time.process_time()
        last = clock()
        while not shared[FINISHED] or end.delivered < shared[FINISHED]:
            stood_still = bool(shared[FINISHED]) and clock() - last > STANDSTILL_S
            if end.pump(IDLE_S):
                last = clock()
                shared[PROCESSED] = end.processed
            elif stood_still:  # judged before the look: on a busy machine it is this process that stood still
                break
        cpu_s += time.process_time()
        switches += involuntary_switches()
    kernel_drops = end.fabric.statistics().kernel_drops - kernel_before
    dropped = _since(end.dropped(), before)
    return EndReport(
        0, 0, end.delivered, end.octets, dropped, kernel_drops, last, last, cpu_s, switches, end.delays
    )


def _bursts(end: _End, load: Load) -> list[Burst]:
    ends = ends_of(end.config.ends, load.ip_version)
    return udp_bursts(ends, load.size, rows_per_burst(load.size, load.burst), load.flows)


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
