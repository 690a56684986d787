"""A run's events as the page gets them: one row each, with what its pictures need and without the bytes.

A row is ``[time, kind, host, packet, count, word, sentence, about]``: seconds, the event's name, the host, the number of
the packet (of the first one of a burst) and how many there are, what :func:`~dtls_emu.teach.story.tell` says, and an
object with what this kind of event has besides. Bytes are asked for one packet at a time: they are nine tenths of a trace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dtls_emu.events import (
    EVENTS,
    CardRestarted,
    Classified,
    Damaged,
    Decided,
    Delivered,
    Dropped,
    Duplicated,
    FlowCounters,
    FlowStarted,
    Forwarded,
    Lost,
    Marked,
    Offered,
    Opened,
    PacketEvent,
    Received,
    Refused,
    Rekeyed,
    Reordered,
    Sealed,
    Sent,
    StateChanged,
)
from dtls_emu.teach.story import tell
from dtls_emu.wire.protocol import APPLICATION_DATA, is_handshake


if TYPE_CHECKING:
    from collections.abc import Mapping

    from dtls_emu.events import Event, FlowId


__all__ = ["KINDS", "Journal"]

KINDS: Final = tuple(EVENTS)
"""Names of kinds of events, in the order of a packet's path."""

_NAMES: Final = {kind: name for name, kind in EVENTS.items()}
_NANOSECONDS: Final = 1e9


class Journal:
    """Makes rows of events, which are to be given in order.

    Args:
        hosts: name of the host by underlay address.
        unprotected: names of hosts whose backend has no cipher: their records are never shown as sealed.
    """

    def __init__(self, hosts: Mapping[str, str], unprotected: frozenset[str] = frozenset()) -> None:
        self._hosts = hosts
        self._unprotected = set(unprotected)
        self._sealed: set[int] = set()

    def row(self, event: Event) -> list[Any]:
        """An event as a row."""
        line = tell(event)
        if isinstance(event, Sealed):
            self._sealed.add(event.packet)
        packet = event.packet if isinstance(event, PacketEvent) else 0
        count = getattr(event, "count", 1) if packet else 0
        return [
            event.time,
            _NAMES[type(event)],
            event.host,
            packet,
            count,
            line.what,
            line.text,
            self.about(event),
        ]

    def protects(self, host: str, *, protects: bool) -> None:
        """Whether the card of a host has a cipher, from now on."""
        (self._unprotected.discard if protects else self._unprotected.add)(host)

    def is_unprotected(self, host: str) -> bool:
        """Whether it has none."""
        return host in self._unprotected

    def about(self, event: Event) -> dict[str, Any]:
        """What an event of its kind has besides."""
        match event:
            case Sent():
                return {
                    "d": event.datagram,
                    "to": self._hosts.get(event.destination[0], event.destination[0]),
                    "at": event.arrival / _NANOSECONDS if event.arrival >= 0 else None,
                    "as": self._shape(event),
                    "n": event.length,
                }
            case Lost():
                return {"d": event.datagram, "why": str(event.reason)}
            case Duplicated() | Damaged() | Reordered() | Marked():
                return {"d": event.datagram}
            case Offered() | Delivered():
                return {"vm": event.vm, "n": event.nbytes}
            case Dropped():
                return {"vm": event.vm, "why": str(event.reason), "row": event.row}
            case Refused():
                return {"why": str(event.reason)}
            case Received():
                return {"from": self._hosts.get(event.source[0], event.source[0])}
            case Decided():
                return {"vm": event.vm, "row": event.row, "name": event.name, "verdict": str(event.verdict)}
            case Forwarded():
                return {"how": str(event.how), "row": event.row}
            case Classified():
                return {"vm": event.vm, "flow": _flow(event.flow)}
            case FlowStarted() | FlowCounters():
                return _counted(event)
            case Sealed():
                return {"peer": event.peer, "epoch": event.epoch, "number": event.number + event.count - 1}
            case Opened():
                return {"peer": event.peer, "epoch": event.epoch}
            case StateChanged():
                return {"peer": event.peer, "state": event.after, "failure": event.failure}
            case Rekeyed():
                return {
                    "peer": event.peer,
                    "keys": None if event.association is None else list(event.association),
                }
            case CardRestarted():
                self.protects(event.host, protects=event.protects)
                return {"backend": event.backend}
        peer = getattr(event, "peer", None)
        return {} if peer is None else {"peer": peer}

    def _shape(self, event: Sent) -> str:
        """What whoever is on the fabric can tell: sealed, handshake or clear; and a record without a cipher is clear."""
        if event.payload:
            first = event.payload[0]
            is_record = first == APPLICATION_DATA
            is_clear = not is_record and not is_handshake(first)
        else:
            is_record = event.packet in self._sealed
            is_clear = not is_record and bool(event.packet)
        if is_clear:
            return "clear"
        if not is_record:
            return "handshake"
        return "unprotected" if self.is_unprotected(event.host) else "sealed"


def _flow(flow: FlowId) -> list[Any]:
    return [
        flow.vni,
        flow.protocol,
        flow.source,
        flow.source_port,
        flow.destination,
        flow.destination_port,
        flow.fragment,
    ]


def _counted(event: FlowStarted | FlowCounters) -> dict[str, Any]:
    found: dict[str, Any] = {
        "vm": event.vm,
        "flow": _flow(event.flow),
        "direction": str(event.direction),
        "row": event.row,
        "verdict": str(event.verdict or ""),
        "code": str(event.code or ""),
    }
    if isinstance(event, FlowCounters):
        found["out"] = [event.packets_out, event.bytes_out]
        found["in"] = [event.packets_in, event.bytes_in]
    return found
