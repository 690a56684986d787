"""Use a card's whole way once, on two throw-away cards in memory, before anybody waits for it.

Compiled kernels are read from disk at their first call, and libraries set up what they need: together some
hundred milliseconds, which would otherwise be those of the first packets, and stall everything else meanwhile.
"""

from __future__ import annotations

import logging
import select
import socket
from collections import deque
from contextlib import suppress
from ipaddress import ip_address, ip_network
from math import inf
from typing import TYPE_CHECKING, Final

import numpy as np

from dtls_emu.assembly.cards import build_cards
from dtls_emu.fabric.offload import FabricUnavailableError, Offload
from dtls_emu.fabric.udp import UdpFabric
from dtls_emu.host.device.tun import TunDevice
from dtls_emu.host.loop.compiled import FastLoop
from dtls_emu.lab.profiles import PROFILES
from dtls_emu.lab.topology import Host, Link, Network, Topology, Vm
from dtls_emu.nic.effects import Driver, Transmit, carry_out
from dtls_emu.vocabulary import Enforcement
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.packet import tcp_packet, udp_packet
from dtls_emu.wire.virtio import GSO_TCPV4, NEEDS_CHECKSUM, NO_OFFLOAD, VNET_FIELDS, complete_checksum


if TYPE_CHECKING:
    from dtls_emu.nic.card import Card, Engine
    from dtls_emu.nic.effects import Deliver, Effect


__all__ = ["warm_up"]

logger = logging.getLogger(__name__)

_PAYLOAD: Final = 1348
_ROWS: Final = 8


def warm_up(engine: Engine) -> bool:
    """Send packets and a super-packet from card to card, sealed and in clear. Whether they arrived.

    Reads, writes, receives and sends are loaded, too, and where the engine can be offloaded, the compiled loop.
    """
    arrived = [_rehearse(engine, encrypted=encrypted) for encrypted in (True, False)]
    _load_sockets()
    _load_device()
    if engine.is_native:
        _load_loop(engine)
    if not all(arrived):
        logger.warning("the rehearsal of the datapath lost packets")
    return all(arrived)


def _rehearse(engine: Engine, *, encrypted: bool) -> bool:
    topology = _two_hosts(encrypted=encrypted)
    cards = build_cards(topology, engines=dict.fromkeys(topology.hosts, engine))
    stage = _Stage(topology, cards)
    packet = udp_packet("10.0.0.1", "10.0.0.2", 7, 7, b"rehearsal")
    stage.send("near", Burst.from_packets([packet]))
    stage.send("near", Burst.from_packets([packet] * 2))
    long = np.frombuffer(tcp_packet("10.0.0.1", "10.0.0.2", 7, 7, bytes(_ROWS * _PAYLOAD)), np.uint8).copy()
    complete_checksum(long, 0, len(long), 20, 16)
    burst = Burst.super_packet(long, offset=0, length=len(long), gso_size=_PAYLOAD, packets=_ROWS)
    stage.send("near", burst)
    stage.send("far", Burst.from_packets([udp_packet("10.0.0.2", "10.0.0.1", 7, 7, b"heard")]))
    for card in cards.values():
        card.abort()
    return stage.delivered == 1 + 2 + _ROWS + 1


def _load_sockets() -> None:
    """Send datagrams to ourselves, and receive them."""
    address = "127.0.0.1"
    with suppress(FabricUnavailableError), UdpFabric(address) as fabric:
        port = fabric.open_port(0)
        handshake = np.frombuffer(
            b"rehearsal", np.uint8
        )  # may not be written to, which is another type to a kernel
        for datagram in (handshake, handshake.copy()):
            fabric.transmit(Transmit(Burst.from_datagrams(datagram), port, (address, port)))
        fabric.receive(lambda *_: None, 0.0)


def _load_device() -> None:
    """Read and write a packet and a super-packet; a pair of sockets is the device."""
    on = Offload(state="on", reason="")
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    near.setblocking(False)
    device = TunDevice(near.detach(), "", dict.fromkeys(("tun_vnet_header", "tun_uso"), on))
    packet = tcp_packet("10.0.0.1", "10.0.0.2", 7, 7, bytes(100))
    with far:
        far.send(NO_OFFLOAD + packet)
        far.send(VNET_FIELDS.pack(NEEDS_CHECKSUM, GSO_TCPV4, 40, 50, 20, 16) + packet)
        device.receive(device.write)
    device.close()


def _load_loop(engine: Engine) -> None:
    """One pass of the compiled loop, without anything to do."""
    topology = _two_hosts(encrypted=True)
    card = build_cards(topology, engines=dict.fromkeys(topology.hosts, engine))["near"]
    with suppress(FabricUnavailableError), UdpFabric("127.0.0.1") as fabric, select.epoll() as epoll:
        FastLoop(card, fabric, {}, topology, epoll.fileno()).run(0.0, inf, forever=False)


class _Stage:
    """A wire without delay, which keeps the bursts of one send together as the real one does."""

    def __init__(self, topology: Topology, cards: dict[str, Card]) -> None:
        self.delivered = 0
        self._cards = {topology.hosts[name].underlay: card for name, card in cards.items()}
        self._homes = {vm.name: topology.hosts[vm.host].underlay for vm in topology.vms.values()}
        for card in cards.values():
            card.merges_for.update(topology.vms)

    def send(self, vm: str, burst: Burst) -> None:
        home = self._homes[vm]
        under_way: deque[tuple[str, Transmit]] = deque()
        self._take(home, self._cards[home].from_guest(vm, burst, 0.0), under_way)
        while under_way:
            source, effect = under_way.popleft()
            address, port = effect.destination
            arriving = effect.burst
            effects = self._cards[address].from_fabric(arriving, (source, effect.source_port), port, 0.0)
            self._take(address, effects, under_way)

    def _take(self, address: str, effects: list[Effect], under_way: deque[tuple[str, Transmit]]) -> None:
        carry_out(effects, _HostDriver(self, address, under_way))


class _HostDriver(Driver):
    """Keeps what one host of a stage sends, and counts what its VMs are handed."""

    def __init__(self, stage: _Stage, address: str, under_way: deque[tuple[str, Transmit]]) -> None:
        self._stage = stage
        self._address = address
        self._under_way = under_way

    def transmit(self, effect: Transmit) -> None:
        burst = effect.burst
        copy = Burst.from_datagrams(burst.wire.copy(), burst.size)
        self._under_way.append((self._address, Transmit(copy, effect.source_port, effect.destination)))

    def deliver(self, effect: Deliver) -> None:
        self._stage.delivered += effect.burst.packets


def _two_hosts(*, encrypted: bool) -> Topology:
    network = Network(
        "rehearsal",
        1,
        (ip_network("10.0.0.0/24"),),
        encrypted,
        Enforcement.DROP_UNENCRYPTED,
        frozenset(),
    )
    names = {"near": 1, "far": 2}
    hosts = [
        Host(name, f"192.0.2.{last}", "rehearsal", "auto", smartnic_present=True)
        for name, last in names.items()
    ]
    vms = [
        Vm(
            name,
            host=name,
            network=network.name,
            addresses=(ip_address(f"10.0.0.{last}"),),
            mac=bytes((2, 0, 0, 0, 0, last)),
            size="rehearsal",
            size_capable=True,
            accelerated_networking=True,
            restarted=True,
            flow_table_ready=True,
            discovery=True,
            mtu=1500,
        )
        for name, last in names.items()
    ]
    link = Link(
        "", "", 1650, delay=0.0, jitter=0.0, loss=0.0, reorder=0.0, duplicate=0.0, corrupt=0.0, rate=0.0
    )
    return Topology(
        name="rehearsal",
        profile=PROFILES["current"],
        seed=1,
        networks=[network],
        hosts=hosts,
        vms=vms,
        links=[],
        default_link=link,
    )
