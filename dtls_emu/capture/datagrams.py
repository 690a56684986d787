"""What was put on the links of a run, datagram by datagram, and what became of each: a view of its events."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from dtls_emu.events import Damaged, Duplicated, Lost, Marked, Reordered, Sent


if TYPE_CHECKING:
    from dtls_emu.events import Event
    from dtls_emu.vocabulary import DropReason


__all__ = ["Datagram", "Datagrams", "LinkFate"]


@dataclass(slots=True)
class LinkFate:
    """What a link did to one datagram.

    Fields:
        lost: why it went no further, or None.
        reordered, duplicated, marked: as the events of these names say.
        damaged: the bit that was flipped, or -1.
    """

    lost: DropReason | None = None
    reordered: bool = False
    duplicated: bool = False
    marked: bool = False
    damaged: int = -1

    def take(self, event: Event) -> None:
        """Go by one of the events that follow a datagram's being sent; any other is passed over."""
        match event:
            case Lost():
                self.lost = event.reason
            case Reordered():
                self.reordered = True
            case Duplicated():
                self.duplicated = True
            case Marked():
                self.marked = True
            case Damaged():
                self.damaged = event.bit


@dataclass(frozen=True, slots=True)
class Datagram:
    """One datagram: that it was sent, and what its link did to it."""

    sent: Sent
    fate: LinkFate = field(default_factory=LinkFate)

    @property
    def payload(self) -> bytes:
        """As it was sent, if bytes were asked for."""
        return self.sent.payload


class Datagrams:
    """Collects them: ``simulate(lab, observer=datagrams)``.

    Args:
        wants_bytes: with their payloads.
    """

    def __init__(self, *, wants_bytes: bool = True) -> None:
        self.wants_bytes: Final = wants_bytes
        self.seen: list[Datagram] = []
        """In the order in which they were sent."""

    def __call__(self, event: Event) -> None:
        """Add a datagram, or what its link did to it."""
        if isinstance(event, Sent):
            self.seen.append(Datagram(event))
        elif self.seen and getattr(event, "datagram", 0) == self.seen[-1].sent.datagram:
            self.seen[-1].fate.take(event)

    @property
    def payloads(self) -> list[bytes]:
        """Of all of them."""
        return [each.payload for each in self.seen]
