"""A small lab and the wire between its cards: the bench for everything about a card.

A :class:`Wire` carries datagrams from card to card without delay and remembers what passed::

    wire = Wire(make_topology())
    wire.send("a", packet)
    assert wire.delivered == {"b": [packet]}
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from dtls_emu.assembly.cards import build_cards
from dtls_emu.lab.profiles import PROFILES
from dtls_emu.lab.topology import Host, Link, Network, Topology, Vm
from dtls_emu.nic.effects import Driver, carry_out
from dtls_emu.testing.waiting import rounds
from dtls_emu.vocabulary import Enforcement
from dtls_emu.wire.burst import Burst


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from dtls_emu.nic.card import Engine
    from dtls_emu.nic.effects import (
        Deliver,
        Effect,
        LeaveFabric,
        RequestKeys,
        Transmit,
        UnderlayAddress,
    )
    from dtls_emu.tunnel.settings import TunnelSettings
    from dtls_emu.vocabulary import DropReason


__all__ = ["Wire", "make_topology"]


def make_topology(
    *,
    enforcement: Enforcement = Enforcement.ALLOW_UNENCRYPTED,
    encrypted: bool = True,
    mtu: int = 1650,
    vms: Mapping[str, Mapping[str, Any]] | None = None,
    **profile: Any,
) -> Topology:
    """Hosts h1 to h3 (10.255.0.1 to .3); VMs a and a2 on h1, b on h2, c on h3, in one virtual network.

    Args:
        enforcement, encrypted: of the network.
        mtu: of every link, in bytes of outer IP packet.
        vms: fields of VMs that differ, by VM name.
        profile: fields of the profile that differ.
    """
    hosts = [Host(f"h{n}", f"10.255.0.{n}", "test", "cryptography", smartnic_present=True) for n in (1, 2, 3)]
    network = Network(
        "prod",
        5001,
        (ip_network("10.0.0.0/16"), ip_network("fd00::/64")),
        encrypted,
        enforcement,
        frozenset(),
    )
    where = {"a": ("h1", 4), "a2": ("h1", 5), "b": ("h2", 6), "c": ("h3", 7)}
    machines = [
        Vm(
            name,
            host,
            "prod",
            (ip_address(f"10.0.0.{last}"), ip_address(f"fd00::{last}")),
            bytes((2, 0, 0, 0, 0, last)),
            "Standard_D4s_v5",
            size_capable=True,
            accelerated_networking=True,
            restarted=True,
            flow_table_ready=True,
            discovery=True,
            mtu=9000,
        )
        for name, (host, last) in where.items()
    ]
    machines = [replace(vm, **(vms or {}).get(vm.name, {})) for vm in machines]
    return Topology(
        name="test",
        profile=replace(PROFILES["current"], **profile),
        seed=1,
        networks=[network],
        hosts=hosts,
        vms=machines,
        links=[],
        default_link=Link("", "", mtu, delay=0.0),
    )


@dataclass
class Wire:
    """Cards joined by a wire without delay.

    Fields:
        topology: of the lab.
        engines, settings: as :func:`~dtls_emu.assembly.cards.build_cards` takes them.
        cut: while True, datagrams are lost.
        now: the time that cards are told, in seconds.
        cards: by host name.
        datagrams: what was on the wire: sending host, its port, destination, bytes.
        delivered: packets by VM; left: packets that left for the internet.
        drops: host, reason, count and mark of everything a card dropped.
        taken: hosts and UDP ports that other programs have: nothing is sent from there, and the card is told.
        services: type of service of each of `datagrams`.
        outer_tos: what the fabric makes of a type of service.
    """

    topology: Topology
    cut: bool = False
    engines: Mapping[str, Engine] | None = None
    settings: TunnelSettings | None = None
    now: float = 0.0
    datagrams: list[tuple[str, int, UnderlayAddress, bytes]] = field(default_factory=list)
    delivered: dict[str, list[bytes]] = field(default_factory=dict)
    left: list[bytes] = field(default_factory=list)
    drops: list[tuple[str, DropReason, int, int]] = field(default_factory=list)
    taken: set[tuple[str, int]] = field(default_factory=set)
    services: list[int] = field(default_factory=list)
    outer_tos: Callable[[int], int] = int

    def __post_init__(self) -> None:
        """Build the cards."""
        self.cards = build_cards(
            self.topology,
            engines=self.engines,
            settings=self.settings,
            on_drop=lambda *drop: self.drops.append(drop),
        )
        self._address = {host.name: host.underlay for host in self.topology.hosts.values()}

    def send(self, vm: str, *packets: bytes, mark: int = 0) -> None:
        """Let a VM send packets that have the shape of a burst."""
        self.hand_over(vm, Burst.from_packets(packets, mark=mark))

    def hand_over(self, vm: str, burst: Burst) -> None:
        """Let a VM send a burst."""
        host = self.topology.vms[vm].host
        self.carry_out(host, self.cards[host].from_guest(vm, burst, self.now))

    def inject(self, host: str, source: UnderlayAddress, local_port: int, datagram: bytes) -> None:
        """A datagram from nowhere arrives at a host."""
        burst = Burst.from_packets([datagram])
        self.carry_out(host, self.cards[host].from_fabric(burst, source, local_port, self.now))

    def carry_out(self, host: str, effects: Sequence[Effect]) -> None:
        """Do what a card asks for."""
        driver = _HostDriver(self, host)
        carry_out(effects, driver)
        for action in driver.actions:
            action()
        for port in driver.ports:
            if (host, port) in self.taken:
                self.carry_out(host, self.cards[host].port_unavailable(port, self.now))

    def wait(self, until: float) -> None:
        """Let time pass; timers fire."""
        for _ in rounds(1_000_000, f"no timer is due before {until}"):
            moment = min(card.next_timeout() for card in self.cards.values())
            if moment > until:
                break
            self.now = max(self.now, moment)
            for host, card in self.cards.items():
                if card.next_timeout() <= self.now:
                    self.carry_out(host, card.handle_timeout(self.now))
        self.now = until

    def assert_balanced(self) -> None:
        """Every packet and record is accounted for on every card."""
        for card in self.cards.values():
            assert card.balanced, (card.host, card.egress.counters, card.ingress.counters)

    def put(self, host: str, effect: Transmit, datagrams: list[bytes]) -> None:
        """Put datagrams on the wire, if their port is not another program's."""
        if (host, effect.source_port) not in self.taken:
            self.pass_on(host, effect, datagrams)

    def pass_on(self, host: str, effect: Transmit, datagrams: list[bytes]) -> None:
        """Put datagrams of a card on the wire, and hand them to the card at its other end."""
        address, port = effect.destination
        self.datagrams += [(host, effect.source_port, effect.destination, each) for each in datagrams]
        self.services += [effect.burst.tos] * len(datagrams)
        peer = self.topology.host_by_underlay(address)
        if self.cut or peer is None:
            return
        burst = Burst.from_packets(datagrams, mark=effect.burst.mark)
        burst.tos = self.outer_tos(effect.burst.tos)
        source = (self._address[host], effect.source_port)
        self.carry_out(peer.name, self.cards[peer.name].from_fabric(burst, source, port, self.now))


class _HostDriver(Driver):
    """Says what is to be done, with copies: the next call on the card uses the memory again.

    Fields:
        actions: in the order of the effects.
        ports: that the card wants to have, each once.
    """

    def __init__(self, wire: Wire, host: str) -> None:
        self.actions: list[Callable[[], object]] = []
        self.ports: dict[int, None] = {}
        self._wire = wire
        self._host = host

    def transmit(self, effect: Transmit) -> None:
        self.ports[effect.source_port] = None
        self.actions.append(partial(self._wire.put, self._host, effect, _packets(effect.burst)))

    def deliver(self, effect: Deliver) -> None:
        got = self._wire.delivered
        packets = _packets(effect.burst)
        self.actions.append(lambda: got.setdefault(effect.vm, []).extend(packets))

    def leave_fabric(self, effect: LeaveFabric) -> None:
        self.actions.append(partial(self._wire.left.extend, _packets(effect.burst)))

    def request_keys(self, effect: RequestKeys) -> None:
        self.ports[effect.port] = None


def _packets(burst: Burst) -> list[bytes]:
    return [row.tobytes() for row in burst.rows()]
