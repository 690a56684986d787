"""What becomes of a datagram on a link."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from dtls_emu.events.base import UnderlayAddress
    from dtls_emu.vocabulary import DropReason


__all__ = ["Fate", "WireEvent"]


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one datagram.

    Fields:
        dropped: why, or None when it is carried; the other fields then say how.
        arrival_ns: when it reaches the other end.
        reordered: it waits there until the next one has passed it.
        duplicated: a copy comes right behind it.
        flipped_bit: number of the payload bit that is flipped, or -1.
        marked: it is marked CE outside.
    """

    dropped: DropReason | None = None
    arrival_ns: int = 0
    reordered: bool = False
    duplicated: bool = False
    flipped_bit: int = -1
    marked: bool = False


@dataclass(frozen=True, slots=True)
class WireEvent:
    """One datagram that a host put on the wire, as a tap sees it.

    Fields:
        time: when it was sent, in seconds.
        source, destination: underlay address and UDP port.
        payload: as it was sent, before any corruption.
        mark: of its burst.
        fate: what becomes of it.
        tos: type of service, or traffic class, of the outer packet as it was sent.
    """

    time: float
    source: UnderlayAddress
    destination: UnderlayAddress
    payload: bytes
    mark: int
    fate: Fate
    tos: int = 0
