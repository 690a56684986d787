"""Where each packet of a run went, by the mark that it carries.

A traffic item has two marks: its own packets have the forward one, what comes back because of them (echo
replies, acknowledgements) the reverse one. Cards and fabric pass a mark on and name it when they drop, so for
each mark, in packets::

    offered + duplicated == delivered + dropped by reason

Cards also tell how each packet left them, by the decision for its flow, as it happens: a flow may be decided again.

A packet that is observed has its number in its tag as well (:func:`~dtls_emu.events.tagged`); cards and fabric, who
know tags only, may name either. Mark 0 is nobody's: handshakes, alerts, and the ICMP that a card itself makes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from dtls_emu.errors import DtlsEmuError
from dtls_emu.events import mark_of
from dtls_emu.nic.counters import Sent


if TYPE_CHECKING:
    from dtls_emu.policy import Decision
    from dtls_emu.vocabulary import DropReason


__all__ = ["NOBODY", "Account", "AccountingError", "Accounts", "forward_mark", "reverse_of"]

NOBODY: Final = 0
"""The mark of packets that belong to no traffic item."""


class AccountingError(DtlsEmuError):
    """Packets of a run are unaccounted for: its figures mean nothing."""


def forward_mark(index: int) -> int:
    """The mark of the packets of the traffic item at ``index`` of the lab."""
    return 2 * (index + 1)


def reverse_of(mark: int) -> int:
    """The other of an item's two marks; nobody's stays nobody's."""
    return mark ^ 1 if mark else NOBODY


@dataclass(slots=True)
class Account:
    """The packets of one mark.

    Fields:
        offered, offered_bytes: what guests handed to their cards.
        duplicated: copies that links made.
        delivered, delivered_bytes: what guests, or the internet, were handed.
        damaged: of those delivered, with a wrong checksum; corruption that nothing on the way noticed.
        dropped: by reason, by cards and fabric.
        handled: by the decision for the packets' flow, and by how they left the sender's card or why it dropped
            them. Packets that were dropped before their flow was decided are not among them.
    """

    offered: int = 0
    offered_bytes: int = 0
    duplicated: int = 0
    delivered: int = 0
    delivered_bytes: int = 0
    damaged: int = 0
    dropped: Counter[DropReason] = field(default_factory=Counter)
    handled: Counter[tuple[Decision, Sent | DropReason]] = field(default_factory=Counter)

    def sent(self, how: Sent) -> int:
        """Packets that left the sender's card so."""
        return sum(count for (_, fate), count in self.handled.items() if fate is how)

    @property
    def unaccounted(self) -> int:
        """Packets that nobody saw leave; negative: packets out of thin air."""
        return self.offered + self.duplicated - self.delivered - self.dropped.total()

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "offered": self.offered,
            "offered_bytes": self.offered_bytes,
            "duplicated": self.duplicated,
            **{str(how): self.sent(how) for how in Sent},
            "delivered": self.delivered,
            "delivered_bytes": self.delivered_bytes,
            "damaged": self.damaged,
            "dropped": {str(reason): self.dropped[reason] for reason in sorted(self.dropped)},
        }

    def __str__(self) -> str:
        """The equation in words."""
        dropped = ", ".join(f"{reason} {self.dropped[reason]}" for reason in sorted(self.dropped))
        return (
            f"offered {self.offered}, duplicated {self.duplicated}, delivered {self.delivered}, "
            f"dropped {dropped or 'nothing'}"
        )


class Accounts:
    """The account of every mark, opened on first use.

    Fields:
        moves: how often something was entered; the same number means that no packet got any further.
    """

    def __init__(self) -> None:
        self.moves = 0
        self._by_mark: defaultdict[int, Account] = defaultdict(Account)

    def __getitem__(self, mark: int) -> Account:
        """The account of a mark."""
        return self._by_mark[mark]

    def offer(self, mark: int, count: int, nbytes: int) -> None:
        """A guest handed packets to its card."""
        self.moves += 1
        account = self._by_mark[mark]
        account.offered += count
        account.offered_bytes += nbytes

    def deliver(self, mark: int, count: int, nbytes: int) -> None:
        """A guest, or the internet, was handed packets."""
        self.moves += 1
        account = self._by_mark[mark]
        account.delivered += count
        account.delivered_bytes += nbytes

    def drop(self, reason: DropReason, count: int, tag: int) -> None:
        """Packets were dropped: the observer of cards and fabric."""
        self.moves += 1
        self._by_mark[mark_of(tag)].dropped[reason] += count

    def handle(self, decision: Decision, fate: Sent | DropReason, count: int, tag: int) -> None:
        """A card sent packets on, or dropped them: its observer."""
        self.moves += 1
        self._by_mark[mark_of(tag)].handled[decision, fate] += count

    def duplicate(self, count: int, tag: int) -> None:
        """A link made copies: the observer of the fabric."""
        self._by_mark[mark_of(tag)].duplicated += count

    @property
    def are_balanced(self) -> bool:
        """Whether every marked packet is accounted for, and so none is under way."""
        return not any(account.unaccounted for mark, account in self._by_mark.items() if mark != NOBODY)

    def check(self, mark: int, what: str) -> None:
        """Fail loudly unless every packet of a mark is accounted for.

        Raises:
            AccountingError: naming ``what`` and the figures.
        """
        account = self._by_mark[mark]
        if account.unaccounted:
            raise AccountingError(f"{what}: {account}: {account.unaccounted} packets are unaccounted for")
