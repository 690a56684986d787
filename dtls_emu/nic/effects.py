"""What a card asks its surroundings to do. Its edge (simulation, sockets, TUN) carries them out in order.

A burst in an effect is valid until the next call on the card, which uses the memory again: an edge sends it,
or copies it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dtls_emu.events import UnderlayAddress


if TYPE_CHECKING:
    from dtls_emu.wire.burst import Burst


__all__ = [
    "VNET_HEADER",
    "ClosePort",
    "Deliver",
    "Effect",
    "LeaveFabric",
    "RequestKeys",
    "Transmit",
    "UnderlayAddress",
]

VNET_HEADER: Final = 10
"""Bytes of ``virtio_net_hdr``. What comes from the fabric has at least these free in front of every packet,
so that the edge of a TUN device writes its header in place."""


@dataclass(slots=True)
class Transmit:
    """Send every row as one UDP datagram, outer DF set. Rows touch: ``burst.wire`` holds.

    Fields:
        burst: the datagrams.
        source_port: the local UDP port to send from; the edge binds it when it is new, and when it cannot, it
            tells :meth:`~dtls_emu.nic.card.Card.port_unavailable`.
        destination: underlay address and UDP port of the peer.
    """

    burst: Burst
    source_port: int
    destination: UnderlayAddress


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


@dataclass(slots=True)
class LeaveFabric:
    """Hand every row, an IP packet, to the gateway to the internet: outside of what is emulated.

    Fields:
        vm: name of the VM that sent them.
        burst: the packets.
    """

    vm: str
    burst: Burst


@dataclass(slots=True)
class ClosePort:
    """A local UDP port is no longer in use (its association has ended)."""

    port: int


@dataclass(slots=True)
class RequestKeys:
    """A tunnel wants one-time keys from the broker (`keying: broker`).

    Fields:
        peer: name of the host at the other end.
        port: local UDP port that this host takes for the session; the edge binds it before it asks for keys, or
            tells :meth:`~dtls_emu.nic.card.Card.port_unavailable`.
    """

    peer: str
    port: int


Effect = Transmit | Deliver | LeaveFabric | ClosePort | RequestKeys
