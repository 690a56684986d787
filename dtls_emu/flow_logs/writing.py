"""A flow log made from what cards tell of their flows.

1. A card tells that a flow begins, how it stands, that it is over: :mod:`dtls_emu.events.flows`, with exact counters.
2. Each is a tuple: B without counters, C at the latest five minutes after the last one, E at the end, each with what was
   counted since; D where a flow is denied. Where the status of a flow changes, it ends with the old one and begins with
   the new one, so that every packet is counted with the status that it had.
3. Tuples of a minute are one record for each interface; records of an hour are one blob.

A flow's status is that of its own direction and of what comes back: if one of them is in clear, that is what is logged.
Of what a VM sends it is exact to the packet. Of what comes it is how the first packet came since the flow was last decided:
where both networks allow unencrypted traffic, a sender that falls back later is known from its own log only.
A decision that the reference table gives no status writes no tuple (a fragment that is dropped), nor does a packet for
which there is no route.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

import msgspec

from dtls_emu.events import Direction, FlowCounters, FlowEnded, FlowStarted
from dtls_emu.flow_logs.naming import DENIED_BY_ENCRYPTION, FlowLogNames, blob_path, mac_text
from dtls_emu.flow_logs.records import Acl, FlowRecords, RuleGroup, encode_tuples
from dtls_emu.flow_logs.tuples import FlowState, FlowTuple, Side
from dtls_emu.policy.facts import flow_to
from dtls_emu.policy.security import Packet, Transport, judge_end
from dtls_emu.vocabulary import FlowEncryption, Verdict


if TYPE_CHECKING:
    from collections.abc import Iterator

    from dtls_emu.events import Event, FlowId
    from dtls_emu.flow_logs.records import Record
    from dtls_emu.lab.topology import Topology


__all__ = ["CONTINUE_AFTER", "REPORT_EVERY", "Entry", "FlowLog"]

REPORT_EVERY: Final = 60.0
"""Seconds after which whoever drives the cards has them tell how their flows stand, and takes what is due."""

CONTINUE_AFTER: Final = 300.0
"""Seconds without a tuple after which a flow that goes on has one."""

_MINUTE: Final = 60_000
"""Milliseconds."""

_NO_ROUTE: Final = 1
"""Row of the decision table that writes no tuple."""

_DENIALS: Final = frozenset(
    {FlowEncryption.NX_SW_NOT_READY, FlowEncryption.NX_NOT_ACCEPTED, FlowEncryption.NX_NOT_SUPPORTED}
)
"""Statuses of what is dropped ("Virtual network flow logs", Flow encryption)."""

_Counts = tuple[int, int, int, int]
_NOTHING: Final[_Counts] = (0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Entry:
    """What is appended to a blob.

    Fields:
        path: of the blob, below the storage account.
        content: one record, as JSON.
    """

    path: str
    content: bytes


@dataclass(slots=True)
class _Flow:
    """One that is being logged.

    Fields:
        status: of its last tuple.
        is_open: it has begun, and not ended.
        since: when it had its last tuple, in seconds.
        counted: what its tuples have come to.
    """

    status: FlowEncryption
    is_open: bool = False
    since: float = 0.0
    counted: _Counts = _NOTHING


@dataclass(slots=True)
class _Minute:
    """Tuples of one interface and minute, by list and rule, in the order in which they came."""

    groups: defaultdict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))


class FlowLog:
    """The flow logs of all interfaces of a lab's VMs, or of those of one host: an observer of its cards.

    It takes events of flows and leaves the others. Memory is bounded by flows that go on, and by the tuples of the
    minutes that were not taken yet.
    """

    wants_bytes = False

    def __init__(self, topology: Topology, epoch: float) -> None:
        """
        Args:
            topology: the lab.
            epoch: seconds since 1970 at the time 0 of the events.
        """
        self._topology = topology
        self._names = FlowLogNames(topology)
        self._epoch = epoch
        self._flows: dict[tuple[str, FlowId, Direction], _Flow] = {}
        self._minutes: dict[tuple[int, str], _Minute] = {}

    def __call__(self, event: Event) -> None:
        """Take an event."""
        if not isinstance(event, FlowStarted | FlowCounters):
            return
        key = event.vm, event.flow, event.direction
        status = _status(event)
        flow = self._flows.get(key)
        if flow is None:
            if status is None or isinstance(event, FlowEnded):
                return
            flow = self._flows[key] = _Flow(status)
            self._begin(event, flow, status)
        elif isinstance(event, FlowEnded):
            del self._flows[key]
            self._end(event, flow)
        elif status is not None and status is not flow.status:
            self._end(event, flow)
            self._begin(event, flow, status)
        elif flow.is_open and event.time - flow.since >= CONTINUE_AFTER:
            self._write(event, flow, FlowState.CONTINUING)

    def update(self, topology: Topology) -> None:
        """Go on under a changed lab: names and prefixes of networks."""
        self._topology = topology
        self._names = FlowLogNames(topology)

    def take(self, now: float | None = None) -> Iterator[Entry]:
        """What is to be appended to blobs: a record for each interface and minute that is over; each is given once.

        Args:
            now: seconds; None: everything, the minute that runs included.
        """
        running = None if now is None else self._milliseconds(now) // _MINUTE
        over = sorted(key for key in self._minutes if running is None or key[0] < running)
        for minute, name in over:
            vm = self._topology.vms[name]
            content = _records(self._minutes.pop((minute, name)))
            record: Record = self._names.record(vm, (minute + 1) * _MINUTE, content)
            path = blob_path(self._names.resource(vm), mac_text(vm.mac), minute * _MINUTE)
            yield Entry(path, msgspec.json.encode(record))

    def _begin(self, event: FlowStarted | FlowCounters, flow: _Flow, status: FlowEncryption) -> None:
        flow.status = status
        flow.is_open = not _is_denied(event, status)
        self._write(event, flow, FlowState.BEGIN if flow.is_open else FlowState.DENIED)

    def _end(self, event: FlowStarted | FlowCounters, flow: _Flow) -> None:
        if flow.is_open:
            self._write(event, flow, FlowState.END)
            flow.is_open = False

    def _write(self, event: FlowStarted | FlowCounters, flow: _Flow, state: FlowState) -> None:
        side = Side.OUTBOUND if event.direction is Direction.EGRESS else Side.INBOUND
        sums = _NOTHING
        if state in {FlowState.CONTINUING, FlowState.END} and isinstance(event, FlowCounters):
            total = _sent_and_received(event, side)
            sums = _difference(total, flow.counted)
            flow.counted = total
        flow.since = event.time
        when = self._milliseconds(event.time)
        line = FlowTuple(
            when,
            event.flow.source,
            event.flow.destination,
            event.flow.source_port,
            event.flow.destination_port,
            event.flow.protocol,
            side,
            state,
            flow.status.value,
            *sums,
        )
        minute = self._minutes.setdefault((when // _MINUTE, event.vm), _Minute())
        minute.groups[self._acl(event, side, flow.status)].append(str(line))

    def _acl(self, event: FlowStarted | FlowCounters, side: Side, status: FlowEncryption) -> tuple[str, str]:
        if status in _DENIALS:
            return DENIED_BY_ENCRYPTION
        vm, flow = self._topology.vms[event.vm], event.flow
        source, destination = ip_address(flow.source), ip_address(flow.destination)
        is_outbound, is_denied = side is Side.OUTBOUND, _is_denied(event, status)
        transport = Transport(flow.protocol, flow.source_port, flow.destination_port)
        other = destination if is_outbound else source
        is_private = self._topology.is_private_route(vm.network, other)
        # The VM itself is in its network; the other end is where there is a private route to it.
        packet = Packet(
            source, destination, is_outbound or is_private, is_private or not is_outbound, transport
        )
        hit = judge_end(self._topology, vm, packet, outbound=is_outbound)
        if is_denied and is_outbound and (hit is None or not hit.denies):  # the other end's rules deny it
            hit = flow_to(self._topology, vm, destination, transport=transport, sender=source).rule
        if hit is not None:
            return self._names.acl_of(hit.acl), hit.rule
        return self._names.acl(vm, side, is_private=is_private, is_denied=is_denied)

    def _milliseconds(self, time: float) -> int:
        return round((self._epoch + time) * 1000)


def _status(event: FlowStarted | FlowCounters) -> FlowEncryption | None:
    """What a flow's log says of its encryption: the worse of its two directions."""
    out = None if event.row == _NO_ROUTE else event.code
    if out is None or out is FlowEncryption.X:
        return event.code_in or out
    return out


def _is_denied(event: FlowStarted | FlowCounters, status: FlowEncryption) -> bool:
    return status in _DENIALS or (status is event.code and event.verdict is Verdict.DROP)


def _sent_and_received(event: FlowCounters, side: Side) -> _Counts:
    """From source to destination, and back."""
    out, into = (event.packets_out, event.bytes_out), (event.packets_in, event.bytes_in)
    return (*out, *into) if side is Side.OUTBOUND else (*into, *out)


def _difference(total: _Counts, before: _Counts) -> _Counts:
    return (total[0] - before[0], total[1] - before[1], total[2] - before[2], total[3] - before[3])


def _records(minute: _Minute) -> FlowRecords:
    by_acl: dict[str, Acl] = {}
    for (acl, rule), lines in minute.groups.items():
        by_acl.setdefault(acl, Acl(acl)).groups.append(RuleGroup(rule, encode_tuples(lines)))
    return FlowRecords(list(by_acl.values()))
