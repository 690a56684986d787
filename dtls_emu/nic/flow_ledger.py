"""Flows as whoever observes a card is told of them: when they start, go on and end, with counters of both directions.

A flow table has one entry for each direction, and replaces it when the flow is decided again. The ledger joins the two
directions of what a VM takes for one flow, and goes on counting where an entry's successor begins. Entries count for
themselves, in compiled code too; the ledger reads them when it tells of a flow, and takes over their final counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from dtls_emu.events import Direction, FlowContinued, FlowEnded, FlowId, FlowStarted, mark_of, packet_of


if TYPE_CHECKING:
    from collections.abc import Callable
    from ipaddress import IPv4Address, IPv6Address

    from dtls_emu.events import Event, FlowCounters
    from dtls_emu.policy import Decision
    from dtls_emu.vocabulary import FlowEncryption, Verdict
    from dtls_emu.wire.inspect import FlowKey

    Address = IPv4Address | IPv6Address


__all__ = ["Counts", "FlowLedger", "flow_id"]


_IDLE: Final = 240.0
"""Seconds without a packet after which a flow without an entry ends: as long as flow tables keep an idle one."""

_MOST_BESIDE: Final = 65_536
"""Flows without an entry that are remembered: a VM that scans another one of its host cannot fill the memory. The oldest
ends before its time, and its counters are told."""


class Counts(Protocol):
    """What an entry of a flow table has counted up to now."""

    @property
    def packets(self) -> int:
        """Inner packets that left the card, or were delivered."""

    @property
    def nbytes(self) -> int:
        """Their bytes."""


class _Conversation(NamedTuple):
    """The two directions of a flow, as one of its VMs sees them."""

    vni: int
    protocol: int
    is_fragment: bool
    near: tuple[Address, int]
    far: tuple[Address, int]


@dataclass(slots=True)
class _Counted:
    """One direction.

    Fields:
        live: what the entry that it has now counts, or None.
        packets, nbytes: of those before it.
    """

    live: Counts | None = None
    packets: int = 0
    nbytes: int = 0

    @property
    def totals(self) -> tuple[int, int]:
        """Packets and bytes."""
        if self.live is None:
            return self.packets, self.nbytes
        return self.packets + self.live.packets, self.nbytes + self.live.nbytes


@dataclass(slots=True)
class _Flow:
    """One flow of a VM."""

    vm: str
    direction: Direction
    flow: FlowId
    decision: Decision | None
    came: Decision | None = None
    leaving: _Counted = field(default_factory=_Counted)
    coming: _Counted = field(default_factory=_Counted)
    reported: tuple[int, ...] = ()

    def counted(self, direction: Direction) -> _Counted:
        """One of its directions."""
        return self.leaving if direction is Direction.EGRESS else self.coming

    @property
    def words(self) -> tuple[int, Verdict | None, FlowEncryption | None]:
        """Row, verdict and code of its decision."""
        decision = self.decision
        return (0, None, None) if decision is None else (decision.row.number, decision.verdict, decision.code)

    @property
    def code_in(self) -> FlowEncryption | None:
        """How packets to its VM come."""
        return None if self.came is None else self.came.code


class FlowLedger:
    """The flows of one card.

    Args:
        host: whose.
        tell: called with each event.
    """

    def __init__(self, host: str, tell: Callable[[Event], object]) -> None:
        self._host = host
        self._tell = tell
        self._flows: dict[_Conversation, _Flow] = {}
        self._orphans: dict[_Conversation, None] = {}  # an entry has gone, and no other came yet
        self._beside: dict[
            _Conversation, float
        ] = {}  # counted without an entry, and when last; the oldest first
        self._next: list[_Conversation] = []  # to be looked at by the next report

    def __len__(self) -> int:
        """How many flows are going on."""
        return len(self._flows)

    def decided(
        self,
        direction: Direction,
        vm: str,
        key: FlowKey,
        live: Counts,
        decision: Decision | None,
        tag: int,
        now: float,
        *,
        came: Decision | None = None,
    ) -> None:
        """A flow has an entry that counts from now on.

        Args:
            direction: of the entry.
            vm: whose flow it is: who sends, or gets, its packets.
            key: of the entry.
            live: what it counts.
            decision: None where this card does not decide.
            tag: of the packet that led to it.
            now: seconds.
            came: how the packet came that led to an entry of packets to a VM.
        """
        conversation = _conversation(direction, key)
        self._orphans.pop(conversation, None)
        self._end_orphans(now)
        flow = self._flows.get(conversation)
        if flow is None:
            flow = self._start(conversation, direction, vm, key, decision, tag, now, came)
            flow.counted(direction).live = live
            return
        flow.counted(direction).live = live
        flow.decision = decision or flow.decision
        flow.came = came or flow.came
        self._tell(self._standing(FlowContinued, flow, now))

    def ended(self, direction: Direction, key: FlowKey, packets: int, nbytes: int) -> None:
        """An entry counts no more, and has counted so much. Another one may take its place at once."""
        conversation = _conversation(direction, key)
        flow = self._flows.get(conversation)
        if flow is not None:
            counted = flow.counted(direction)
            counted.live = None
            counted.packets += packets
            counted.nbytes += nbytes
            self._orphans[conversation] = None

    def count(
        self,
        direction: Direction,
        vm: str,
        key: FlowKey,
        packets: int,
        nbytes: int,
        tag: int,
        now: float,
        *,
        came: Decision | None = None,
    ) -> None:
        """Count packets for which no table of this card has an entry: to a VM, from the gateway or a VM beside it."""
        conversation = _conversation(direction, key)
        flow = self._flows.get(conversation)
        if flow is None:
            flow = self._start(conversation, direction, vm, key, None, tag, now, came)
        elif came is not None:
            flow.came = came
        counted = flow.counted(direction)
        counted.packets += packets
        counted.nbytes += nbytes
        self._beside.pop(conversation, None)
        self._beside[conversation] = now
        while True:  # no table sweeps these
            oldest, seen = next(iter(self._beside.items()))
            if now - seen < _IDLE and len(self._beside) <= _MOST_BESIDE:
                break
            del self._beside[oldest]
            self._end_idle(oldest, now)

    def report(self, now: float) -> None:
        """Tell how every flow stands."""
        self._end_orphans(now)
        for flow in self._flows.values():
            self._tell(self._standing(FlowContinued, flow, now))

    def report_changed(self, now: float, most: int) -> None:
        """Tell how flows stand that have gone on since they were reported last.

        Args:
            now: seconds.
            most: flows that are looked at; the next call goes on behind them.
        """
        self._end_orphans(now)
        if not self._next:
            self._next = list(self._flows)
        looked_at, self._next = self._next[:most], self._next[most:]
        for conversation in looked_at:
            flow = self._flows.get(conversation)
            if flow is not None and flow.reported != (counted := (*flow.leaving.totals, *flow.coming.totals)):
                flow.reported = counted
                self._tell(self._standing(FlowContinued, flow, now))

    def close(self, now: float) -> None:
        """Every flow ends. Idempotent."""
        self._end_orphans(now)
        flows = list(self._flows.values())
        self._flows.clear()
        self._beside.clear()
        for flow in flows:
            self._tell(self._standing(FlowEnded, flow, now))

    def _start(
        self,
        conversation: _Conversation,
        direction: Direction,
        vm: str,
        key: FlowKey,
        decision: Decision | None,
        tag: int,
        now: float,
        came: Decision | None,
    ) -> _Flow:
        flow = self._flows[conversation] = _Flow(vm, direction, flow_id(key), decision, came)
        about = now, self._host, mark_of(tag), packet_of(tag)
        self._tell(FlowStarted(*about, vm, direction, flow.flow, *flow.words, code_in=flow.code_in))
        return flow

    def _end_orphans(self, now: float) -> None:
        """A flow ends with the last of its entries: tables let them go when they are idle."""
        orphans, self._orphans = self._orphans, {}
        for conversation in orphans:
            if conversation not in self._beside:
                self._end_idle(conversation, now)

    def _end_idle(self, conversation: _Conversation, now: float) -> None:
        flow = self._flows.get(conversation)
        if flow is not None and flow.leaving.live is None and flow.coming.live is None:
            del self._flows[conversation]
            self._tell(self._standing(FlowEnded, flow, now, why="idle"))

    def _standing(self, kind: type[FlowCounters], flow: _Flow, now: float, **more: Any) -> FlowCounters:
        counters = *flow.leaving.totals, *flow.coming.totals
        about = now, self._host, flow.vm, flow.direction, flow.flow
        return kind(*about, *flow.words, *counters, code_in=flow.code_in, **more)


def flow_id(key: FlowKey) -> FlowId:
    """A flow table's key in an event's words."""
    return FlowId(
        key.vni,
        key.protocol,
        str(key.source),
        str(key.destination),
        key.source_port,
        key.destination_port,
        key.is_fragment,
    )


def _conversation(direction: Direction, key: FlowKey) -> _Conversation:
    near, far = (key.source, key.source_port), (key.destination, key.destination_port)
    if direction is Direction.INGRESS:
        near, far = far, near
    return _Conversation(key.vni, key.protocol, key.is_fragment, near, far)
