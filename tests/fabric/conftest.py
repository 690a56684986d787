"""A topology of three hosts, and a network of it that keeps what arrives."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dtls_emu.fabric.clock import VirtualClock
from dtls_emu.fabric.simulated import SimulatedFabric
from dtls_emu.fabric.udp import UdpFabric
from dtls_emu.lab.profiles import PROFILES
from dtls_emu.lab.topology import Host, Link, Topology
from dtls_emu.nic.effects import Transmit
from dtls_emu.wire.burst import Burst


A, B, C = "192.0.2.1", "192.0.2.2", "192.0.2.3"
PORT = 4433
CLEAN = Link("a", "b", mtu=1500, delay=0.001, jitter=0, loss=0, reorder=0, duplicate=0, corrupt=0, rate=0)


class Net:
    """A simulated fabric, its clock, and lists of what arrived, was dropped and was duplicated."""

    def __init__(self, seed=1, *, merge=True, link_queue=1000, addresses=(A, B, C), **settings):
        self.clock = VirtualClock()
        self.topology = Topology(
            name="net",
            profile=replace(PROFILES["current"], link_queue=link_queue),
            seed=seed,
            networks=[],
            hosts=[
                Host(name, ip, "r", "auto", smartnic_present=True)
                for name, ip in zip("abc", addresses, strict=True)
            ],
            vms=[],
            links=[replace(CLEAN, **settings)],
            default_link=CLEAN,
        )
        self.fabric = SimulatedFabric(self.topology, self.clock, seed, merge=merge)
        self.arrivals = []
        self.services = []
        self.drops: list[Any] = []
        self.duplicates: list[Any] = []
        self.fabric.on_drop = lambda *drop: self.drops.append(drop)
        self.fabric.on_duplicate = lambda *copies: self.duplicates.append(copies)
        self.source, self.destination = addresses[:2]
        for ip in addresses[1:]:
            self.fabric.attach(ip, self._receive)

    def _receive(self, burst, source, port, now):
        rows = [row.tobytes() for row in burst.rows()]
        self.arrivals.append((round(now * 1e9), source, port, rows, burst.mark))
        self.services.append(burst.tos)
        burst.buffer[:] = 0  # a card opens in place; nobody else may see it

    def send(self, *packets, mark=0, destination=None):
        effect = Transmit(
            Burst.from_packets(packets, mark=mark), PORT, (destination or self.destination, PORT)
        )
        self.fabric.transmit(self.source, effect)

    @property
    def received(self):
        return [row for arrival in self.arrivals for row in arrival[3]]


@pytest.fixture(scope="session")
def make_net():
    """Make a network; keyword arguments are settings of the link from a to b."""
    return Net


@pytest.fixture(autouse=True)
def _needs_udp_offload(request):
    """Skip what is marked `udp_offload` where the kernel has neither, and say why."""
    if request.node.get_closest_marker("udp_offload"):
        with UdpFabric("127.0.0.1") as fabric:
            missing = [
                offload["reason"]
                for name, offload in fabric.offloads().items()
                if name.startswith("udp_") and offload["reason"]
            ]
        if missing:
            pytest.skip("; ".join(missing))
