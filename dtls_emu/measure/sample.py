"""What one trial yields, and the rule that every packet of it is accounted for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dtls_emu.simulation.accounts import AccountingError


if TYPE_CHECKING:
    from dtls_emu.measure.delays import Delays


__all__ = ["Accounting", "Sample"]


@dataclass(frozen=True, slots=True)
class Accounting:
    """Where the packets of a trial went.

    Fields:
        offered: packets that the sending VM had to send.
        refused: of them, those that its queue had no room for when they were due; the card never saw them.
        delivered: packets that the receiving VM got.
        dropped: packets by the value of their :class:`~dtls_emu.vocabulary.DropReason`; no zeros.
    """

    offered: int
    delivered: int
    dropped: dict[str, int] = field(default_factory=dict)
    refused: int = 0

    @property
    def unaccounted(self) -> int:
        """Packets with no fate; 0, or something is broken. Negative: more came out than went in."""
        return self.offered - self.refused - self.delivered - sum(self.dropped.values())

    @property
    def lost(self) -> int:
        """Packets that did not arrive, refused ones included."""
        return self.offered - self.delivered

    def check(self, trial: str) -> None:
        """Fail loudly unless offered = delivered + dropped by reason.

        Raises:
            AccountingError: naming the trial and the figures.
        """
        if (
            self.unaccounted
            or self.offered < 0
            or self.refused < 0
            or self.delivered < 0
            or min(self.dropped.values(), default=0) < 0
        ):
            reasons = (
                ", ".join(f"{reason} {count}" for reason, count in sorted(self.dropped.items())) or "nothing"
            )
            raise AccountingError(
                f"{trial}: offered {self.offered}, {f'refused {self.refused}, ' if self.refused else ''}"
                f"delivered {self.delivered}, dropped {reasons}: {self.unaccounted} packets are unaccounted for"
            )


@dataclass(frozen=True, slots=True)
class Sample:
    """One trial's measurement.

    Fields:
        accounting: where the packets went.
        octets: bytes of the delivered inner IP packets.
        wall_s: seconds from the first packet offered to the last one delivered.
        sender_cpu_s, receiver_cpu_s: CPU seconds of each end, user and system. On loopback the kernel
            hands a datagram to the receiving socket on the sender's account.
        delays: from the time at which a packet was due to its delivery; None when they were not measured.
        lasted_s: seconds of the clock from beginning to end; in memory more than `wall_s`, which is of the cards alone.
        switches: how often an end was made to wait for the processor by something else (involuntary context switches).
    """

    accounting: Accounting
    octets: int
    wall_s: float
    sender_cpu_s: float
    receiver_cpu_s: float
    delays: Delays | None = None
    lasted_s: float = 0.0
    switches: int = 0

    @property
    def cpu_s(self) -> float:
        """CPU seconds of both ends."""
        return self.sender_cpu_s + self.receiver_cpu_s

    @property
    def packets_per_s(self) -> float:
        """Delivered packets a second."""
        return self.accounting.delivered / self.wall_s
