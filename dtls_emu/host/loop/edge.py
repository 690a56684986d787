"""What a card asks for, done on the devices and sockets of its host."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from dtls_emu.events import Sent, mark_of, packet_of
from dtls_emu.fabric.offload import FabricUnavailableError
from dtls_emu.host.loop.impairments import ImpairedLinks
from dtls_emu.nic.effects import Driver, carry_out


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from dtls_emu.events import Observer
    from dtls_emu.fabric.udp import UdpFabric
    from dtls_emu.host.device.tun import TunDevice
    from dtls_emu.lab.topology import Topology
    from dtls_emu.nic.card import Card
    from dtls_emu.nic.effects import ClosePort, Deliver, Effect, LeaveFabric, RequestKeys, Transmit

    PortOpener = Callable[[int], object]


__all__ = ["Edge"]

logger = logging.getLogger(__name__)


class Edge(Driver):
    """The driver of a host's card.

    Fields:
        ports: UDP ports that are open.
        links: what the lab says of the links away from the host.
        left: packets for the internet. There is no gateway behind real guests: they go no further.
        late: datagrams that an impaired link kept until their port was closed.
        key_requests: sessions that want a broker's keys, the newest of each peer: nobody may ever ask.

    Args:
        card, fabric, devices: of the host.
        topology: the lab.
        open_port: opens one more port; by default the fabric does it alone.
        now: seconds.
    """

    def __init__(
        self,
        card: Card,
        fabric: UdpFabric,
        devices: Mapping[str, TunDevice],
        topology: Topology,
        *,
        open_port: PortOpener | None,
        now: float,
    ) -> None:
        self.ports: set[int] = set()
        self.links = ImpairedLinks(topology, card.host, self._send_late, now)
        self.left = 0
        self.late = 0
        self.key_requests: dict[str, RequestKeys] = {}
        self._card = card
        self._fabric = fabric
        self._devices = devices
        self._open_port = open_port or fabric.open_port
        self._impaired = self.links.peers
        self._refused: dict[int, None] = {}  # ports that cannot be opened
        self._now = now
        self._observer: Observer | None = None
        self._told = 0

    def observe(self, observer: Observer | None) -> None:
        """Tell an observer of each datagram that is sent, while it wants bytes; None, the default, costs nothing."""
        self._observer = observer

    def open(self, port: int) -> None:
        """Open a port.

        Raises:
            FabricUnavailableError: another program has it.
        """
        self._open_port(port)
        self.ports.add(port)

    def carry_out(self, effects: Iterable[Effect], now: float) -> None:
        """Do what the card asks for, and what it asks for when it cannot have a port."""
        self._now = now
        carry_out(effects, self)
        while self._refused:  # only now: the card uses the memory of its effects again
            refused, self._refused = self._refused, {}
            for port in refused:
                carry_out(self._card.port_unavailable(port, now), self)

    def reconfigure(self, topology: Topology) -> None:
        """Take the links of a changed lab."""
        self.links.reconfigure(topology)
        self._impaired = self.links.peers

    def ignore_impairments(self) -> None:
        """Send everything at once from now on: a goodbye that had to wait would never be said."""
        self._impaired = frozenset()

    # ---------------------------------------------------------------------------------------- effects

    def transmit(self, effect: Transmit) -> None:
        """Send datagrams at the latest as the turn ends, or when an impaired link lets them go."""
        # Where the port cannot be opened, the fabric counts what would have been sent from it.
        self._is_open(effect.source_port)
        if self._observer is not None and self._observer.wants_bytes:
            self._tell_sent(self._observer, effect)
        if self._impaired and effect.destination[0] in self._impaired:
            self.links.transmit(effect, self._now)
        else:
            self._fabric.put(effect)

    def deliver(self, effect: Deliver) -> None:
        """Write packets to a device."""
        self._devices[effect.vm].write(effect.burst)

    def leave_fabric(self, effect: LeaveFabric) -> None:
        """Only count them."""
        self.left += effect.burst.packets

    def close_port(self, effect: ClosePort) -> None:
        """Close a port; what waits is sent before."""
        self.ports.discard(effect.port)
        self._fabric.close_port(effect.port)

    def request_keys(self, effect: RequestKeys) -> None:
        """Remember that somebody should fetch keys, if their port can be had."""
        if self._is_open(effect.port):
            self.key_requests[effect.peer] = effect

    def _is_open(self, port: int) -> bool:
        """Open a port, if it can be; else the card is told."""
        if port in self.ports:
            return True
        try:
            self.open(port)
        except FabricUnavailableError as error:
            logger.info("%s; the next one is tried", error)
            self._refused[port] = None
            return False
        return True

    def _tell_sent(self, observer: Observer, effect: Transmit) -> None:
        """Tell of datagrams as they leave the card: what an impaired link then does to them is not known here."""
        burst = effect.burst
        about = self._now, self._card.host, mark_of(burst.mark), packet_of(burst.mark)
        source = self._fabric.address, effect.source_port
        for row in burst.rows():
            self._told += 1
            payload = row.tobytes()
            observer(
                Sent(*about, self._told, source, effect.destination, len(payload), burst.tos, -1, payload)
            )

    def _send_late(self, effect: Transmit) -> None:
        if effect.source_port in self.ports:
            self._fabric.transmit(effect)
        else:
            self.late += effect.burst.count
