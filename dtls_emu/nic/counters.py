"""A card's books: every packet and record is in exactly one place, at every moment.

::

    egress    offered  == encrypted + clear + local + gateway + waiting + dropped by reason
    ingress   received == delivered + control + dropped by reason

Egress counts inner packets from VMs. Ingress counts records and clear datagrams from the fabric.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from dtls_emu.policy import Decision
from dtls_emu.vocabulary import DropReason


__all__ = ["EgressCounters", "IngressCounters", "PacketObserver", "Sent"]


class Sent(StrEnum):
    """How a packet left the card that its VM handed it to: the fields of :class:`EgressCounters`."""

    ENCRYPTED = "encrypted"
    CLEAR = "clear"
    LOCAL = "local"
    GATEWAY = "gateway"


PacketObserver = Callable[[Decision, Sent | DropReason, int, int], object]
"""``on_packets(decision, fate, count, mark)``: so many packets from VMs with that mark, whose flow was decided so,
have left the card, or were dropped by it. Told as it happens, for a burst at a time; packets that wait are told of
when they go. Packets that are dropped before their flow is decided have no decision, and are only a drop.
"""


@dataclass(slots=True)
class EgressCounters:
    """From the VMs to the fabric, in inner packets.

    Fields:
        offered, offered_bytes: what VMs handed to the card.
        encrypted, clear: sent to another host, sealed or not.
        local: delivered to a VM on this host.
        gateway: left for the internet.
        waiting: kept until their tunnel is up.
        answered: ICMP errors sent back to a VM; the packets they are about are among the dropped.
        icmp_limited: ICMP errors that were due, and not sent because the VM has had enough of them
            (:class:`~dtls_emu.wire.icmp.ErrorLimit`).
        dropped: by reason.
    """

    offered: int = 0
    offered_bytes: int = 0
    encrypted: int = 0
    clear: int = 0
    local: int = 0
    gateway: int = 0
    waiting: int = 0
    answered: int = 0
    icmp_limited: int = 0
    dropped: Counter[DropReason] = field(default_factory=Counter)

    @property
    def balanced(self) -> bool:
        """Whether every packet is accounted for."""
        sent = self.encrypted + self.clear + self.local + self.gateway
        return self.offered == sent + self.waiting + self.dropped.total()

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "offered": self.offered,
            "offered_bytes": self.offered_bytes,
            "encrypted": self.encrypted,
            "clear": self.clear,
            "local": self.local,
            "gateway": self.gateway,
            "waiting": self.waiting,
            "answered": self.answered,
            "icmp_limited": self.icmp_limited,
            "dropped": _by_reason(self.dropped),
        }


@dataclass(slots=True)
class IngressCounters:
    """From the fabric to the VMs, in records and clear datagrams.

    Fields:
        received: what came in.
        delivered, delivered_bytes: inner packets handed to VMs.
        control: handshake records and alerts, a tunnel's own.
        dropped: by reason.
    """

    received: int = 0
    delivered: int = 0
    delivered_bytes: int = 0
    control: int = 0
    dropped: Counter[DropReason] = field(default_factory=Counter)

    @property
    def balanced(self) -> bool:
        """Whether every record is accounted for."""
        return self.received == self.delivered + self.control + self.dropped.total()

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "received": self.received,
            "delivered": self.delivered,
            "delivered_bytes": self.delivered_bytes,
            "control": self.control,
            "dropped": _by_reason(self.dropped),
        }


def _by_reason(dropped: Counter[DropReason]) -> dict[str, int]:
    return {str(reason): dropped[reason] for reason in sorted(dropped) if dropped[reason]}
