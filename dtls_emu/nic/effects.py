"""What a card asks its surroundings to do: its driver (simulation, sockets, TUN) carries effects out in order.

A burst in an effect is valid until the next call on the card, which uses the memory again: a driver sends it,
or copies it. So it makes that call when all effects have been carried out::

    class Drops(Driver):
        def deliver(self, effect): ...

    carry_out(card.from_guest("a", burst, now), Drops())
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dtls_emu.events import UnderlayAddress


if TYPE_CHECKING:
    from collections.abc import Iterable

    from dtls_emu.wire.burst import Burst


__all__ = [
    "VNET_HEADER",
    "ClosePort",
    "Deliver",
    "Driver",
    "Effect",
    "LeaveFabric",
    "RequestKeys",
    "Transmit",
    "UnderlayAddress",
    "carry_out",
]

VNET_HEADER: Final = 10
"""Bytes of ``virtio_net_hdr``. What comes from the fabric has at least these free in front of every packet,
for a virtio header."""


@dataclass(slots=True)
class Transmit:
    """Send every row as one UDP datagram, outer DF set. Rows touch: ``burst.wire`` holds.

    Fields:
        burst: the datagrams.
        source_port: the local UDP port to send from; the driver binds it when it is new, and when it cannot, it
            tells :meth:`~dtls_emu.nic.card.Card.port_unavailable`.
        destination: underlay address and UDP port of the peer.
    """

    burst: Burst
    source_port: int
    destination: UnderlayAddress

    def apply(self, driver: Driver) -> None:
        """Have a driver carry it out."""
        driver.transmit(self)


@dataclass(slots=True)
class Deliver:
    """Hand every row, an IP packet, to a VM.

    Fields:
        vm: name of the VM on this host.
        burst: the packets; or one super-packet, if its `gso_size` is above 0, which only a VM gets that the
            card merges for, or that a VM on the same host has sent.
    """

    vm: str
    burst: Burst

    def apply(self, driver: Driver) -> None:
        """Have a driver carry it out."""
        driver.deliver(self)


@dataclass(slots=True)
class LeaveFabric:
    """Hand every row, an IP packet, to the gateway to the internet: outside of what is emulated.

    Fields:
        vm: name of the VM that sent them.
        burst: the packets.
    """

    vm: str
    burst: Burst

    def apply(self, driver: Driver) -> None:
        """Have a driver carry it out."""
        driver.leave_fabric(self)


@dataclass(slots=True)
class ClosePort:
    """A local UDP port is no longer in use (its association has ended)."""

    port: int

    def apply(self, driver: Driver) -> None:
        """Have a driver carry it out."""
        driver.close_port(self)


@dataclass(slots=True)
class RequestKeys:
    """A tunnel wants one-time keys from the broker (`keying: broker`).

    Fields:
        peer: name of the host at the other end.
        port: local UDP port that this host takes for the session; the driver binds it before it asks for keys, or
            tells :meth:`~dtls_emu.nic.card.Card.port_unavailable`.
    """

    peer: str
    port: int

    def apply(self, driver: Driver) -> None:
        """Have a driver carry it out."""
        driver.request_keys(self)


Effect = Transmit | Deliver | LeaveFabric | ClosePort | RequestKeys


class Driver:
    """Whoever carries effects out. What a driver has no use for, it leaves out: nothing is done then."""

    def transmit(self, effect: Transmit) -> None:
        """Send datagrams."""

    def deliver(self, effect: Deliver) -> None:
        """Hand packets to a VM."""

    def leave_fabric(self, effect: LeaveFabric) -> None:
        """Hand packets to the gateway to the internet."""

    def close_port(self, effect: ClosePort) -> None:
        """Close a UDP port."""

    def request_keys(self, effect: RequestKeys) -> None:
        """Ask the broker for keys."""


def carry_out(effects: Iterable[Effect], driver: Driver) -> None:
    """Do what a card asks for, in order."""
    for effect in effects:
        effect.apply(driver)
