"""What the two fabrics share: how a datagram is handed in, who is told of a drop, and the books."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dtls_emu.nic.effects import UnderlayAddress
from dtls_emu.vocabulary import DropReason
from dtls_emu.wire.burst import Burst


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


__all__ = ["DropObserver", "DuplicateObserver", "FabricStatistics", "Ledger", "Receive", "total"]

Receive = Callable[[Burst, UnderlayAddress, int, float], object]
"""``receive(burst, source, local_port, now)``: datagrams of one sender, back to back (``burst.wire`` holds).

The burst is the receiver's to change in place, but only during the call: its buffer is used again.
"""

DropObserver = Callable[[DropReason, int, int], object]
"""``on_drop(reason, count, mark)``: so many datagrams with that mark were dropped."""

DuplicateObserver = Callable[[int, int], object]
"""``on_duplicate(count, mark)``: so many copies of datagrams with that mark were made."""


@dataclass(frozen=True, slots=True)
class FabricStatistics:
    """The books at one moment, in datagrams: ``offered + duplicated == delivered + dropped + in_flight``.

    Fields:
        offered: handed to the fabric by cards.
        duplicated: copies that links made.
        delivered: handed to cards, copies included.
        dropped: by reason; reasons that did not occur are absent.
        in_flight: on their way, waiting in a link's queue included.
        corrupted: of those carried, with one bit flipped.
        reordered: of those carried, overtaken by a later one.
        marked: of those carried, marked Congestion Experienced.
    """

    offered: int = 0
    duplicated: int = 0
    delivered: int = 0
    dropped: Mapping[DropReason, int] = field(default_factory=dict)
    in_flight: int = 0
    corrupted: int = 0
    reordered: int = 0
    marked: int = 0

    @property
    def balanced(self) -> bool:
        """Whether every datagram is accounted for."""
        return self.offered + self.duplicated == self.delivered + sum(self.dropped.values()) + self.in_flight


class Ledger:
    """Running counts behind :class:`FabricStatistics`; the same fields."""

    __slots__ = (
        "corrupted",
        "delivered",
        "dropped",
        "duplicated",
        "in_flight",
        "marked",
        "offered",
        "reordered",
    )

    def __init__(self) -> None:
        self.offered = 0
        self.duplicated = 0
        self.delivered = 0
        self.dropped: Counter[DropReason] = Counter()
        self.in_flight = 0
        self.corrupted = 0
        self.reordered = 0
        self.marked = 0


def total(ledgers: Iterable[Ledger]) -> FabricStatistics:
    """The sum of several ledgers, frozen."""
    books = list(ledgers)
    dropped: Counter[DropReason] = Counter()
    for book in books:
        dropped.update(book.dropped)
    return FabricStatistics(
        offered=sum(book.offered for book in books),
        duplicated=sum(book.duplicated for book in books),
        delivered=sum(book.delivered for book in books),
        dropped=dict(dropped),
        in_flight=sum(book.in_flight for book in books),
        corrupted=sum(book.corrupted for book in books),
        reordered=sum(book.reordered for book in books),
        marked=sum(book.marked for book in books),
    )
