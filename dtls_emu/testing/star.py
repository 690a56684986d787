"""One host with a tunnel to each of many others, on a wire without delay: the bench for numbers of tunnels.

Hosts are ``hub``, ``spoke-1``, ``spoke-2`` ...; each has one VM of the same name::

    star = Star(1000)
    for name in star.spokes:
        star.talk("hub", name)
    assert star.delivered["spoke-1000"] == 1
"""

from __future__ import annotations

from collections import Counter, deque
from datetime import UTC, datetime
from ipaddress import IPv4Address, ip_network
from typing import TYPE_CHECKING, Final

from dtls_emu.assembly.cards import choose_engine, make_card
from dtls_emu.crypto.authority import RegionAuthority
from dtls_emu.lab.profiles import PROFILES
from dtls_emu.lab.topology import Host, Link, Network, Topology, Vm
from dtls_emu.nic.effects import Driver, carry_out
from dtls_emu.testing.waiting import rounds
from dtls_emu.vocabulary import Enforcement
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.packet import udp_packet


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dtls_emu.nic.effects import Deliver, Effect, Transmit
    from dtls_emu.tunnel.settings import TunnelSettings


__all__ = ["HUB", "Star"]

_Sent = tuple[str, int, str, int, Burst]
"""Host and port that datagrams come from, address and port that they go to."""

HUB: Final = "hub"
_REGION: Final = "star"
_UNDERLAY: Final = int(IPv4Address("10.128.0.1"))
_GUESTS: Final = int(IPv4Address("10.0.0.4"))


class Star:
    """A hub and its spokes. The hub's card knows all hosts, a spoke's only itself and the hub.

    Fields:
        spokes: names of the hosts around the hub.
        cards: by host.
        now: the time that cards are told, in seconds.
        delivered: packets that each VM was handed.
    """

    def __init__(self, spokes: int, *, backend: str = "auto", settings: TunnelSettings | None = None) -> None:
        """
        Args:
            spokes: how many, at most 65,000.
            backend: seals and opens on every card.
            settings: tunnels' knobs.
        """
        names = [HUB, *(f"spoke-{number}" for number in range(1, spokes + 1))]
        self.spokes = tuple(names[1:])
        self.now = 0.0
        self.delivered: Counter[str] = Counter()
        self._vms = {name: _vm(name, number) for number, name in enumerate(names)}
        self._hosts = {name: _host(name, number) for number, name in enumerate(names)}
        self._by_address = {host.underlay: name for name, host in self._hosts.items()}
        self._under_way: deque[_Sent] = deque()
        self._texts = 0
        engine = choose_engine(backend)
        wall_start = datetime.now(UTC)
        authority = RegionAuthority.create(_REGION, wall_start)
        self.cards = {
            name: make_card(
                self._topology(names if name == HUB else [HUB, name]),
                name,
                authority.issue(name, wall_start),
                {_REGION: authority.certificate},
                engine=engine,
                wall_start=wall_start,
                settings=settings,
            )
            for name in names
        }

    def talk(self, source: str, destination: str, packets: int = 1, size: int = 100) -> None:
        """Send a burst of packets from one VM to another."""
        self._texts += 1
        text = b"%d" % self._texts
        ends = self._vms[source].addresses[0], self._vms[destination].addresses[0]
        packet = udp_packet(*ends, 40_000, 9, text.ljust(size - 28))
        self.send(source, Burst.from_packets([packet] * packets))

    def send(self, vm: str, burst: Burst) -> None:
        """Have a VM send, and carry everything that follows from it."""
        self.pass_on(vm, self.cards[vm].from_guest(vm, burst, self.now))
        self._deliver_all()

    def inject(self, host: str, source: tuple[str, int], port: int, datagram: bytes) -> None:
        """A datagram from nowhere arrives at a host; its answers go where they are sent."""
        burst = Burst.from_packets([datagram])
        self.pass_on(host, self.cards[host].from_fabric(burst, source, port, self.now))
        self._deliver_all()

    def carry_out(self, host: str, effects: Sequence[Effect]) -> None:
        """Do what a card asks for, and everything that follows from it."""
        self.pass_on(host, effects)
        self._deliver_all()

    def wait(self, until: float) -> None:
        """Let time pass; timers fire."""
        for _ in rounds(1_000_000, f"no timer is due before {until}"):
            moment = min(card.next_timeout() for card in self.cards.values())
            if moment > until:
                break
            self.now = max(self.now, moment)
            for name, card in self.cards.items():
                if card.next_timeout() <= self.now:
                    self.pass_on(name, card.handle_timeout(self.now))
            self._deliver_all()
        self.now = until

    def underlay(self, host: str) -> str:
        """Fabric address of a host."""
        return self._hosts[host].underlay

    def pass_on(self, host: str, effects: Iterable[Effect]) -> None:
        """Do what a card asks for; what it sends is under way then."""
        carry_out(effects, _HostDriver(host, self.delivered, self._under_way))

    def _deliver_all(self) -> None:
        while self._under_way:
            host, source_port, address, port, burst = self._under_way.popleft()
            peer = self._by_address.get(address)
            if peer is not None:
                source = self._hosts[host].underlay, source_port
                self.pass_on(peer, self.cards[peer].from_fabric(burst, source, port, self.now))

    def _topology(self, names: Sequence[str]) -> Topology:
        prefixes = (ip_network("10.0.0.0/9"),)
        return Topology(
            name="star",
            profile=PROFILES["current"],
            seed=1,
            networks=[Network("all", 7000, prefixes, True, Enforcement.DROP_UNENCRYPTED, frozenset())],
            hosts=[self._hosts[name] for name in names],
            vms=[self._vms[name] for name in names],
            links=[],
            default_link=Link("", "", mtu=9000, delay=0.0),
        )


class _HostDriver(Driver):
    """Counts what VMs of a host are handed, and keeps what it sends."""

    def __init__(self, host: str, delivered: Counter[str], under_way: deque[_Sent]) -> None:
        self._host = host
        self._delivered = delivered
        self._under_way = under_way

    def deliver(self, effect: Deliver) -> None:
        self._delivered[effect.vm] += effect.burst.packets

    def transmit(self, effect: Transmit) -> None:
        # Copied: the next call on the card uses the memory again.
        sent = effect.burst
        burst = Burst.from_datagrams(sent.wire.copy(), sent.size, tos=sent.tos)
        self._under_way.append((self._host, effect.source_port, *effect.destination, burst))


def _host(name: str, number: int) -> Host:
    return Host(name, str(IPv4Address(_UNDERLAY + number)), _REGION, "auto", smartnic_present=True)


def _vm(name: str, number: int) -> Vm:
    return Vm(
        name,
        name,
        "all",
        (IPv4Address(_GUESTS + number),),
        b"\x02\0" + number.to_bytes(4, "big"),
        "Standard_D4s_v5",
        size_capable=True,
        accelerated_networking=True,
        restarted=True,
        flow_table_ready=True,
        discovery=True,
        mtu=8900,
    )
