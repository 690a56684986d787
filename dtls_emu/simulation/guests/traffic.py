"""The traffic of a lab, carried out on the virtual clock: one executor for each item.

Payloads look random and depend on the run's seed and the item's name only, so that a search for them on the
fabric means something, and a run is the same every time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from random import Random
from typing import TYPE_CHECKING, Final

from dtls_emu.capture.rewriting import rewrite
from dtls_emu.lab.pcap import read_pcap
from dtls_emu.lab.traffic import Bulk, Fragments, Pcap, Ping, UdpStream
from dtls_emu.simulation.accounts import AccountingError, forward_mark, reverse_of
from dtls_emu.simulation.guests.tcp import Payload, TcpFlow, TcpSender
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.overhead import IPV4_HEADER, IPV6_HEADER, UDP_HEADER
from dtls_emu.wire.packet import fragments, icmp_echo, udp_packet


if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    from dtls_emu.lab.traffic import Traffic
    from dtls_emu.simulation.cloud import Cloud
    from dtls_emu.simulation.guests.guest import Guest
    from dtls_emu.simulation.guests.tcp import TcpReceiver

    Address = IPv4Address | IPv6Address


__all__ = ["BulkExecutor", "Executor", "PingExecutor", "make_executor"]

ECHO_HEADER: Final = 8  # RFC 792, RFC 4443 4.1
FRAGMENT_PORTS: Final = (40_000, 5201)
"""Of the UDP datagrams that fragments are cut from: the defaults of a UDP stream."""

LONGEST_DATAGRAM: Final = 65_000
"""Of those datagrams, in bytes of payload: below the limit of both IP versions."""


def make_executor(cloud: Cloud, item: Traffic, index: int) -> Executor:
    """The executor of the traffic item at ``index`` of the lab.

    Raises:
        LabFileError: the item clashes with another one.
    """
    mark = forward_mark(index)
    match item:
        case Ping():
            return PingExecutor(cloud, item, mark)
        case UdpStream():
            return UdpExecutor(cloud, item, mark)
        case Bulk():
            return BulkExecutor(cloud, item, mark)
        case Pcap():
            return PcapExecutor(cloud, item, mark)
        case Fragments():
            return FragmentsExecutor(cloud, item, mark)


class Executor(ABC):
    """One traffic item.

    Fields:
        item: as the lab says.
        mark: of its packets.
        round_trips: measured so far, in seconds, in the order of the requests' answers.
        note: what a report should add, or "".
        stopped: it was stopped before it was done.
        ended_at: when the last packet was sent or, for a transfer, acknowledged; in seconds, or None.
    """

    def __init__(self, cloud: Cloud, item: Traffic, mark: int) -> None:
        self.item = item
        self.mark = mark
        self.round_trips: list[float] = []
        self.note = ""
        self.stopped = False
        self._cloud = cloud

    @property
    @abstractmethod
    def ended_at(self) -> float | None:
        """See the class."""

    @property
    @abstractmethod
    def progress(self) -> float:
        """How much of it is done, 0 to 1."""

    @abstractmethod
    def start(self) -> None:
        """Begin, unless it was stopped before. The clock stands at the item's start."""

    @abstractmethod
    def stop(self, reason: str) -> None:
        """Send nothing more; ``reason`` becomes the note of an item that was not done."""

    def path_mtu(self) -> int | None:
        """The smallest path MTU that a guest learnt from the item's packets, or from answers to them, in bytes."""
        guests = self._cloud.guests.values()
        learnt = [
            guest.path_mtus.get(mark) for guest in guests for mark in (self.mark, reverse_of(self.mark))
        ]
        return min((mtu for mtu in learnt if mtu is not None), default=None)

    def _random(self) -> Random:
        return Random(f"{self._cloud.topology.seed}|{self.item.name}")


class _Paced(Executor):
    """Packets at known times.

    Args:
        cloud: where.
        item: what.
        mark: of its packets.
        count: number of packets.
    """

    def __init__(self, cloud: Cloud, item: Traffic, mark: int, *, count: int) -> None:
        super().__init__(cloud, item, mark)
        self._count = count
        self._sent = 0
        self._ended_at: float | None = None

    @property
    def ended_at(self) -> float | None:
        return self._ended_at

    @property
    def progress(self) -> float:
        return self._sent / self._count

    def start(self) -> None:
        if self._ended_at is not None:
            return
        index = self._sent
        self._sent += 1
        vm, packet = self._packet(index)
        # Before the packet is sent, which may come back at once: the time belongs to the next one.
        if self._sent == self._count:
            self._ended_at = self._cloud.clock.now
        else:
            self._cloud.clock.call_at(self.item.start + self._time(self._sent), self.start)
        self._cloud.send(vm, [Burst.from_packets([packet], mark=self.mark)])

    def stop(self, reason: str) -> None:
        if self._ended_at is None:
            self._ended_at = self._cloud.clock.now
            self.stopped = True
            self.note = f"{reason}: {self._sent} of {self._count} packets were sent"

    @abstractmethod
    def _packet(self, index: int) -> tuple[str, bytes]:
        """The VM that sends it, and the packet."""

    @abstractmethod
    def _time(self, index: int) -> float:
        """When it is sent, in seconds after the start."""


class PingExecutor(_Paced):
    """Echo requests."""

    def __init__(self, cloud: Cloud, item: Ping, mark: int) -> None:
        super().__init__(cloud, item, mark, count=item.count)
        self._ping = item
        self._source, self._destination = _addresses(cloud, item, item.ip_version)
        self._bytes = self._random()
        self._pending: dict[int, float] = {}
        self._identifier = mark // 2 & 0xFFFF
        cloud.guests[item.source].await_replies(self._identifier, self._on_reply)

    def _packet(self, index: int) -> tuple[str, bytes]:
        sequence = (index + 1) & 0xFFFF
        self._pending[sequence] = self._cloud.clock.now
        payload = self._bytes.randbytes(self._ping.size - _ip_header(self._source) - ECHO_HEADER)
        return self._ping.source, icmp_echo(
            self._source,
            self._destination,
            self._identifier,
            sequence,
            payload,
            df=self._ping.df,
            identification=sequence,
        )

    def _time(self, index: int) -> float:
        return index * self._ping.interval

    def _on_reply(self, sequence: int, now: float) -> None:
        sent_at = self._pending.pop(sequence, None)
        if sent_at is not None:  # else it is the copy that a link made
            self.round_trips.append(now - sent_at)


class UdpExecutor(_Paced):
    """A UDP stream."""

    def __init__(self, cloud: Cloud, item: UdpStream, mark: int) -> None:
        super().__init__(cloud, item, mark, count=item.count)
        self._stream = item
        self._source, self._destination = _addresses(cloud, item, item.ip_version)
        self._bytes = self._random()

    def _packet(self, index: int) -> tuple[str, bytes]:
        item = self._stream
        return item.source, udp_packet(
            self._source,
            self._destination,
            item.source_port + index % item.flows,
            item.destination_port,
            self._bytes.randbytes(item.size - _ip_header(self._source) - UDP_HEADER),
            df=item.df,
            identification=(index + 1) & 0xFFFF,
        )

    def _time(self, index: int) -> float:
        return index * self._stream.spacing


class FragmentsExecutor(_Paced):
    """Fragments of the shapes that are named, in turn."""

    def __init__(self, cloud: Cloud, item: Fragments, mark: int) -> None:
        super().__init__(cloud, item, mark, count=item.count * len(item.shapes))
        self._fragments = item
        self._bytes = self._random()

    def _packet(self, index: int) -> tuple[str, bytes]:
        item = self._fragments
        shape = item.shapes[index % len(item.shapes)]
        source, destination = _addresses(self._cloud, item, int(shape[1]))
        payload = self._bytes.randbytes(min(3 * item.size, LONGEST_DATAGRAM))
        whole = udp_packet(source, destination, *FRAGMENT_PORTS, payload)
        return item.source, fragments(whole, (shape,), size=item.size)[0]

    def _time(self, index: int) -> float:
        return index * self._fragments.interval


class PcapExecutor(_Paced):
    """The packets of a capture, both sides of each conversation taken from it."""

    def __init__(self, cloud: Cloud, item: Pcap, mark: int) -> None:
        vms = cloud.topology.vms
        other = None if item.destination is None else vms[item.destination]
        self._packets = rewrite(read_pcap(item.file), vms[item.source], other)
        super().__init__(cloud, item, mark, count=len(self._packets))
        if item.rewrite == "addresses":
            cloud.onlookers.add(mark)

    def _packet(self, index: int) -> tuple[str, bytes]:
        packet = self._packets[index]
        return packet.sender, packet.data

    def _time(self, index: int) -> float:
        return self._packets[index].time


class BulkExecutor(Executor):
    """A bulk transfer.

    Fields:
        sender: of the connection.
    """

    def __init__(self, cloud: Cloud, item: Bulk, mark: int) -> None:
        super().__init__(cloud, item, mark)
        self._bulk = item
        flow = TcpFlow(*_addresses(cloud, item, item.ip_version), item.source_port, item.destination_port)
        self._payload = Payload(f"{cloud.topology.seed}|{item.name}")
        mss = cloud.topology.vms[item.source].mtu - flow.headers if item.mss is None else item.mss
        self.sender = TcpSender(flow, self._payload, item.size, mss=mss, mark=mark)
        self.round_trips = self.sender.round_trips
        cloud.guests[item.source].senders[flow] = self.sender
        self._listener = _listener(cloud, item.source, flow.destination)
        self._listener.listening.add(flow.destination_port)

    @property
    def ended_at(self) -> float | None:
        return self.sender.ended_at

    @property
    def progress(self) -> float:
        return 1.0 if self.ended_at is not None else self.sender.acknowledged / self._bulk.size

    @property
    def receiver(self) -> TcpReceiver | None:
        """The other end, once the connection is open there."""
        return self._listener.receivers.get(self.sender.flow.reversed)

    @property
    def received(self) -> int:
        """Bytes of payload that arrived without a gap."""
        return 0 if self.receiver is None else self.receiver.received

    def start(self) -> None:
        if self.ended_at is not None:
            return
        self._cloud.send(self._bulk.source, self.sender.open(self._cloud.clock.now))

    def stop(self, reason: str) -> None:
        if self.ended_at is None:
            self.stopped = True
            acknowledged = f"{self.sender.acknowledged:,} of {self._bulk.size:,} bytes were acknowledged"
            self.sender.stop(f"{reason}: {acknowledged}", self._cloud.clock.now)

    def check(self) -> None:
        """Fail loudly unless what arrived is what was sent.

        Raises:
            AccountingError: it was altered on its way.
        """
        self.note = self.note or self.sender.failure
        if self.receiver is not None and self.receiver.digest() != self._payload.digest(self.received):
            raise AccountingError(f"{self.item.name}: the bytes that arrived are not those that were sent")


def _addresses(
    cloud: Cloud, item: Ping | UdpStream | Bulk | Fragments, version: int
) -> tuple[Address, Address]:
    """Of source and destination; a destination that is an address brings its own IP version."""
    vms = cloud.topology.vms
    destination = item.destination
    if isinstance(destination, str):
        far = vms[destination].address(version)
    else:
        far, version = destination, destination.version
    near = vms[item.source].address(version)
    assert near is not None, "the lab's checks saw to the addresses"
    assert far is not None, "the lab's checks saw to the addresses"
    return near, far


def _listener(cloud: Cloud, source: str, destination: Address) -> Guest:
    """Whoever has an address: a VM that the source can reach, or the internet."""
    vm, _ = cloud.topology.destination(cloud.topology.vms[source], destination)
    return cloud.internet if vm is None else cloud.guests[vm.name]


def _ip_header(address: Address) -> int:
    return IPV4_HEADER if address.version == 4 else IPV6_HEADER
