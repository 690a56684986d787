"""What a capture remarks on packets: where something was decided about one, or happened to it, in a line.

Events name bursts; a capture has packets. Which packet of a burst an event is about follows from what is known of it:
an event for all of them is about each; a record that was opened is known by its number, so that those that were refused
are the others; a dropped packet is known by its bytes. Where several of a burst could be meant, the remark says of how
many.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from dtls_emu.events import (
    Answered,
    Damaged,
    Decided,
    Dropped,
    Duplicated,
    FlightRetransmitted,
    Lost,
    Marked,
    Offered,
    Opened,
    Queued,
    Received,
    Refused,
    Reordered,
    Sent,
)
from dtls_emu.policy import rows
from dtls_emu.wire.record import pull_records_untrusted


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dtls_emu.events import Event, PacketEvent, UnderlayAddress
    from dtls_emu.vocabulary import DropReason, FlowEncryption


__all__ = ["Remarks"]

_ROWS: Final = {row.number: row.name for row in rows()}


@dataclass(slots=True)
class _Arrival:
    """Datagrams that came in together.

    Fields:
        index: of their event.
        payloads: of each.
        opened: places of those whose record verified.
        unopened, unwanted: why, and how many, were refused before and after that.
    """

    index: int
    payloads: tuple[bytes, ...]
    opened: list[int] = field(default_factory=list)
    unopened: list[tuple[DropReason, int]] = field(default_factory=list)
    unwanted: list[tuple[DropReason, int]] = field(default_factory=list)

    def open(self, epoch: int, numbers: list[int]) -> None:
        """Take the numbers of records that verified, and leave those that are not here."""
        for place, payload in enumerate(self.payloads):
            if place in self.opened:
                continue
            for record in pull_records_untrusted(payload):
                if record.header.epoch == epoch and record.header.sequence in numbers:
                    numbers.remove(record.header.sequence)
                    self.opened.append(place)
                    break


class Remarks:
    """The remarks on the packets of a run.

    Args:
        events: of the run, with bytes.
    """

    def __init__(self, events: Sequence[Event]) -> None:
        self._events = events
        self._said: defaultdict[tuple[int, int], dict[str, None]] = defaultdict(dict)
        # By host, too: hosts that are up number what they have by themselves.
        self._offered: dict[tuple[str, int], int] = {}
        self._sent: dict[tuple[str, int], int] = {}
        self._arrivals: defaultdict[tuple[str, int], list[_Arrival]] = defaultdict(list)
        self._again: dict[tuple[str, int, int], tuple[int, int]] = {}
        self._damaged: dict[tuple[UnderlayAddress, int, bytes], tuple[int, int]] = {}
        for index, event in enumerate(events):
            self._take(index, event)
        for arrivals in self._arrivals.values():
            for arrival in arrivals:
                self._refuse(arrival)

    def on(self, index: int, place: int) -> tuple[str, ...]:
        """The remarks on one packet.

        Args:
            index: of the event that has it, among those of the run.
            place: of the packet in the event.
        """
        return tuple(self._said.get((index, place), ()))

    def damage(self, source: UnderlayAddress, port: int, payload: bytes) -> int:
        """The bit of a datagram's payload that its link has flipped, as it came in; -1: none."""
        return self._damaged.get((source, port, payload), (0, -1))[1]

    # ------------------------------------------------------------------------------------------------ events

    def _take(self, index: int, event: Event) -> None:
        match event:
            case Offered():
                self._offered[event.host, event.packet] = index
                if not event.vm:
                    self._arrivals[event.host, event.packet].append(_Arrival(index, event.packets))
            case Decided():
                words = f"decided: row {event.row}, {event.name}: {event.verdict}{_code(event.code)}"
                self._say_of_first(event, words)
            case Queued():
                self._say_of_first(event, f"waits for the tunnel to {event.peer}")
            case Dropped():
                self._drop(event)
            case Answered():
                self._say(index, 0, f"made by the card of {event.host}: {event.mtu} bytes would fit")
            case FlightRetransmitted():
                ends = event.host, *event.association
                self._again[ends] = event.datagrams, event.retransmission
            case Sent():
                self._sent[event.host, event.datagram] = index
                self._send(index, event)
            case Lost() | Duplicated() | Damaged() | Reordered() | Marked():
                if (event.host, event.datagram) in self._sent:
                    self._on_link(self._sent[event.host, event.datagram], event)
            case Received():
                self._receive(index, event)
            case Refused():
                self._note_refused(event)
            case Opened():
                numbers = list(event.numbers)
                arrivals = self._arrivals[event.host, event.packet]
                # What nobody has numbered is told of burst by burst.
                for arrival in reversed(arrivals if event.packet else arrivals[-1:]):
                    arrival.open(event.epoch, numbers)

    def _say(self, index: int, place: int, words: str) -> None:
        self._said[index, place][words] = None

    def _say_of_first(self, event: PacketEvent, words: str) -> None:
        index = self._offered.get((event.host, event.packet))
        if index is not None:
            self._say(index, 0, words)

    # ----------------------------------------------------------------------------------------- from a VM

    def _drop(self, event: Dropped) -> None:
        index = self._offered.get((event.host, event.packet))
        if index is None:
            return
        offered = self._events[index]
        assert isinstance(offered, Offered)
        row = f" (row {event.row}, {_ROWS.get(event.row, '?')}{_code(event.code)})" if event.row else ""
        words = f"dropped: {event.reason}{row}"
        if event.count == offered.count:
            places: Iterable[int] = range(len(offered.packets))
        else:
            places = [at for at, packet in enumerate(offered.packets) if packet in event.packets]
        for place in places:
            self._say(index, place, words)
        if not places:
            self._say(index, 0, f"{words}: {event.count} of {offered.count} of this burst")

    # ---------------------------------------------------------------------------------------- on the fabric

    def _send(self, index: int, event: Sent) -> None:
        ends = event.host, event.source[1], event.destination[1]
        left, retransmission = self._again.get(ends, (0, 0))
        if left:
            self._again[ends] = left - 1, retransmission
            self._say(index, 0, f"handshake: retransmission {retransmission} of this flight")

    def _on_link(self, index: int, event: Lost | Duplicated | Damaged | Reordered | Marked) -> None:
        sent = self._events[index]
        assert isinstance(sent, Sent)
        match event:
            case Lost():
                self._say(index, 0, f"dropped on the link: {event.reason}")
            case Duplicated():
                self._say(index, 0, "the link makes a copy")
            case Reordered():
                self._say(index, 0, "the link lets the next one pass")
            case Marked():
                self._say(index, 0, "the link marks it: congestion experienced")
            case Damaged():
                self._say(index, 0, f"the link flips bit {event.bit} of the payload")
                flipped = bytearray(sent.payload)
                if event.bit < 8 * len(flipped):
                    flipped[event.bit // 8] ^= 1 << event.bit % 8
                where = sent.source, sent.destination[1], bytes(flipped)
                self._damaged[where] = index, event.bit

    # ------------------------------------------------------------------------------------------ to a VM

    def _receive(self, index: int, event: Received) -> None:
        self._arrivals[event.host, event.packet].append(_Arrival(index, event.payloads))
        for place, payload in enumerate(event.payloads):
            bit = self.damage(event.source, event.port, payload)
            if bit >= 0:
                self._say(index, place, f"damaged: the link has flipped bit {bit} of the payload")

    def _note_refused(self, event: Refused) -> None:
        arrivals = self._arrivals[event.host, event.packet]
        if arrivals:
            arrival = arrivals[-1]
            reasons = arrival.unwanted if arrival.opened else arrival.unopened
            reasons.append((event.reason, event.count))

    def _refuse(self, arrival: _Arrival) -> None:
        closed = [place for place in range(len(arrival.payloads)) if place not in arrival.opened]
        for reasons, places in ((arrival.unopened, closed), (arrival.unwanted, arrival.opened)):
            count = sum(each for _, each in reasons)
            if len({reason for reason, _ in reasons}) == 1 and count == len(places):
                words = f"dropped: {reasons[0][0]}"
            else:
                counts = ", ".join(f"{reason} {each}" for reason, each in reasons)
                words = f"dropped: {counts}; of {len(places)} that came in together"
            for place in places if reasons else ():
                self._say(arrival.index, place, words)


def _code(code: FlowEncryption | None) -> str:
    return f", code {code}" if code else ""
