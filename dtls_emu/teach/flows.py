"""The flow tables of a run's cards, entry by entry: a view of its events.

An entry is of one direction: for packets out of a VM it has what this host has decided; for packets to a VM it has who
may send them, and the decision is the sending host's. A packet that finds its entry is a hit, and takes the fast path; one
that finds none, or an outdated one, is an exception, and the slow path is asked. A packet that has waited for its tunnel is
looked up again.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Self

from dtls_emu.capture.notebook import table
from dtls_emu.events import Classified, Direction, FlowCounters, FlowEnded, FlowId, FlowStarted, Missed
from dtls_emu.policy import rows
from dtls_emu.vocabulary import FlowEncryption, Verdict


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dtls_emu.events import Event


__all__ = ["FlowEntry", "FlowTable", "flow_table"]

_NAMES: Final = {row.number: row.name for row in rows()}


@dataclass(frozen=True, slots=True)
class FlowEntry:
    """One entry, as it stood at the end.

    Fields:
        host, vm: whose card, and whose flow.
        direction: out of the VM, or to it.
        flow: the key.
        verdict, code, row, name: of the decision in force. None, None, 0 and "" for packets to a VM.
        packets, nbytes: that left the card, or were delivered. As the card counts them: bytes of what leaves for another
            host include VXLAN and Ethernet.
        hits, exceptions: packets that have found their entry, and that have not.
        generation: 1 for the first entry of the flow, and one more each time that it was decided again; 0: packets to a VM
            from the gateway, or from a VM beside it, need none.
        is_fast: the newest packet was a hit.
        age, idle: seconds since the first packet, and since the newest one.
        ended: why it is over, "idle" or "closed", or "".
    """

    host: str
    vm: str
    direction: Direction
    flow: FlowId
    verdict: Verdict | None
    code: FlowEncryption | None
    row: int
    name: str
    packets: int
    nbytes: int
    hits: int
    exceptions: int
    generation: int
    is_fast: bool
    age: float
    idle: float
    ended: str

    @property
    def path(self) -> str:
        """Which path its newest packet took: fast or slow; none where no entry is needed."""
        if not self.generation:
            return "none"
        return "fast" if self.is_fast else "slow"

    @classmethod
    def from_dict(cls, data_untrusted: Mapping[str, Any]) -> Self:
        """The entry that :meth:`as_dict` made this of, here or on a running host.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        verdict, code = data_untrusted["verdict"], data_untrusted["encryption"]
        return cls(
            host=str(data_untrusted["host"]),
            vm=str(data_untrusted["vm"]),
            direction=Direction(data_untrusted["direction"]),
            flow=FlowId(**{name: data_untrusted[name] for name in FlowId.__slots__}),
            verdict=None if verdict is None else Verdict(verdict),
            code=None if code is None else FlowEncryption(code),
            row=int(data_untrusted["row"]),
            name=str(data_untrusted["name"]),
            packets=int(data_untrusted["packets"]),
            nbytes=int(data_untrusted["bytes"]),
            hits=int(data_untrusted["hits"]),
            exceptions=int(data_untrusted["exceptions"]),
            generation=int(data_untrusted["generation"]),
            is_fast=data_untrusted["path"] == "fast",
            age=float(data_untrusted["age_seconds"]),
            idle=float(data_untrusted["idle_seconds"]),
            ended=str(data_untrusted["ended"]),
        )

    def as_dict(self) -> dict[str, Any]:
        """In JSON's types."""
        return {
            "host": self.host,
            "vm": self.vm,
            "direction": str(self.direction),
            **asdict(self.flow),
            "verdict": None if self.verdict is None else str(self.verdict),
            "encryption": None if self.code is None else str(self.code),
            "row": self.row,
            "name": self.name,
            "path": self.path,
            "packets": self.packets,
            "bytes": self.nbytes,
            "hits": self.hits,
            "exceptions": self.exceptions,
            "generation": self.generation,
            "age_seconds": self.age,
            "idle_seconds": self.idle,
            "ended": self.ended,
        }


@dataclass(slots=True)
class _Lookups:
    """What a card has looked up for one key."""

    looked_up: int = 0
    exceptions: int = 0
    generation: int = 0
    is_fast: bool = False
    last: float = 0.0


@dataclass(slots=True)
class _Flow:
    """One flow of a VM: where it began, and how it was told of last."""

    began: FlowStarted
    last: FlowCounters | None = None


class FlowTable(list[FlowEntry]):
    """Entries; a notebook shows them as a table."""

    def __repr__(self) -> str:
        return f"<FlowTable: {len(self)} entries>"

    def _repr_html_(self) -> str:
        columns = ("host", "VM", "direction", "flow", "verdict", "row", "code", "path", "packets", "hits")
        rows = [
            (
                each.host,
                each.vm,
                each.direction,
                f"{each.flow.source} to {each.flow.destination}, protocol {each.flow.protocol}",
                each.verdict or "-",
                each.row or "-",
                each.code or "-",
                each.path,
                each.packets,
                each.hits,
            )
            for each in self
        ]
        return table(repr(self), columns, rows)


def flow_table(events: Iterable[Event]) -> FlowTable:
    """Every entry that there was, in the order in which flows began; out of a VM first."""
    lookups: dict[tuple[str, Direction, FlowId], _Lookups] = {}
    flows: list[_Flow] = []
    live: dict[tuple[str, str, FlowId], _Flow] = {}
    now = 0.0
    for event in events:
        now = max(now, event.time)
        match event:
            case Classified():
                found = lookups.setdefault((event.host, event.direction, event.flow), _Lookups())
                found.looked_up += event.count
                found.is_fast, found.last = True, event.time
            case Missed():
                found = lookups.setdefault((event.host, event.direction, event.flow), _Lookups())
                found.exceptions += event.count
                found.is_fast = False
                found.generation = found.generation + 1 if event.stale else 1
            case FlowStarted():
                flow = live[event.host, event.vm, event.flow] = _Flow(event)
                flows.append(flow)
            case FlowCounters() if (event.host, event.vm, event.flow) in live:
                live[event.host, event.vm, event.flow].last = event
    return FlowTable(entry for flow in flows for entry in _entries(flow, lookups, now))


def _entries(
    flow: _Flow, lookups: dict[tuple[str, Direction, FlowId], _Lookups], now: float
) -> Iterable[FlowEntry]:
    began, last = flow.began, flow.last
    key = began.flow
    for direction in Direction:
        own = key if direction is began.direction else _reversed(key)
        found = lookups.get((began.host, direction, own), _Lookups(last=began.time))
        is_out = direction is Direction.EGRESS
        packets, nbytes = (0, 0)
        if last is not None:
            packets = last.packets_out if is_out else last.packets_in
            nbytes = last.bytes_out if is_out else last.bytes_in
        if not found.generation and not packets:
            continue
        told = last or began
        decided = (told.verdict, told.code, told.row) if is_out else (None, None, 0)
        end = last.time if isinstance(last, FlowEnded) else now
        yield FlowEntry(
            began.host,
            began.vm,
            direction,
            own,
            *decided,
            _NAMES.get(decided[2], ""),
            packets,
            nbytes,
            found.looked_up - found.exceptions,
            found.exceptions,
            found.generation,
            found.is_fast,
            end - began.time,
            end - found.last,
            last.why if isinstance(last, FlowEnded) else "",
        )


def _reversed(key: FlowId) -> FlowId:
    return replace(
        key,
        source=key.destination,
        destination=key.source,
        source_port=key.destination_port,
        destination_port=key.source_port,
    )
