"""A run as a story: what each event says, in a word and a sentence; and one packet's whole path.

A line says what the code did, with the numbers that it used. Nothing that left in clear is ever called encrypted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dtls_emu.events import (
    Answered,
    AssociationOpened,
    CardRestarted,
    Classified,
    Damaged,
    Decided,
    Delivered,
    Direction,
    Dropped,
    Duplicated,
    FlightReceived,
    FlightRetransmitted,
    FlightSent,
    FlowContinued,
    FlowEnded,
    FlowStarted,
    Forwarded,
    How,
    KeysRequested,
    LabChanged,
    Lost,
    Marked,
    Missed,
    Offered,
    Opened,
    PacketEvent,
    PortClosed,
    PortOpened,
    Queued,
    Received,
    Refused,
    Rekeyed,
    Reordered,
    Sealed,
    Sent,
    StateChanged,
)
from dtls_emu.vocabulary import Verdict


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from dtls_emu.events import Event, FlowCounters, FlowId


__all__ = ["PROTOCOLS", "Line", "hosts_of", "packet_events", "tell"]

PROTOCOLS: Final = {1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMPv6"}
"""Names, as IP numbers them."""

_HOW: Final = {
    How.ENCRYPTED: "to be encrypted",
    How.CLEAR: "in clear, over the fabric",
    How.LOCAL: "in clear, to a VM of the same host",
    How.GATEWAY: "in clear, to the internet",
}


@dataclass(frozen=True, slots=True)
class Line:
    """An event in words.

    Fields:
        time: seconds on the lab's clock.
        host: where it happened; "" for the whole lab.
        what: in a word or two.
        text: the rest of the sentence.
        packet: number of the packet; 0 where it is about none.
    """

    time: float
    host: str
    what: str
    text: str
    packet: int = 0


def tell(event: Event) -> Line:
    """An event in words."""
    what, text = _TELLERS[type(event)](event)
    packet = event.packet if isinstance(event, PacketEvent) else 0
    return Line(event.time, event.host, what, text, packet)


def hosts_of(events: Iterable[Event]) -> list[str]:
    """Names of hosts, in the order in which they first do something."""
    return list(dict.fromkeys(event.host for event in events if event.host))


def packet_events(events: Sequence[Event], packet: int) -> list[Event]:
    """What happened to one packet, from its VM to where it ended; while it waited for its tunnel, that tunnel's story too.

    Packets of a burst share its story up to where they are sealed, and from then on the number of its record tells one
    from another: datagrams and what a card does with them are those of that record.
    """
    burst = next(
        (
            event
            for event in events
            if isinstance(event, Offered) and event.packet <= packet < event.packet + event.count
        ),
        None,
    )
    if burst is None:
        return []
    path = _Path(burst.packet, packet - burst.packet)
    return [event for event in events if path.takes(event)]


class _Path:
    """Goes along a trace and says which events are about one packet of a burst.

    Args:
        first: number of the burst's first packet.
        place: of the packet in the burst, from 0.
    """

    def __init__(self, first: int, place: int) -> None:
        self._first = first
        self._place = place
        self._datagrams: set[int] = set()
        self._waiting: tuple[str, str] | None = None
        self._sealed = 0
        self._number: int | None = None
        self._left = 0  # datagrams of records before the one looked for
        self._here = True

    def takes(self, event: Event) -> bool:
        """Whether an event is about it. To be asked about each, in order."""
        if not isinstance(event, PacketEvent):
            return (
                self._waiting is not None
                and isinstance(event, _WHILE_WAITING)
                and {event.host, event.peer} == set(self._waiting)
            )
        if event.packet != self._first:
            return False
        match event:
            case Queued():
                self._waiting = (event.host, event.peer)
            case Forwarded() | Dropped():
                self._waiting = None
            case Sealed():
                return self._takes_sealed(event)
            case Sent():
                return self._takes_sent(event)
            case Lost() | Duplicated() | Damaged() | Reordered() | Marked() if event.datagram:
                return event.datagram in self._datagrams
            case Opened():
                self._here = self._number is None or self._number in event.numbers
                return self._here
            case Classified() | Missed() | FlowStarted() | Delivered() | Refused():
                return self._here
        return True

    def _takes_sealed(self, event: Sealed) -> bool:
        before, self._sealed = self._sealed, self._sealed + event.count
        if not before <= self._place < self._sealed:
            return False
        self._number = event.number + self._place - before
        self._left = self._place - before
        return True

    def _takes_sent(self, event: Sent) -> bool:
        """Datagrams of a burst are sent in the order in which they were sealed."""
        if self._number is None and self._sealed:
            return False
        if self._left > 0:
            self._left -= 1
            return False
        if self._number is not None and self._datagrams:
            return False
        self._datagrams.add(event.datagram)
        return True


_WHILE_WAITING: Final = (
    FlightSent,
    FlightReceived,
    FlightRetransmitted,
    StateChanged,
    AssociationOpened,
    Rekeyed,
    KeysRequested,
)


# ------------------------------------------------------------------------------------------------ in words


def _packets(count: int) -> str:
    return "1 packet" if count == 1 else f"{count} packets"


def _flow(flow: FlowId) -> str:
    name = PROTOCOLS.get(flow.protocol, f"protocol {flow.protocol}")
    if flow.source_port or flow.destination_port:
        ends = f"{flow.source} port {flow.source_port} to {flow.destination} port {flow.destination_port}"
    else:
        ends = f"{flow.source} to {flow.destination}"
    return f"{name} {ends}" + (", fragments" if flow.fragment else "")


def _offered(event: Offered) -> tuple[str, str]:
    who = event.vm or "the internet"
    return "offered", f"{who} sends {_packets(event.count)}, {event.nbytes} bytes"


def _classified(event: Classified) -> tuple[str, str]:
    return "classified", f"{_flow(event.flow)}, VNI {event.flow.vni}"


def _missed(event: Missed) -> tuple[str, str]:
    why = "its entry in the flow table is of an older state" if event.stale else "no entry in the flow table"
    then = "decides" if event.direction is Direction.EGRESS else "looks where it belongs"
    return "missed", f"{why}: the slow path {then}"


def _decided(event: Decided) -> tuple[str, str]:
    verdicts = {
        Verdict.ENCRYPT: "encrypt",
        Verdict.CLEAR: "send in clear",
        Verdict.DROP: f"drop, {event.reason}",
    }
    code = f", code {event.code}" if event.code else ""
    return "decided", f"row {event.row}, {event.name}: {verdicts[event.verdict]}{code}"


def _queued(event: Queued) -> tuple[str, str]:
    return "queued", f"{_packets(event.count)} until the tunnel to {event.peer} is up"


def _forwarded(event: Forwarded) -> tuple[str, str]:
    code = f", code {event.code}" if event.code else ""
    return "forwarded", f"{_packets(event.count)} {_HOW[event.how]}: row {event.row}{code}"


def _sealed(event: Sealed) -> tuple[str, str]:
    last = f" to {event.number + event.count - 1}" if event.count > 1 else ""
    return "sealed", f"for {event.peer}: epoch {event.epoch}, number {event.number}{last}"


def _sent(event: Sent) -> tuple[str, str]:
    address, port = event.destination
    return "sent", f"datagram {event.datagram} to {address} port {port}, {event.length} bytes of payload"


def _lost(event: Lost) -> tuple[str, str]:
    which = f"datagram {event.datagram}" if event.datagram else _packets(event.count)
    return "lost", f"{which}: {event.reason}"


def _duplicated(event: Duplicated) -> tuple[str, str]:
    return "duplicated", f"the link makes a copy of datagram {event.datagram}"


def _damaged(event: Damaged) -> tuple[str, str]:
    return "damaged", f"the link flips bit {event.bit} of datagram {event.datagram}"


def _reordered(event: Reordered) -> tuple[str, str]:
    return "reordered", f"datagram {event.datagram} lets the next one pass"


def _marked(event: Marked) -> tuple[str, str]:
    return "marked", f"datagram {event.datagram} has met congestion (CE)"


def _received(event: Received) -> tuple[str, str]:
    address, port = event.source
    count = "1 datagram" if event.count == 1 else f"{event.count} datagrams"
    return "received", f"{count} from {address} port {port}, {event.nbytes} bytes"


def _refused(event: Refused) -> tuple[str, str]:
    return "refused", f"{event.count}: {event.reason}"


def _opened(event: Opened) -> tuple[str, str]:
    numbers = ", ".join(map(str, event.numbers[:8])) + (", ..." if len(event.numbers) > 8 else "")
    word = "number" if len(event.numbers) == 1 else "numbers"
    return "opened", f"from {event.peer}: epoch {event.epoch}, {word} {numbers}; the tag verifies"


def _delivered(event: Delivered) -> tuple[str, str]:
    return "delivered", f"{_packets(event.count)}, {event.nbytes} bytes, to {event.vm or 'the internet'}"


def _dropped(event: Dropped) -> tuple[str, str]:
    row = f" (row {event.row})" if event.row else ""
    return "dropped", f"{_packets(event.count)} of {event.vm}: {event.reason}{row}"


def _answered(event: Answered) -> tuple[str, str]:
    return "answered", f"{event.vm} is told by ICMP that {event.mtu} bytes fit"


def _flight(event: FlightSent | FlightReceived | FlightRetransmitted) -> str:
    count = "1 datagram" if event.datagrams == 1 else f"{event.datagrams} datagrams"
    return f"{count} of a handshake, {event.nbytes} bytes"


def _flight_sent(event: FlightSent) -> tuple[str, str]:
    return "flight out", f"{_flight(event)}, to {event.peer}"


def _flight_received(event: FlightReceived) -> tuple[str, str]:
    return "flight in", f"{_flight(event)}, from {event.peer}"


def _flight_retransmitted(event: FlightRetransmitted) -> tuple[str, str]:
    return "flight again", f"{_flight(event)}, to {event.peer}, retransmission {event.retransmission}"


def _state_changed(event: StateChanged) -> tuple[str, str]:
    why = f": {event.failure}" if event.failure else ""
    return "tunnel", f"to {event.peer}: {event.before}, then {event.after}{why}"


def _association_opened(event: AssociationOpened) -> tuple[str, str]:
    role = "client" if event.client else "server"
    return "keys", f"association {event.number} with {event.peer} stands, this end was its {role}"


def _rekeyed(event: Rekeyed) -> tuple[str, str]:
    if event.association is None:
        return "keys", f"none are in force towards {event.peer}"
    if event.replaces is None:
        return "keys", f"towards {event.peer} in force"
    return "keys", f"new ones in force towards {event.peer}, the old ones seal nothing more"


def _keys_requested(event: KeysRequested) -> tuple[str, str]:
    return "keys", f"asks the broker for a session with {event.peer}, on port {event.port}"


def _port_opened(event: PortOpened) -> tuple[str, str]:
    return "port", f"{event.port} is in use"


def _port_closed(event: PortClosed) -> tuple[str, str]:
    return "port", f"{event.port} is no longer in use"


def _flow_started(event: FlowStarted) -> tuple[str, str]:
    return "flow begins", f"{_flow(event.flow)}, of {event.vm}"


def _counters(event: FlowCounters) -> str:
    return f"out {event.packets_out} packets, {event.bytes_out} bytes; in {event.packets_in} packets, {event.bytes_in} bytes"


def _flow_continued(event: FlowContinued) -> tuple[str, str]:
    return "flow goes on", f"{_flow(event.flow)}, of {event.vm}: {_counters(event)}"


def _flow_ended(event: FlowEnded) -> tuple[str, str]:
    return "flow ends", f"{_flow(event.flow)}, of {event.vm}: {_counters(event)}"


def _lab_changed(event: LabChanged) -> tuple[str, str]:
    return "lab changed", f"{'.'.join(event.path)}: {event.value}"


def _card_restarted(event: CardRestarted) -> tuple[str, str]:
    protects = "" if event.protects else ", which protects nothing"
    return (
        "card starts",
        f"anew, with backend {event.backend}{protects}: its tunnels, flows and counters begin again",
    )


_TELLERS: Final[dict[type[Event], Callable[..., tuple[str, str]]]] = {
    Offered: _offered,
    Classified: _classified,
    Missed: _missed,
    Decided: _decided,
    Queued: _queued,
    Forwarded: _forwarded,
    Sealed: _sealed,
    Sent: _sent,
    Lost: _lost,
    Duplicated: _duplicated,
    Damaged: _damaged,
    Reordered: _reordered,
    Marked: _marked,
    Received: _received,
    Refused: _refused,
    Opened: _opened,
    Delivered: _delivered,
    Dropped: _dropped,
    Answered: _answered,
    FlightSent: _flight_sent,
    FlightReceived: _flight_received,
    FlightRetransmitted: _flight_retransmitted,
    StateChanged: _state_changed,
    AssociationOpened: _association_opened,
    Rekeyed: _rekeyed,
    KeysRequested: _keys_requested,
    PortOpened: _port_opened,
    PortClosed: _port_closed,
    FlowStarted: _flow_started,
    FlowContinued: _flow_continued,
    FlowEnded: _flow_ended,
    LabChanged: _lab_changed,
    CardRestarted: _card_restarted,
}
