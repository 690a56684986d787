"""A card's counters: every packet and record is in exactly one place, at every moment.

::

    egress    offered  == encrypted + clear + local + gateway + waiting + dropped by reason
    ingress   received == delivered + control + dropped by reason

Egress counts inner packets from VMs. Ingress counts records and clear datagrams from the fabric.

Kernels count, too: all numbers but the drops are fields of one :data:`~dtls_emu.nic.offload.state.CARD`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import numpy as np

from dtls_emu.nic.offload.state import CARD, Records
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


class _Count:
    """A field of the record that a card's counters are in, as an attribute."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, counters: _Counters, owner: type | None = None) -> int:
        return counters.views[self._name][0]

    def __set__(self, counters: _Counters, value: int) -> None:
        counters.views[self._name][0] = value


class _Counters:
    """Numbers of one direction.

    Fields:
        views: a memoryview of one number for each field: three times as fast as NumPy.
        dropped: by reason.

    Args:
        card: the record; one of their own by default.
    """

    __slots__ = ("dropped", "views")

    names: tuple[str, ...] = ()

    def __init__(self, card: Records | None = None) -> None:
        card = np.zeros(1, CARD) if card is None else card
        self.views: dict[str, memoryview[int]] = {name: card[name].data for name in self.names}
        self.dropped: Counter[DropReason] = Counter()

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        numbers: dict[str, Any] = {name: view[0] for name, view in self.views.items()}
        return {**numbers, "dropped": _by_reason(self.dropped)}

    def __repr__(self) -> str:
        """For a failed check."""
        return f"{type(self).__name__}({self.as_dict()})"


class EgressCounters(_Counters):
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

    __slots__ = ()

    names = (
        "offered",
        "offered_bytes",
        "encrypted",
        "clear",
        "local",
        "gateway",
        "waiting",
        "answered",
        "icmp_limited",
    )

    offered = _Count()
    offered_bytes = _Count()
    encrypted = _Count()
    clear = _Count()
    local = _Count()
    gateway = _Count()
    waiting = _Count()
    answered = _Count()
    icmp_limited = _Count()

    @property
    def balanced(self) -> bool:
        """Whether every packet is accounted for."""
        sent = self.encrypted + self.clear + self.local + self.gateway
        return self.offered == sent + self.waiting + self.dropped.total()


class IngressCounters(_Counters):
    """From the fabric to the VMs, in records and clear datagrams.

    Fields:
        received: what came in.
        delivered, delivered_bytes: inner packets handed to VMs.
        control: handshake records and alerts, a tunnel's own.
        dropped: by reason.
    """

    __slots__ = ()

    names = ("received", "delivered", "delivered_bytes", "control")

    received = _Count()
    delivered = _Count()
    delivered_bytes = _Count()
    control = _Count()

    @property
    def balanced(self) -> bool:
        """Whether every record is accounted for."""
        return self.received == self.delivered + self.control + self.dropped.total()


def _by_reason(dropped: Counter[DropReason]) -> dict[str, int]:
    return {str(reason): dropped[reason] for reason in sorted(dropped) if dropped[reason]}
