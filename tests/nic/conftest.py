"""A lab of three hosts for the card's tests, and the wire between its cards."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network

import pytest

from dtls_emu.host.cards import build_cards
from dtls_emu.lab.profiles import PROFILES
from dtls_emu.lab.topology import Host, Link, Network, Topology, Vm
from dtls_emu.lab.vocabulary import Enforcement
from dtls_emu.nic.effects import Deliver, LeaveFabric, Transmit
from dtls_emu.wire.burst import Burst


def make_topology(
    *, enforcement=Enforcement.ALLOW_UNENCRYPTED, encrypted=True, mtu=1650, vms=None, **profile
):
    """Hosts h1 to h3; VMs a (h1), a2 (h1), b (h2), c (h3) in one network, and a peered, unencrypted one."""
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
    link = Link("", "", mtu, delay=0.0, jitter=0.0, loss=0.0, reorder=0.0, duplicate=0.0, corrupt=0.0, rate=0)
    return Topology(
        name="test",
        profile=replace(PROFILES["current"], **profile),
        seed=1,
        networks=[network],
        hosts=hosts,
        vms=machines,
        links=[],
        default_link=link,
    )


@dataclass
class Wire:
    """Cards joined by a wire without delay; what happened on it."""

    topology: Topology
    cut: bool = False
    now: float = 0.0
    datagrams: list[tuple[str, int, tuple[str, int], bytes]] = field(default_factory=list)
    delivered: dict[str, list[bytes]] = field(default_factory=dict)
    left: list[bytes] = field(default_factory=list)
    drops: list[tuple[str, str, int, int]] = field(default_factory=list)

    def __post_init__(self):
        self.cards = build_cards(
            self.topology,
            on_drop=lambda host, reason, count, mark: self.drops.append((host, reason, count, mark)),
        )
        self._address = {host.name: host.underlay for host in self.topology.hosts.values()}
        self._host = {address: name for name, address in self._address.items()}

    def send(self, vm, *packets, mark=0):
        host = self.topology.vms[vm].host
        self.carry_out(
            host, self.cards[host].from_guest(vm, Burst.from_packets(packets, mark=mark), self.now)
        )

    def inject(self, host, source, local_port, datagram):
        card = self.cards[host]
        self.carry_out(host, card.from_fabric(Burst.from_packets([datagram]), source, local_port, self.now))

    def carry_out(self, host, effects):
        # Copied first: the next call on a card uses the memory again.
        actions = []
        for effect in effects:
            rows = [row.tobytes() for row in effect.burst.rows()] if hasattr(effect, "burst") else []
            actions.append((effect, rows, getattr(getattr(effect, "burst", None), "mark", 0)))
        for effect, rows, mark in actions:
            if isinstance(effect, Deliver):
                self.delivered.setdefault(effect.vm, []).extend(rows)
            elif isinstance(effect, LeaveFabric):
                self.left.extend(rows)
            elif isinstance(effect, Transmit):
                self.datagrams += [(host, effect.source_port, effect.destination, row) for row in rows]
                if self.cut:
                    continue
                peer = self._host[effect.destination[0]]
                source = (self._address[host], effect.source_port)
                burst = Burst.from_packets(rows, mark=mark)
                arrived = self.cards[peer].from_fabric(burst, source, effect.destination[1], self.now)
                self.carry_out(peer, arrived)

    def wait(self, until):
        """Let time pass; timers fire."""
        while True:
            moments = [
                (moment, host)
                for host, card in self.cards.items()
                if (moment := card.next_timeout()) is not None
            ]
            if not moments or min(moments)[0] > until:
                self.now = until
                return
            self.now, host = min(moments)
            self.carry_out(host, self.cards[host].handle_timeout(self.now))

    def assert_balanced(self):
        for card in self.cards.values():
            assert card.balanced, (card.host, card.egress.counters, card.ingress.counters)


@pytest.fixture
def make_wire():
    """Make cards on a wire, and check their books at the end of the test."""
    wires = []

    def make(**options):
        wires.append(Wire(make_topology(**options)))
        return wires[-1]

    yield make
    for wire in wires:
        wire.assert_balanced()
