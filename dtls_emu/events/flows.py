"""What happens to flows, with exact counters: the entries of a flow log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dtls_emu.events.base import Event, PacketEvent


if TYPE_CHECKING:
    from dtls_emu.events.base import Direction, FlowId
    from dtls_emu.vocabulary import FlowEncryption, Verdict


__all__ = [
    "FlowContinued",
    "FlowCounters",
    "FlowEnded",
    "FlowStarted",
]


@dataclass(frozen=True, slots=True)
class FlowStarted(PacketEvent):
    """A VM's card saw a flow for the first time.

    Fields:
        vm: name of the VM on this host.
        direction: which way the first packet went, as the VM sees it.
        flow: as the first packet has it: who began it is the source.
        row, verdict, code: of the decision, as in :class:`Decided`. 0, None and None where this host does not decide: for
            packets that come from another one.
        code_in: how packets to the VM come, as a flow log says it: through the tunnel, or in clear and why. None as long as
            none has come.
    """

    vm: str
    direction: Direction
    flow: FlowId
    row: int
    verdict: Verdict | None
    code: FlowEncryption | None
    code_in: FlowEncryption | None = None


@dataclass(frozen=True, slots=True)
class FlowCounters(Event):
    """How a flow stands.

    Fields:
        vm, direction, flow, row, verdict, code, code_in: as in :class:`FlowStarted`; the decision is the one in force.
        packets_out, bytes_out: from the VM, since the flow began: those that left its card.
        packets_in, bytes_in: to the VM, since the flow began: those that were delivered.
    """

    vm: str
    direction: Direction
    flow: FlowId
    row: int
    verdict: Verdict | None
    code: FlowEncryption | None
    packets_out: int
    bytes_out: int
    packets_in: int
    bytes_in: int
    code_in: FlowEncryption | None = None


@dataclass(frozen=True, slots=True)
class FlowContinued(FlowCounters):
    """A flow goes on: it was decided again, or somebody wants to know how it stands."""


@dataclass(frozen=True, slots=True)
class FlowEnded(FlowCounters):
    """A flow is over, and these are its final counters.

    Fields:
        why: "idle", or "closed" at the end of its card.
    """

    why: str = "closed"
