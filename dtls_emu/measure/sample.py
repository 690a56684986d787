"""What one trial yields, and the rule that every packet of it is accounted for."""

from __future__ import annotations

from dataclasses import dataclass, field

from dtls_emu.simulation.accounts import AccountingError


__all__ = ["Accounting", "Sample"]


@dataclass(frozen=True, slots=True)
class Accounting:
    """Where the packets of a trial went.

    Fields:
        offered: packets that the sending VM handed to its card.
        delivered: packets that the receiving VM got.
        dropped: packets by the value of their :class:`~dtls_emu.vocabulary.DropReason`; no zeros.
    """

    offered: int
    delivered: int
    dropped: dict[str, int] = field(default_factory=dict)

    @property
    def unaccounted(self) -> int:
        """Packets neither delivered nor dropped; 0, or something is broken. Negative: more came out than went in."""
        return self.offered - self.delivered - sum(self.dropped.values())

    def check(self, trial: str) -> None:
        """Fail loudly unless offered = delivered + dropped by reason.

        Raises:
            AccountingError: naming the trial and the figures.
        """
        if (
            self.unaccounted
            or self.offered < 0
            or self.delivered < 0
            or min(self.dropped.values(), default=0) < 0
        ):
            reasons = (
                ", ".join(f"{reason} {count}" for reason, count in sorted(self.dropped.items())) or "nothing"
            )
            raise AccountingError(
                f"{trial}: offered {self.offered}, delivered {self.delivered}, dropped {reasons}: "
                f"{self.unaccounted} packets are unaccounted for"
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
    """

    accounting: Accounting
    octets: int
    wall_s: float
    sender_cpu_s: float
    receiver_cpu_s: float

    @property
    def packets_per_s(self) -> float:
        """Delivered packets a second."""
        return self.accounting.delivered / self.wall_s
