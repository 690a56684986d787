"""What a card tells an observer: one small function for each thing that happens, called only when somebody observes.

The functions stand in the order of a packet's path, out and in, then the tunnels'. A card without an observer has no
watcher, and looks for one at most once for each burst and stage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dtls_emu.events import (
    Answered,
    AssociationOpened,
    Classified,
    Decided,
    Delivered,
    Direction,
    Dropped,
    FlightReceived,
    FlightRetransmitted,
    FlightSent,
    Forwarded,
    How,
    KeysRequested,
    Missed,
    Offered,
    Opened,
    PortClosed,
    PortOpened,
    Queued,
    Received,
    Refused,
    Rekeyed,
    Sealed,
    StateChanged,
    mark_of,
    packet_of,
    tagged,
)
from dtls_emu.nic.flow_ledger import FlowLedger, flow_id
from dtls_emu.tunnel import happenings as happening
from dtls_emu.wire.inspect import key_of, unpack_key


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from dtls_emu.events import Association, Event, Observer, UnderlayAddress
    from dtls_emu.nic.flow_ledger import Counts
    from dtls_emu.nic.flow_table import FlowCounts
    from dtls_emu.nic.flows import EgressFlow, IngressFlow
    from dtls_emu.policy import Decision
    from dtls_emu.tunnel.happenings import Happening
    from dtls_emu.vocabulary import DropReason
    from dtls_emu.wire.burst import Burst
    from dtls_emu.wire.inspect import FlowKey


__all__ = ["Watcher"]

_EPOCH_AT: Final = 3
_NUMBER_AT: Final = 5
_NUMBER_END: Final = 11
"""Of a record's header (RFC 6347 4.1)."""

_EVENT_OF: Final[dict[type[Happening], Callable[..., Event]]] = {
    happening.StateChanged: StateChanged,
    happening.FlightSent: FlightSent,
    happening.FlightRetransmitted: FlightRetransmitted,
    happening.FlightReceived: FlightReceived,
    happening.AssociationOpened: AssociationOpened,
    happening.Rekeyed: Rekeyed,
    happening.KeysRequested: KeysRequested,
    happening.PortOpened: PortOpened,
    happening.PortClosed: PortClosed,
}
"""Of what happens to a tunnel: the event has the same fields, and time, host and peer besides."""


class Watcher:
    """Tells an observer what one card does.

    Fields:
        host: name of the card's.
        now: the time of the call that the card is carrying out, in seconds; the card sets it first.
        flows: of the card's VMs.
    """

    def __init__(self, host: str, observer: Observer) -> None:
        """
        Args:
            host: name of the card's.
            observer: told of everything.
        """
        self.now = 0.0
        self.flows = FlowLedger(host, observer)
        self.host = host
        self._observer = observer
        self._sending: tuple[str, Burst | None] = "", None
        self._payloads: tuple[bytes, ...] = ()
        self._numbered = 0  # packets so far, where nobody else numbers them

    def _about(self, tag: int) -> tuple[float, str, int, int]:
        return self.now, self.host, mark_of(tag), packet_of(tag)

    def _bytes(self, burst: Burst) -> tuple[bytes, ...]:
        return tuple(row.tobytes() for row in burst.rows()) if self._observer.wants_bytes else ()

    def next_tag(self, packets: int, mark: int = 0) -> int:
        """A tag for packets that nobody has numbered yet: the next numbers are theirs."""
        first = self._numbered + 1
        self._numbered += packets
        return tagged(mark, first)

    # -------------------------------------------------------------------------------------------- from a VM

    def offered(self, vm: str, burst: Burst) -> None:
        """A VM, or the internet, whose name is "", handed packets to the card. They get a number, unless they have one."""
        if not packet_of(burst.mark):
            burst.mark = self.next_tag(burst.packets, burst.mark)
        self._observer(Offered(*self._about(burst.mark), vm, burst.packets, burst.nbytes, self._bytes(burst)))

    def sending(self, vm: str, burst: Burst) -> None:
        """The card begins to forward packets of a VM: what it tells until the next call is about them."""
        self._sending = vm, burst

    def classified(self, direction: Direction, vm: str, key: FlowKey, count: int, tag: int) -> None:
        """Packets belong to a flow."""
        self._observer(Classified(*self._about(tag), direction, vm, count, flow_id(key)))

    def missed(
        self, direction: Direction, vm: str, key: FlowKey, count: int, tag: int, *, stale: bool
    ) -> None:
        """The flow table had no valid entry for packets."""
        self._observer(Missed(*self._about(tag), direction, vm, count, flow_id(key), stale))

    def decided_egress(self, key: FlowKey, flow: EgressFlow, live: Counts, tag: int) -> None:
        """The slow path decided a flow of a VM, and it has an entry now."""
        self._decided(Direction.EGRESS, flow.vm, key, flow.decision, tag)
        self.flows.decided(Direction.EGRESS, flow.vm, key, live, flow.decision, tag, self.now)

    def _decided(self, direction: Direction, vm: str, key: FlowKey, decision: Decision, tag: int) -> None:
        row = decision.row
        self._observer(
            Decided(
                *self._about(tag),
                direction,
                vm,
                flow_id(key),
                row.number,
                row.name,
                decision.verdict,
                decision.code,
                decision.reason,
            )
        )

    def queued(self, peer: str, count: int, tag: int) -> None:
        """Packets wait for their tunnel."""
        self._observer(Queued(*self._about(tag), peer, count))

    def forwarded(self, flow: EgressFlow, burst: Burst, decision: Decision, how: str) -> None:
        """Packets of a flow leave the card, decided so; those for a VM of this host, or the gateway, are there."""
        about = self._about(burst.mark)
        left = How(how)
        words = decision.row.number, decision.verdict, decision.code
        self._observer(Forwarded(*about, left, burst.packets, *words))
        destination = flow.facts.destination
        if left is How.LOCAL and destination is not None:
            # The VM beside it has no entry for what it gets so: the flow is its own, too.
            self._count(Direction.INGRESS, destination.vm.name, destination.network.vni, burst, decision)
        if left in {How.LOCAL, How.GATEWAY}:
            self.delivered(flow.local_vm or "", burst)

    def sealed(self, peer: str, association: Association, wire: Burst) -> None:
        """Rows became records."""
        epoch, number = _epoch_and_number(wire.buffer, wire.offset)
        self._observer(Sealed(*self._about(wire.mark), peer, association, epoch, number, wire.count))

    def dropped(self, reason: DropReason, count: int, tag: int, decision: Decision | None = None) -> None:
        """Packets of a VM, or for one from the internet, go no further."""
        vm, burst = self._sending
        is_whole = burst is not None and burst.mark == tag and burst.packets == count
        packets = self._bytes(burst) if burst is not None and is_whole else ()
        row, verdict, code = (
            (0, None, None) if decision is None else (decision.row.number, decision.verdict, decision.code)
        )
        self._observer(Dropped(*self._about(tag), vm, reason, count, row, verdict, code, packets))

    def answered(self, vm: str, mtu: int, tag: int, answer: bytes) -> None:
        """The card tells a VM by ICMP what would fit."""
        shown = answer if self._observer.wants_bytes else b""
        self._observer(Answered(*self._about(tag), vm, mtu, shown))

    # ---------------------------------------------------------------------------------------- from the fabric

    def received(self, burst: Burst, source: UnderlayAddress, port: int) -> None:
        """Datagrams came in. What is told until the next call is about them."""
        self._payloads = self._bytes(burst)
        about = self._about(burst.mark)
        self._observer(Received(*about, source, port, burst.count, burst.nbytes, burst.tos, self._payloads))

    def refused(self, reason: DropReason, count: int, tag: int) -> None:
        """Records or datagrams go no further."""
        payloads = self._payloads if len(self._payloads) == count else ()
        self._observer(Refused(*self._about(tag), reason, count, payloads))

    def opened(self, peer: str, association: Association, burst: Burst, status: NDArray[np.uint8]) -> None:
        """Records verified: those rows whose status is 0."""
        rows = np.flatnonzero(status[: burst.count] == 0).tolist()
        seen = [_epoch_and_number(burst.buffer, row * burst.stride) for row in rows]
        numbers = tuple(number for _, number in seen)
        if seen:
            self._observer(Opened(*self._about(burst.mark), peer, association, seen[0][0], numbers))

    def classified_ingress(self, key: FlowKey, burst: Burst, *, is_valid: bool, is_known: bool) -> None:
        """Packets from the fabric belong to a flow; whether the flow table knows it, and still holds it for valid."""
        about = self._about(burst.mark)
        flow = flow_id(key)
        self._observer(Classified(*about, Direction.INGRESS, "", burst.count, flow))
        if not is_valid:
            self._observer(Missed(*about, Direction.INGRESS, "", burst.count, flow, is_known))

    def decided_ingress(
        self, key: FlowKey, flow: IngressFlow, live: Counts, tag: int, *, in_clear: bool
    ) -> None:
        """The slow path decided who may send a flow to a VM, and it has an entry now. Its first packet came so."""
        if flow.vm:
            came = flow.fallback if in_clear and flow.accepts_clear else flow.decision
            self.flows.decided(Direction.INGRESS, flow.vm, key, live, None, tag, self.now, came=came)

    def came_in(self, vm: str, vni: int, burst: Burst, decision: Decision) -> None:
        """A packet came from the gateway, for which no flow table has an entry, and is handed to a VM.

        The decision is that of what the VM sends there.
        """
        self._count(Direction.INGRESS, vm, vni, burst, decision)
        self.delivered(vm, burst)

    def _count(self, direction: Direction, vm: str, vni: int, burst: Burst, came: Decision) -> None:
        _, words = key_of(burst.row(0).tobytes(), vni)
        counted = burst.packets, burst.nbytes, burst.mark
        self.flows.count(direction, vm, unpack_key(words), *counted, self.now, came=came)

    def delivered(self, vm: str, burst: Burst) -> None:
        """The card hands packets to a VM, or to the gateway, whose name is ""."""
        self._observer(
            Delivered(*self._about(burst.mark), vm, burst.packets, burst.nbytes, self._bytes(burst))
        )

    # -------------------------------------------------------------------------------------------- the tunnels

    def happened(self, peer: str, happenings: Iterable[Happening]) -> None:
        """What a call of a tunnel has caused, in order."""
        for each in happenings:
            kind = _EVENT_OF[type(each)]
            words = {name: getattr(each, name) for name in type(each).__slots__}
            if isinstance(each, happening.StateChanged):
                words = {name: str(value) for name, value in words.items()}
            if not isinstance(each, happening.PortOpened | happening.PortClosed):
                words["peer"] = peer
            self._observer(kind(self.now, self.host, **words))

    def flow_ended(self, direction: Direction, counts: FlowCounts[Any]) -> None:
        """A flow has left a table, or is decided anew."""
        self.flows.ended(direction, counts.key, counts.packets, counts.nbytes)

    def close(self, now: float | None) -> None:
        """The card is done: its flows end, now, or when it was called last. Idempotent."""
        self.flows.close(self.now if now is None else now)


def _epoch_and_number(buffer: NDArray[np.uint8], at: int) -> tuple[int, int]:
    """Of the record whose header begins at a place."""
    header = buffer[at : at + _NUMBER_END].tobytes()
    return int.from_bytes(header[_EPOCH_AT:_NUMBER_AT]), int.from_bytes(header[_NUMBER_AT:])
