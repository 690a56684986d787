"""Wires for the card's tests."""

from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest

from dtls_emu.assembly.cards import build_cards, choose_engine
from dtls_emu.host.loop.warming import warm_up
from dtls_emu.testing.offloaded import OffloadedCard
from dtls_emu.testing.present import present
from dtls_emu.testing.wire import Wire, make_topology
from dtls_emu.vocabulary import DropReason
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.headers import super_packet_layout
from dtls_emu.wire.protocol import APPLICATION_DATA
from dtls_emu.wire.vxlan import VNI_FLAG


class Bench(Wire):
    """What tests of the fast path ask of a wire, beside what it can do."""

    cards: dict[str, Any]

    def arrive(self, host, source, local_port, datagrams):
        """Datagrams of one size arrive in one receive; the last may be shorter."""
        burst = Burst.from_packets(datagrams)
        self.carry_out(host, self.cards[host].from_fabric(burst, source, local_port, self.now))

    def reasons(self):
        """What was dropped, by reason."""
        dropped = Counter[DropReason]()
        for _, reason, count, _ in self.drops:
            dropped[reason] += count
        return dropped


@dataclass
class OffloadedWire(Bench):
    """A wire between cards whose flows are offloaded."""

    def __post_init__(self):
        cards = build_cards(
            self.topology,
            engines=self.engines,
            settings=self.settings,
            on_drop=lambda *drop: self.drops.append(drop),
        )
        self.cards = {name: OffloadedCard(card) for name, card in cards.items()}
        self._address = {host.name: host.underlay for host in self.topology.hosts.values()}

    def offload(self, *packets, vm="a"):
        """Have the flows of packets carried by kernels; nothing is on the wire and nothing is delivered then."""
        card = self.cards[self.topology.vms[vm].host]
        for packet in packets:
            for _ in range(3):
                before = card.carried_out
                self.send(vm, packet)
            assert card.carried_out == before + 1
        self.delivered.clear()
        self.datagrams.clear()


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


@pytest.fixture
def make_offloaded_wire(wire_watch):
    """Likewise with flows offloaded; the watch over what is on the fabric is over kernels, too."""
    wires = []

    def make(backend, *, settings=None, topology=None, **options):
        topology = topology or make_topology(**options)
        engines = dict.fromkeys(topology.hosts, choose_engine(backend))
        wire = OffloadedWire(topology, engines=engines, settings=settings)
        wire_watch.follow(wire.cards.values())
        wires.append(wire)
        return wire

    yield make
    for wire in wires:
        wire.assert_balanced()


class Twin(Wire):
    """What a wire and its twin are asked for, beside what a wire can do."""

    def data(self):
        """Datagrams of data: sender, its port, destination, bytes; not handshakes, which are never the same."""
        return [each for each in self.datagrams if each[3][0] in {APPLICATION_DATA, VNI_FLAG}]

    def capture(self, vm, *packets):
        """Have packets sent, of one size, and catch their datagrams before they arrive."""
        self.cut, seen = True, len(self.datagrams)
        self.send(vm, *packets)
        self.cut = False
        return self.datagrams[seen:]

    def replay(self, captured, datagram):
        """Have a datagram arrive where a captured one was to."""
        host, port, (address, local_port), _ = captured
        receiver = present(self.topology.host_by_underlay(address)).name
        self.inject(receiver, (self._address[host], port), local_port, datagram)

    def window(self, host):
        """Of the association with h1, or h2's of h1."""
        peer = "h1" if host != "h1" else "h2"
        return present(self.cards[host].tunnels[peer].active).window.state.tolist()


@dataclass
class SlowTwin(Twin, Bench):
    """All packets go by the slow path."""


@dataclass
class FastTwin(Twin, OffloadedWire):
    """Those of known flows do not."""


class Twins:
    """Two wires, of which one has its flows offloaded: whatever happens to both, nobody can tell them apart."""

    def __init__(self, slow, fast):
        self.slow, self.fast = slow, fast

    def __iter__(self):
        return iter((self.slow, self.fast))

    def send(self, vm, *packets):
        for wire in self:
            wire.send(vm, *packets)

    def hand_over(self, vm, packet, gso_size, places=(0, 0, 0)):
        """Let a VM send a super-packet, and its virtual NIC say where things are in it."""
        for wire in self:
            whole = np.frombuffer(bytearray(packet), np.uint8)
            layout = super_packet_layout(whole, 0, len(whole), any(places), *places[1:])
            packets = max(-(-(len(whole) - (layout & 0xFFFF)) // gso_size), 1) if layout >= 0 else 1
            burst = Burst.super_packet(
                whole, offset=0, length=len(whole), gso_size=gso_size, packets=packets, layout=layout
            )
            wire.hand_over(vm, burst)

    def wait(self, seconds):
        for wire in self:
            wire.wait(wire.now + seconds)

    def offload(self, *packets, vm="a"):
        """Have the flows of packets carried by kernels, where they can be."""
        host = self.fast.topology.vms[vm].host
        for packet in packets:
            before = self.fast.cards[host].carried_out
            for _ in range(3):
                self.send(vm, packet)
            assert self.fast.cards[host].carried_out > before
        for wire in self:
            wire.delivered.clear()

    def agree(self):
        """Check it."""
        slow, fast = (told(wire) for wire in self)
        assert {what: (slow[what], each) for what, each in fast.items() if each != slow[what]} == {}
        assert slow.keys() == fast.keys()


def told(wire):
    """All that can be told of a wire."""
    facts = {"delivered": wire.delivered, "left": wire.left}
    clear = not wire.engines["h1"].backend.protects
    facts["wire"] = [
        (*way, datagram if clear else (datagram[:21], len(datagram))) for *way, datagram in wire.data()
    ]
    dropped = Counter[tuple[str, DropReason, int]]()
    for host, reason, count, mark in wire.drops:
        dropped[host, reason, mark] += count
    facts["dropped"] = dropped
    for host, card in wire.cards.items():
        facts[f"{host} out"] = card.egress.counters.as_dict()
        facts[f"{host} in"] = card.ingress.counters.as_dict()
        facts[f"{host} timer"] = card.next_timeout()
        for way, flows in (("out", card.egress.flows), ("in", card.ingress.flows)):
            books = [(each.packets, each.nbytes, round(each.last_seen, 5)) for each in flows]
            facts[f"{host} flows {way}"] = books
        for peer, tunnel in card.tunnels.items():
            name = f"{host} to {peer}"
            facts[f"{name} tunnel"] = str(tunnel.state), tunnel.forgeries, tunnel.times.tolist()
            for number, each in enumerate(tunnel.associations):
                facts[f"{name} association {number}"] = each.records.tolist(), each.window.state.tolist()
    return facts


@cache
def warmed_engine(backend):
    """An engine whose kernels are there: a handshake that waits for them is repeated by OpenSSL's own clock, and then
    the numbers of records are no longer those of the twin.
    """
    engine = choose_engine(backend)
    assert warm_up(engine)
    return engine


@pytest.fixture
def make_twins(wire_watch):
    """Make two wires, slow and fast, that are otherwise the same."""
    wires: list[Twin] = []

    def make(backend, *, settings=None, **options):
        topology = make_topology(**options)
        engines = dict.fromkeys(topology.hosts, warmed_engine(backend))
        wires.append(SlowTwin(topology, engines=engines, settings=settings))
        wires.append(FastTwin(topology, engines=engines, settings=settings))
        wire_watch.follow(wires[-1].cards.values())
        return Twins(*wires[-2:])

    yield make
    for wire in wires:
        wire.assert_balanced()
