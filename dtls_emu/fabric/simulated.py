"""The simulated underlay: hosts joined by impaired links, on a virtual clock.

The way of a ``Transmit``:

1. :meth:`SimulatedFabric.transmit` finds the link; without one its datagrams are dropped, ``no_link``.
2. :mod:`dtls_emu.fabric.impairment` decides the fate of each datagram; whoever observes is told.
3. Datagrams that arrive together travel as one burst, a copy of the sender's rows.
4. At its time the burst is handed to the host at the other end.

Same topology, same seed, same calls at the same times: the same trace.
"""

from __future__ import annotations

import ipaddress
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from dtls_emu.errors import LocalProtocolError
from dtls_emu.events import (
    Damaged,
    Duplicated,
    Lost,
    Marked,
    Reordered,
    Sent,
    fan_out,
    mark_of,
    packet_of,
)
from dtls_emu.fabric.clock import NANOSECONDS
from dtls_emu.fabric.impairment import REORDER_HOLD, Direction, Fate
from dtls_emu.fabric.underlay import Ledger, total
from dtls_emu.nic.effects import Transmit
from dtls_emu.vocabulary import DropReason
from dtls_emu.wire.burst import MAX_ROWS, Burst
from dtls_emu.wire.ecn import CE
from dtls_emu.wire.overhead import MAX_UDP_PAYLOAD
from dtls_emu.wire.protocol import is_handshake


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from dtls_emu.events import Observer
    from dtls_emu.fabric.clock import Timer, VirtualClock
    from dtls_emu.fabric.underlay import DropObserver, DuplicateObserver, FabricStatistics, Receive
    from dtls_emu.lab.topology import Link, Topology
    from dtls_emu.nic.effects import UnderlayAddress

    Intruder = Callable[[UnderlayAddress, UnderlayAddress, bytes], Iterable[bytes]]
    """Takes source, destination and payload of a datagram, and gives the payloads that are carried in its place."""


__all__ = ["SimulatedFabric"]

MAX_BURST_BYTES: Final = MAX_UDP_PAYLOAD
"""Most bytes that are handed in as one burst: the same as one receive of ``UDP_GRO``."""


class SimulatedFabric:
    """Carries datagrams between attached hosts.

    Fields that may be set at any time:
        on_drop: called for each drop, so that it can be charged to the traffic it belongs to.
        on_duplicate: called for each copy that a link made.

    Args:
        topology: every pair of its hosts has a link, as :meth:`Topology.link` says.
        clock: deliveries are its events.
        seed: of all impairments.
        merge: hand datagrams of one ``Transmit`` that arrive together to the card as one burst, as a
            ``UDP_GRO`` receive would; False hands in one at a time. Handshakes are never merged: their sizes
            vary from run to run, and so would the bursts.
    """

    def __init__(
        self,
        topology: Topology,
        clock: VirtualClock,
        seed: int,
        *,
        merge: bool = True,
    ) -> None:
        self.on_drop: DropObserver | None = None
        self.on_duplicate: DuplicateObserver | None = None
        self._topology = topology
        self._clock = clock
        self._seed = seed
        self._merge = merge
        self._receivers: dict[str, Receive] = {}
        self._taps: list[Observer] = []
        self._observer: Observer | None = None
        self._told = 0  # datagrams that whoever observes was told of
        self._intruder: Intruder | None = None
        self._strays = Ledger()
        self._by_address: dict[tuple[str, str], _Path] = {}
        self._by_name: dict[tuple[str, str], _Path] = {}

    def connect(self, source: str, destination: str, link: Link) -> None:
        """Lay one direction of a link between two underlay addresses.

        For what is no host of the topology, such as a gateway; links between hosts are there by themselves.

        Raises:
            LocalProtocolError: there is one already.
        """
        if self._path(source, destination) is not None:
            raise LocalProtocolError(f"{source} and {destination} are linked already; use reconfigure")
        self._lay(source, destination, link)

    def reconfigure(self, link: Link) -> None:
        """Change one direction of a link from now on. What is under way stays as it is.

        Raises:
            LocalProtocolError: there is no link between these two.
        """
        self._path_by_name(link.source, link.destination).direction.reconfigure(link)

    def update(self, topology: Topology) -> None:
        """Take the links of a changed lab from now on. What is under way stays as it is."""
        self._topology = topology
        for source, destination in self._by_address:
            near, far = topology.host_by_underlay(source), topology.host_by_underlay(destination)
            if near is not None and far is not None:
                self.reconfigure(topology.link(near.name, far.name))

    def attach(self, address: str, receive: Receive) -> None:
        """A host comes up: datagrams to ``address`` are handed to ``receive``. Replaces an earlier one."""
        self._receivers[address] = receive

    def detach(self, address: str) -> None:
        """A host goes down: datagrams that arrive from now on are dropped, ``no_link``. Idempotent."""
        self._receivers.pop(address, None)

    def tap(self, observer: Observer) -> Callable[[], None]:
        """Tell an observer of every datagram that is put on the wire, in order, and of what becomes of it there.

        Returns:
            a function that ends it.
        """

        def untap() -> None:
            self._taps.remove(observer)
            self._observer = fan_out(self._taps)

        self._taps.append(observer)
        self._observer = fan_out(self._taps)
        return untap

    def statistics(self) -> FabricStatistics:
        """The books of the whole fabric."""
        return total([self._strays, *(path.direction.ledger for path in self._by_address.values())])

    def settled_at(self) -> float:
        """When everything that is under way now has arrived, in seconds: as its delays, rates and queues have it."""
        moments = [
            path.held.timer.when_ns if path.held is not None else path.direction.settled_at_ns
            for path in self._by_address.values()
        ]
        return max(moments, default=0) / NANOSECONDS

    def link_statistics(self, source: str, destination: str) -> FabricStatistics:
        """The books of one direction of a link, by the names of its ends.

        Raises:
            LocalProtocolError: there is no link between these two.
        """
        return total([self._path_by_name(source, destination).direction.ledger])

    def intrude(self, intruder: Intruder | None) -> None:
        """Have somebody sit on every link: what he gives back is carried instead of a datagram; None: nobody does.

        What he swallows or adds is in nobody's accounts.
        """
        self._intruder = intruder

    def links(self) -> Iterator[tuple[Link, FabricStatistics]]:
        """Each direction that was used, or reconfigured, as it is now, and its counters."""
        for path in self._by_address.values():
            yield path.direction.link, total([path.direction.ledger])

    def transmit(self, host: str, effect: Transmit) -> None:
        """Put the datagrams of an effect on the wire, from the host at underlay address ``host``.

        The burst is copied; the caller may use its buffer again.
        """
        if self._intruder is not None:
            source = (host, effect.source_port)
            for row in effect.burst.rows():
                for payload in self._intruder(source, effect.destination, row.tobytes()):
                    burst = Burst.from_packets([payload], mark=effect.burst.mark)
                    burst.tos = effect.burst.tos
                    self._carry(host, Transmit(burst, effect.source_port, effect.destination))
            return
        self._carry(host, effect)

    def _carry(self, host: str, effect: Transmit) -> None:
        burst = effect.burst
        flow = _Flow((host, effect.source_port), effect.destination, burst.mark, burst.tos)
        path = self._path(host, effect.destination[0])
        if path is None:
            self._strays.offered += burst.count
            if self._observer is not None:
                self._tell(self._observer, flow, burst.rows(), Fate(DropReason.NO_LINK))
            self._drop(self._strays, DropReason.NO_LINK, burst.count, burst.mark)
            return
        path.direction.ledger.offered += burst.count
        if self._travels_whole(path, burst):
            self._carry_whole(path, flow, burst)
        else:
            self._carry_each(path, flow, burst)

    def _travels_whole(self, path: _Path, burst: Burst) -> bool:
        return (
            path.held is None
            and path.direction.transparent
            and path.direction.fits(burst.size)
            and (burst.count == 1 or (self._merge and not is_handshake(burst.buffer[burst.offset])))
            and burst.count <= MAX_ROWS
            and burst.nbytes <= MAX_BURST_BYTES
        )

    def _carry_whole(self, path: _Path, flow: _Flow, burst: Burst) -> None:
        arrival_ns = path.direction.arrival(self._clock.now_ns)
        if self._observer is not None:
            self._tell(self._observer, flow, burst.rows(), Fate(arrival_ns=arrival_ns))
        path.direction.ledger.in_flight += burst.count
        self._send(path, flow, arrival_ns, burst.wire.copy(), burst.size)

    def _carry_each(self, path: _Path, flow: _Flow, burst: Burst) -> None:
        now_ns = self._clock.now_ns
        train = _Train()
        for row in burst.rows():
            handshake = is_handshake(row[0])
            fate = path.direction.judge(len(row), now_ns, handshake=handshake, tos=flow.tos)
            if self._observer is not None:
                self._tell(self._observer, flow, (row,), fate)
            if fate.dropped is not None:
                self._drop(path.direction.ledger, fate.dropped, 1, flow.mark)
                continue
            arriving, copies = self._impair(path.direction.ledger, flow, row, fate)
            carried = flow._replace(tos=flow.tos | CE) if fate.marked else flow
            if fate.reordered and path.held is None:
                self._hold(path, carried, arriving, fate.arrival_ns, copies)
                continue
            for _ in range(copies):
                is_apart = handshake or not self._merge or carried.tos != train.tos
                if is_apart or not train.takes(arriving, fate.arrival_ns):
                    self._depart(path, flow, train)
                    train = _Train(fate.arrival_ns, carried.tos)
                train.rows.append(arriving)
            if path.held is not None and fate.arrival_ns <= path.held.timer.when_ns:
                self._depart(path, flow, train)
                train = _Train()
                self._let_go(path, fate.arrival_ns)
        self._depart(path, flow, train)

    def _impair(
        self, ledger: Ledger, flow: _Flow, row: NDArray[np.uint8], fate: Fate
    ) -> tuple[NDArray[np.uint8], int]:
        """Enter what the link does to a datagram that it carries. Returns it as it arrives, and how often."""
        copies = 1
        if fate.duplicated:
            copies = 2
            ledger.duplicated += 1
            if self.on_duplicate is not None:
                self.on_duplicate(1, flow.mark)
        if fate.flipped_bit >= 0:
            ledger.corrupted += 1
            row = _with_flipped_bit(row, fate.flipped_bit)
        ledger.marked += fate.marked
        ledger.in_flight += copies
        return row, copies

    def _hold(self, path: _Path, flow: _Flow, row: NDArray[np.uint8], arrival_ns: int, copies: int) -> None:
        """Keep a datagram aside until the next one has passed it, or the hold is over."""
        path.direction.ledger.reordered += 1
        timer = self._clock.call_at_ns(
            arrival_ns + REORDER_HOLD, lambda: self._let_go(path, self._clock.now_ns)
        )
        path.held = _Held(flow, row.copy(), copies, timer)

    def _let_go(self, path: _Path, arrival_ns: int) -> None:
        held, path.held = path.held, None
        assert held is not None, "a timer that was not cancelled has its datagram"
        held.timer.cancel()
        for _ in range(held.copies):
            self._send(path, held.flow, arrival_ns, held.row.copy(), len(held.row))

    def _depart(self, path: _Path, flow: _Flow, train: _Train) -> None:
        if train.rows:
            own = flow._replace(tos=train.tos)
            self._send(path, own, train.arrival_ns, np.concatenate(train.rows), len(train.rows[0]))

    def _send(self, path: _Path, flow: _Flow, arrival_ns: int, wire: NDArray[np.uint8], size: int) -> None:
        burst = Burst.from_datagrams(wire, size, flow.mark, flow.tos)
        self._clock.call_at_ns(arrival_ns, partial(self._deliver, path.direction.ledger, flow, burst))

    def _deliver(self, ledger: Ledger, flow: _Flow, burst: Burst) -> None:
        ledger.in_flight -= burst.count
        address, port = flow.destination
        receive = self._receivers.get(address)
        if receive is None:
            if self._observer is not None:
                name, mark, packet = self._name_of(address), mark_of(flow.mark), packet_of(flow.mark)
                lost = Lost(self._clock.now, name, mark, packet, 0, DropReason.NO_LINK, burst.count)
                self._observer(lost)
            self._drop(ledger, DropReason.NO_LINK, burst.count, flow.mark)
            return
        ledger.delivered += burst.count
        receive(burst, flow.source, port, self._clock.now)

    def _drop(self, ledger: Ledger, reason: DropReason, count: int, mark: int) -> None:
        ledger.dropped[reason] += count
        if self.on_drop is not None:
            self.on_drop(reason, count, mark)

    def _tell(self, observer: Observer, flow: _Flow, rows: Iterable[NDArray[np.uint8]], fate: Fate) -> None:
        """Tell an observer that datagrams are put on the wire, and what their link does to each."""
        where = self._clock.now, self._name_of(flow.source[0]), mark_of(flow.mark), packet_of(flow.mark)
        arrival = fate.arrival_ns if fate.dropped is None else -1
        for row in rows:
            self._told += 1
            payload = row.tobytes() if observer.wants_bytes else b""
            ends = flow.source, flow.destination
            observer(Sent(*where, self._told, *ends, len(row), flow.tos, arrival, payload))
            if fate.dropped is not None:
                observer(Lost(*where, self._told, fate.dropped))
            if fate.reordered:
                observer(Reordered(*where, self._told))
            if fate.duplicated:
                observer(Duplicated(*where, self._told))
            if fate.marked:
                observer(Marked(*where, self._told))
            if fate.flipped_bit >= 0:
                observer(Damaged(*where, self._told, fate.flipped_bit))

    def _name_of(self, address: str) -> str:
        host = self._topology.host_by_underlay(address)
        return "" if host is None else host.name

    def _path(self, source: str, destination: str) -> _Path | None:
        path = self._by_address.get((source, destination))
        if path is not None:
            return path
        near = self._topology.host_by_underlay(source)
        far = self._topology.host_by_underlay(destination)
        if near is None or far is None:
            return None
        return self._lay(source, destination, self._topology.link(near.name, far.name))

    def _path_by_name(self, source: str, destination: str) -> _Path:
        path = self._by_name.get((source, destination))
        if path is None:
            near, far = self._topology.hosts.get(source), self._topology.hosts.get(destination)
            path = None if near is None or far is None else self._path(near.underlay, far.underlay)
        if path is None:
            raise LocalProtocolError(f"no link from {source} to {destination}")
        return path

    def _lay(self, source: str, destination: str, link: Link) -> _Path:
        version = ipaddress.ip_address(source).version
        queue_limit = self._topology.profile.link_queue
        path = _Path(Direction(link, self._seed, underlay_version=version, queue_limit=queue_limit))
        self._by_address[source, destination] = self._by_name[link.source, link.destination] = path
        return path


class _Flow(NamedTuple):
    """Between whom a datagram goes, whose it is, and its type of service."""

    source: UnderlayAddress
    destination: UnderlayAddress
    mark: int
    tos: int


class _Held(NamedTuple):
    """A datagram that waits to be overtaken."""

    flow: _Flow
    row: NDArray[np.uint8]
    copies: int
    timer: Timer


class _Path:
    """One direction, and the datagram that waits at its end to be overtaken."""

    __slots__ = ("direction", "held")

    def __init__(self, direction: Direction) -> None:
        self.direction = direction
        self.held: _Held | None = None


class _Train:
    """Rows of one ``Transmit`` that arrive together, with one type of service, and have the shape of a burst."""

    __slots__ = ("arrival_ns", "rows", "tos")

    def __init__(self, arrival_ns: int = -1, tos: int = 0) -> None:
        self.arrival_ns = arrival_ns
        self.tos = tos
        self.rows: list[NDArray[np.uint8]] = []

    def takes(self, row: NDArray[np.uint8], arrival_ns: int) -> bool:
        """Whether a row can follow: same time, not longer, only the last one shorter, within the limits."""
        rows = self.rows
        if not rows or arrival_ns != self.arrival_ns or len(rows) == MAX_ROWS:
            return False
        size = len(rows[0])
        return len(rows[-1]) == size >= len(row) and (len(rows) + 1) * size <= MAX_BURST_BYTES


def _with_flipped_bit(row: NDArray[np.uint8], bit: int) -> NDArray[np.uint8]:
    flipped = row.copy()
    flipped[bit // 8] ^= 1 << (bit % 8)
    return flipped
