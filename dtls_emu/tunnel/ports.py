"""Local UDP ports for a card's own attempts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dtls_emu.tunnel.happenings import PortOpened


if TYPE_CHECKING:
    from dtls_emu.tunnel.journal import Journal


__all__ = ["DYNAMIC_PORTS", "PORT_TRIES", "LocalPorts", "PortAllocator"]

_FIRST: Final = 49_152
_LAST: Final = 65_535
DYNAMIC_PORTS: Final = range(_FIRST, _LAST + 1)
"""The dynamic range (RFC 6335 6)."""

PORT_TRIES: Final = 64
"""Ports that one attempt tries, should they be other programs': some 3 ms. A program with more of them in a row costs a
pause between two attempts; and where none can be opened, for want of files say, more would not help."""


class PortAllocator:
    """Hands out the dynamic range in turn: a port rests as long as possible before it is used again.

    Args:
        first: where to begin. A card that restarts does well to begin elsewhere, so that its old associations
            and its new ones do not meet on one 4-tuple (they may, it only takes longer), and so that nobody off
            the path can tell where its attempts are to be found (RFC 6056).
    """

    def __init__(self, first: int = _FIRST) -> None:
        self._next = first
        self._taken: set[int] = set()

    def take(self) -> int:
        """A port that is not in use."""
        while self._next in self._taken:
            self._step()
        port = self._next
        self._taken.add(port)
        self._step()
        return port

    def give_back(self, port: int) -> None:
        """The port may be used again, after all others."""
        self._taken.discard(port)

    def _step(self) -> None:
        self._next = _FIRST if self._next >= _LAST else self._next + 1


class LocalPorts:
    """The local ports of one tunnel.

    Args:
        allocator: of the whole card.
        service_port: where handshakes are answered; it is never given back.
        journal: is told of each port that is no longer in use.
    """

    def __init__(self, allocator: PortAllocator, service_port: int, journal: Journal) -> None:
        self._allocator = allocator
        self._service_port = service_port
        self._journal = journal

    def take(self) -> int:
        """A port that is not in use."""
        port = self._allocator.take()
        if self._journal.is_observed:
            self._journal.note(PortOpened(port))
        return port

    def release(self, port: int) -> None:
        """An attempt or an association does not need this port any more; nothing happens to the service port."""
        if port != self._service_port:
            self._allocator.give_back(port)
            self._journal.close_port(port)
