"""One card with a tunnel to each of many others, all in one process, on a wire without delay: the bench for numbers.

Host 0 is the hub, hosts 1 to n its peers; each has one VM. Packets between them take the whole way of the memory path,
and what each end takes of the CPU is told apart: how many tunnels a card has is a matter of the hub alone.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, ip_network
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from dtls_emu.assembly.cards import make_card
from dtls_emu.crypto.authority import RegionAuthority
from dtls_emu.crypto.registry import AUTO, resolve
from dtls_emu.errors import DtlsEmuError
from dtls_emu.lab.profiles import PROFILES
from dtls_emu.lab.topology import Host, Link, Network, Topology, Vm
from dtls_emu.nic.card import Engine
from dtls_emu.nic.effects import Deliver, Driver, Transmit, carry_out
from dtls_emu.vocabulary import Enforcement
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.checksum import internet_checksum
from dtls_emu.wire.packet import udp_packet


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dtls_emu.nic.card import Card
    from dtls_emu.nic.effects import Effect


__all__ = ["HUB", "Hub", "Leg", "Stream"]

HUB: Final = 0
"""Number of the hub's host."""

MAX_PEERS: Final = 65_000
"""As many as the addresses of the bench are for."""

_REGION: Final = "bench"
_NETWORK: Final = "all"
_VNI: Final = 7000
_UNDERLAYS: Final = int(IPv4Address("10.128.0.1"))
_GUESTS: Final = int(IPv4Address("10.0.0.4"))
_MTU: Final = 9_000
_HEADERS: Final = 28
"""Bytes of an IPv4 and a UDP header."""


class Leg(NamedTuple):
    """What it took to get one burst from VM to VM.

    Fields:
        sender_ns, receiver_ns: CPU time of both cards, in nanoseconds.
        delivered: packets that the other VM was handed.
    """

    sender_ns: int
    receiver_ns: int
    delivered: int


class Stream:
    """A burst of UDP packets that is given addresses and ports anew before each use: no memory for each flow.

    The packets are alike, their DF flag is set, and UDP has no checksum (RFC 768), so only the header of IP is to be
    summed up again.

    Fields:
        burst: the packets.

    Args:
        packets: how many.
        size: of each, in bytes of IP packet.
    """

    def __init__(self, packets: int, size: int) -> None:
        nowhere = IPv4Address(0)
        self.burst = Burst.from_packets(
            [udp_packet(nowhere, nowhere, 0, 0, bytes(size - _HEADERS))] * packets
        )
        rows = self.burst.buffer.reshape(packets, self.burst.stride)[:, self.burst.offset :]
        self._rows = rows
        rows[:, 26:28] = 0

    def address(self, source: int, destination: int, source_port: int = 40_000, port: int = 9) -> Burst:
        """The burst, now between these hosts' VMs and ports."""
        header = self._rows[0]
        header[10:12] = 0
        header[12:20] = np.frombuffer(
            (_GUESTS + source).to_bytes(4, "big") + (_GUESTS + destination).to_bytes(4, "big"), np.uint8
        )
        header[20:24] = np.frombuffer((source_port << 16 | port).to_bytes(4, "big"), np.uint8)
        sum_ = internet_checksum(memoryview(header[:20]))
        header[10:12] = sum_ >> 8, sum_ & 0xFF
        self._rows[1:, :24] = header[:24]
        return self.burst


class Hub:
    """The cards, and what is under way between them.

    Fields:
        cards: by number of their host.

    Args:
        peers: how many hosts there are besides the hub.
        encrypted: whether their network is; in clear there are no tunnels.
        backend: seals and opens on every card.

    Raises:
        DtlsEmuError: more peers than the bench has addresses for.
        BackendUnavailableError: the backend cannot work here.
    """

    def __init__(self, peers: int, *, encrypted: bool = True, backend: str = AUTO) -> None:
        if not 1 <= peers <= MAX_PEERS:
            raise DtlsEmuError(f"a card has 1 to {MAX_PEERS} peers here, not {peers}")
        numbers = range(peers + 1)
        hosts = [_host(number) for number in numbers]
        vms = [_vm(number) for number in numbers]
        now = datetime.now(UTC)
        authority = RegionAuthority.create(_REGION, now)
        choice = resolve(backend)
        engine = Engine(choice.backend, choice.reason)
        network = Network(
            _NETWORK,
            _VNI,
            (ip_network("10.0.0.0/9"),),
            encrypted,
            Enforcement.DROP_UNENCRYPTED if encrypted else Enforcement.ALLOW_UNENCRYPTED,
            frozenset(),
        )

        def topology(seen: Sequence[int]) -> Topology:
            """A peer knows itself and the hub only, or the bench would be quadratic."""
            return Topology(
                name="hub",
                profile=replace(PROFILES["current"], flow_table=4_000_000),
                seed=1,
                networks=[network],
                hosts=[hosts[number] for number in seen],
                vms=[vms[number] for number in seen],
                links=[],
                default_link=Link("", "", mtu=_MTU, delay=0.0),
            )

        started = time.monotonic()
        self.cards: list[Card] = [
            make_card(
                topology(numbers if number == HUB else [HUB, number]),
                hosts[number].name,
                authority.issue(hosts[number].name, now),
                {_REGION: authority.certificate},
                engine=engine,
                wall_start=now - timedelta(seconds=started),
            )
            for number in numbers
        ]
        self._vms = [vm.name for vm in vms]
        self._underlays = [host.underlay for host in hosts]
        self._numbers = {host.underlay: number for number, host in enumerate(hosts)}

    @property
    def peers(self) -> range:
        """Numbers of the hosts around the hub."""
        return range(1, len(self.cards))

    def connect(self, peer: int) -> None:
        """Have one packet go to a peer's VM, and carry what that leads to.

        Raises:
            DtlsEmuError: it did not arrive, with the card's reason.
        """
        now = time.monotonic()
        shuttle = _Shuttle()
        burst = Stream(1, 64).address(HUB, peer)
        shuttle.take(HUB, self.cards[HUB].from_guest(self._vms[HUB], burst, now))
        while shuttle.under_way:
            sender, effect = shuttle.under_way.popleft()
            address, port = effect.destination
            receiver = self._numbers[address]
            source = self._underlays[sender], effect.source_port
            shuttle.take(receiver, self.cards[receiver].from_fabric(effect.burst, source, port, now))
        if not shuttle.delivered:
            tunnel = self.cards[HUB].tunnels.made(self.cards[peer].host)
            raise DtlsEmuError(
                f"the first packet to peer {peer} did not arrive: {tunnel.failure if tunnel else 'no tunnel'}"
            )

    def pass_on(self, sender: int, receiver: int, burst: Burst, now: float) -> Leg:
        """Have one VM send a burst to another over a tunnel that is up.

        Args:
            sender, receiver: numbers of their hosts.
            burst: the packets; they are not changed.
            now: seconds.
        """
        read_ns = time.thread_time_ns
        vm, card = self._vms[sender], self.cards[receiver]
        started = read_ns()
        effects = self.cards[sender].from_guest(vm, burst, now)
        sender_ns = read_ns() - started
        delivered = receiver_ns = 0
        for effect in effects:
            if isinstance(effect, Transmit):
                source = self._underlays[sender], effect.source_port
                started = read_ns()
                arrived = card.from_fabric(effect.burst, source, effect.destination[1], now)
                receiver_ns += read_ns() - started
                delivered += sum(each.burst.count for each in arrived if isinstance(each, Deliver))
        return Leg(sender_ns, receiver_ns, delivered)


class _Shuttle(Driver):
    """Keeps what cards send, copied, and counts what they deliver.

    Fields:
        under_way: datagrams, each with the number of the host that they come from.
        delivered: packets.
    """

    def __init__(self) -> None:
        self.under_way: deque[tuple[int, Transmit]] = deque()
        self.delivered = 0
        self._sender = 0

    def take(self, sender: int, effects: Iterable[Effect]) -> None:
        """What a card asks for."""
        self._sender = sender
        carry_out(effects, self)

    def transmit(self, effect: Transmit) -> None:
        burst = Burst.from_packets([bytes(row) for row in effect.burst.rows()])
        self.under_way.append((self._sender, Transmit(burst, effect.source_port, effect.destination)))

    def deliver(self, effect: Deliver) -> None:
        self.delivered += effect.burst.count


def _host(number: int) -> Host:
    name = "hub" if number == HUB else f"peer-{number}"
    return Host(name, str(IPv4Address(_UNDERLAYS + number)), _REGION, AUTO, smartnic_present=True)


def _vm(number: int) -> Vm:
    name = _host(number).name
    return Vm(
        name,
        name,
        _NETWORK,
        (IPv4Address(_GUESTS + number),),
        b"\x02\0" + number.to_bytes(4, "big"),
        "Standard_D4s_v5",
        size_capable=True,
        accelerated_networking=True,
        restarted=True,
        flow_table_ready=True,
        discovery=True,
        mtu=8_900,
    )
