"""Who is told of events, and the number by which they know a packet again."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final, Protocol


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dtls_emu.events.base import Event


__all__ = [
    "Observer",
    "fan_out",
    "mark_of",
    "observer_of",
    "packet_of",
    "tagged",
    "without_bytes",
]

_MARK_BITS: Final = 32
"""Of the number that follows a packet through cards and fabric; its number in the run stands above them."""


def tagged(mark: int, packet: int) -> int:
    """What follows a packet through cards and fabric: its mark, and its number, in one integer."""
    return packet << _MARK_BITS | mark


def mark_of(tag: int) -> int:
    """Whose a packet is."""
    return tag & ((1 << _MARK_BITS) - 1)


def packet_of(tag: int) -> int:
    """The number of a packet, or of the first of its burst; 0 when it has none."""
    return tag >> _MARK_BITS


class Observer(Protocol):
    """Whoever watches. It must not raise, nor keep the run waiting for long.

    Fields:
        wants_bytes: fill in the fields for the bytes of packets and datagrams, which are empty otherwise. Copying
            them costs more than everything else that an event does.
    """

    @property
    def wants_bytes(self) -> bool:
        """See the class."""

    def __call__(self, event: Event, /) -> object:
        """Take an event."""


@dataclass(frozen=True, slots=True)
class _Calling:
    callback: Callable[[Event], object]
    wants_bytes: bool

    def __call__(self, event: Event, /) -> object:
        return self.callback(event)


def observer_of(callback: Callable[[Event], object], *, wants_bytes: bool = False) -> Observer:
    """An observer from any function, such as the ``append`` of a list."""
    return _Calling(callback, wants_bytes)


def without_bytes(event: Event) -> Event:
    """An event as it is told to an observer that does not want bytes; the same one where it has none."""
    kind = type(event)
    empty = _EMPTY.get(kind)
    if empty is None:
        empty = _EMPTY[kind] = {
            each.name: each.default for each in fields(kind) if each.type in {"bytes", "tuple[bytes, ...]"}
        }
    return replace(event, **empty) if any(getattr(event, name) for name in empty) else event


_EMPTY: Final[dict[type[Event], dict[str, Any]]] = {}
"""What fields for bytes have where there are none; by kind of event, found on first use."""


def fan_out(observers: Iterable[Observer]) -> Observer | None:
    """One observer that tells several, in this order; None for none. Each is shown bytes only if it wants them."""
    everyone = tuple(observers)
    if len(everyone) < 2:
        return everyone[0] if everyone else None
    return _FannedOut(everyone)


@dataclass(frozen=True, slots=True)
class _FannedOut:
    everyone: tuple[Observer, ...]

    @property
    def wants_bytes(self) -> bool:
        return any(each.wants_bytes for each in self.everyone)

    def __call__(self, event: Event, /) -> None:
        bare: Event | None = None
        for each in self.everyone:
            if each.wants_bytes:
                each(event)
            else:
                bare = bare or without_bytes(event)
                each(bare)
