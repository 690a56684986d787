"""What a card tells an observer: one small function for each thing that happens, called only when somebody observes.

The functions stand in the order of a packet's path, out and in, then the tunnels'. A card without an observer has no
watcher, and looks for one at most once for each burst and stage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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
)
from dtls_emu.nic.flow_ledger import FlowLedger, flow_id
from dtls_emu.tunnel.states import TunnelState
from dtls_emu.wire.inspect import key_of, unpack_key
from dtls_emu.wire.protocol import is_handshake


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from dtls_emu.events import Association, Observer, UnderlayAddress
    from dtls_emu.nic.flow_ledger import Counts
    from dtls_emu.nic.flows import EgressFlow, IngressFlow
    from dtls_emu.policy import Decision
    from dtls_emu.tunnel.exchange import Outgoing
    from dtls_emu.tunnel.tunnel import Tunnel
    from dtls_emu.vocabulary import DropReason
    from dtls_emu.wire.burst import Burst
    from dtls_emu.wire.inspect import FlowKey


__all__ = ["Watcher"]

_EPOCH_AT = 3
_NUMBER_AT = 5
_NUMBER_END = 11
"""Of a record's header (RFC 6347 4.1)."""


class Watcher:
    """Tells an observer what one card does.

    Fields:
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
        self._host = host
        self._observer = observer
        self._sending: tuple[str, Burst | None] = "", None
        self._payloads: tuple[bytes, ...] = ()
        self._tunnels: dict[str, tuple[str, int, Association | None]] = {}
        self._retransmissions: dict[tuple[str, Association], int] = {}  # of the flight that was sent last
        self._ports: set[int] = set()

    def _about(self, tag: int) -> tuple[float, str, int, int]:
        return self.now, self._host, mark_of(tag), packet_of(tag)

    def _bytes(self, burst: Burst) -> tuple[bytes, ...]:
        return tuple(row.tobytes() for row in burst.rows()) if self._observer.wants_bytes else ()

    # -------------------------------------------------------------------------------------------- from a VM

    def offered(self, vm: str, burst: Burst) -> None:
        """A VM, or the internet, whose name is "", handed packets to the card."""
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

    def decided_egress(self, key: FlowKey, flow: EgressFlow, tag: int) -> None:
        """The slow path decided a flow of a VM, and it has an entry now."""
        self._decided(Direction.EGRESS, flow.vm, key, flow.decision, tag)
        self.flows.decided(Direction.EGRESS, flow.vm, key, flow, flow.decision, tag, self.now)

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
            self._count(Direction.INGRESS, destination.vm.name, destination.network.vni, burst)
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

    def decided_ingress(self, key: FlowKey, flow: IngressFlow, tag: int) -> None:
        """The slow path decided who may send a flow to a VM, and it has an entry now."""
        if flow.vm:
            self.flows.decided(Direction.INGRESS, flow.vm, key, flow, None, tag, self.now)

    def came_in(self, vm: str, vni: int, burst: Burst) -> None:
        """A packet came from the gateway, for which no flow table has an entry, and is handed to a VM."""
        self._count(Direction.INGRESS, vm, vni, burst)
        self.delivered(vm, burst)

    def _count(self, direction: Direction, vm: str, vni: int, burst: Burst) -> None:
        _, words = key_of(burst.row(0).tobytes(), vni)
        self.flows.count(direction, vm, unpack_key(words), burst.packets, burst.nbytes, burst.mark, self.now)

    def delivered(self, vm: str, burst: Burst) -> None:
        """The card hands packets to a VM, or to the gateway, whose name is ""."""
        self._observer(
            Delivered(*self._about(burst.mark), vm, burst.packets, burst.nbytes, self._bytes(burst))
        )

    # -------------------------------------------------------------------------------------------- the tunnels

    def flight_received(self, peer: str, association: Association, burst: Burst) -> None:
        """Datagrams came in; those of a handshake are told of."""
        if is_handshake(burst.buffer[burst.offset]):
            where = self.now, self._host, peer, association
            self._observer(FlightReceived(*where, burst.count, burst.nbytes))

    def tunnel_called(
        self,
        tunnel: Tunnel,
        outgoing: Sequence[Outgoing],
        closed_ports: Iterable[int],
        key_requests: Iterable[int],
        *,
        is_timer: bool = False,
    ) -> None:
        """A tunnel was called: what it sends, and what it has become.

        Args:
            tunnel: which one.
            outgoing: datagrams that it sends now.
            closed_ports, key_requests: local ports.
            is_timer: it was called because time has passed: a flight that it sends was sent before.
        """
        peer = tunnel.peer.name
        where = self.now, self._host
        state, handshakes, in_force = self._tunnels.get(peer, (str(TunnelState.IDLE), 0, None))
        if str(tunnel.state) != state:
            self._observer(StateChanged(*where, peer, state, str(tunnel.state), failure=tunnel.failure))
        for port in key_requests:
            self._open_port(port)
            self._observer(KeysRequested(*where, peer, port))
        self._tell_flights(peer, outgoing, is_timer=is_timer)
        active = None if tunnel.active is None else tunnel.active.ends
        newest = list(tunnel.associations)[-1:]
        if tunnel.handshakes != handshakes and newest:
            ends, is_client = newest[0].ends, newest[0].is_client
            self._observer(AssociationOpened(*where, peer, ends, is_client, tunnel.handshakes))
        if active != in_force:
            self._observer(Rekeyed(*where, peer, active, in_force))
        self._tunnels[peer] = str(tunnel.state), tunnel.handshakes, active
        for port in closed_ports:
            self._ports.discard(port)
            self._observer(PortClosed(*where, port))

    def _tell_flights(self, peer: str, outgoing: Sequence[Outgoing], *, is_timer: bool) -> None:
        where = self.now, self._host, peer
        flights: dict[Association, list[int]] = {}
        for out in outgoing:
            self._open_port(out.local_port)
            if is_handshake(out.datagram[0]):
                flights.setdefault((out.local_port, out.remote_port), []).append(len(out.datagram))
        for ends, lengths in flights.items():
            flight = *where, ends, len(lengths), sum(lengths)
            retransmission = self._retransmissions.get((peer, ends), 0) + 1 if is_timer else 0
            self._retransmissions[peer, ends] = retransmission
            self._observer(FlightRetransmitted(*flight, retransmission) if is_timer else FlightSent(*flight))

    def _open_port(self, port: int) -> None:
        if port not in self._ports:
            self._ports.add(port)
            self._observer(PortOpened(self.now, self._host, port))

    def flow_ended(self, direction: Direction, key: FlowKey, entry: Counts) -> None:
        """A flow has left a table, or is decided anew."""
        self.flows.ended(direction, key, entry.packets, entry.nbytes)

    def close(self) -> None:
        """The card is done: its flows end."""
        self.flows.close(self.now)


def _epoch_and_number(buffer: NDArray[np.uint8], at: int) -> tuple[int, int]:
    """Of the record whose header begins at a place."""
    header = buffer[at : at + _NUMBER_END].tobytes()
    return int.from_bytes(header[_EPOCH_AT:_NUMBER_AT]), int.from_bytes(header[_NUMBER_AT:])
