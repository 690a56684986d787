"""What the real paths to other hosts carry, where that is less than the lab says of their links.

The kernel knows: the MTU of the device that a path begins with, and what routers behind it have said. It is asked when
the loop starts, when the lab changes, and when it refuses a datagram as too large; the card then answers guests with
the MTU that fits, as if the lab had said so. While a path is smaller than its link it is asked again every second, so
a path that grows again is used again. A path that is larger than its link is none of our business.
"""

from __future__ import annotations

import logging
from math import inf
from typing import TYPE_CHECKING, Final


if TYPE_CHECKING:
    from dtls_emu.fabric.udp import UdpFabric
    from dtls_emu.lab.topology import Topology
    from dtls_emu.nic.card import Card


__all__ = ["PathMtus"]

logger = logging.getLogger(__name__)

CHECK_EVERY: Final = 1.0
"""Seconds between two looks at paths that are too small; the look at one is some microseconds of system calls."""

PAUSE: Final = 0.05
"""Seconds between two looks because of refused datagrams, should a kernel refuse what it says that it carries."""


class PathMtus:
    """The paths of one host.

    Fields:
        known: largest outer IP packet of the path to each peer when it was last looked at, in bytes; None where there
            was no way.

    Args:
        card: is told what its paths carry.
        fabric: asks the kernel.
        topology: the lab.
    """

    def __init__(self, card: Card, fabric: UdpFabric, topology: Topology) -> None:
        self.known: dict[str, int | None] = {}
        self._card = card
        self._fabric = fabric
        self._topology = topology
        self._names = {host.underlay: host.name for host in topology.hosts.values() if host.name != card.host}
        self._small: set[str] = set()  # underlay addresses of peers whose path is smaller than their link
        self._wanted: set[str] = set()  # likewise, to be looked at because of refusals
        self._not_before = -inf
        self._check_at = inf

    def reconfigure(self, topology: Topology, now: float) -> None:
        """Take a changed lab with the same hosts, which the card has taken, and look at every path."""
        self._topology = topology
        self.look(now)

    def look(self, now: float, addresses: set[str] | None = None) -> None:
        """Ask the kernel about the paths to these underlay addresses, or to all peers, and tell the card."""
        asked = self._names.keys() if addresses is None else self._names.keys() & addresses
        for address, mtu in self._fabric.path_mtus(asked).items():
            self._note(address, mtu)
        self._check_at = now + CHECK_EVERY if self._small else inf

    def refused(self, addresses: set[str], now: float) -> None:
        """Datagrams to these addresses were too large for the path: look at it, now or soon."""
        self._wanted |= addresses
        if now >= self._not_before:
            self._look_again(now)

    def next_timeout(self) -> float:
        """When `handle_timeout` wants to be called, in seconds, or infinity."""
        return min(self._check_at, self._not_before if self._wanted else inf)

    def handle_timeout(self, now: float) -> None:
        """Look again at what is too small, and at what was refused meanwhile."""
        self._look_again(now)

    def _look_again(self, now: float) -> None:
        wanted, self._wanted = self._wanted | self._small, set()
        self._not_before = now + PAUSE
        self.look(now, wanted)

    def _note(self, address: str, mtu: int | None) -> None:
        peer = self._names[address]
        link = self._topology.link(self._card.host, peer).mtu
        was_small, is_small = address in self._small, mtu is not None and mtu < link
        if is_small and mtu != self.known.get(peer):
            logger.warning("the path to %s carries %s bytes, and the lab says %s", peer, mtu, link)
        elif was_small and not is_small:
            logger.info("the path to %s carries %s bytes again", peer, link)
        self.known[peer] = mtu
        (self._small.add if is_small else self._small.discard)(address)
        if was_small or is_small:
            self._card.limit_path(peer, mtu)
