"""Wires for the card's tests."""

from dataclasses import dataclass

import pytest

from dtls_emu.host.cards import build_cards, choose_engine
from dtls_emu.testing.offloaded import OffloadedCard
from dtls_emu.testing.wire import Wire, make_topology


@dataclass
class OffloadedWire(Wire):
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
