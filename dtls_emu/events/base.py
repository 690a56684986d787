"""What every event has, and the words that they share.

An observer is called with each event, in the order in which they happen; in a simulation the same seed gives the same
sequence, but for keys, nonces and what depends on them. Captures, explanations, flow logs and live pages are views of
this sequence, and can be made again from a saved one.

*Of which packet.* An event that is about packets has their ``mark`` and their ``packet`` number. The mark says whose
they are: which traffic item of a lab, and which of its two directions; 0 is nobody's (handshakes, alerts, a card's own
ICMP). Packets are numbered in the order in which they are offered, from 1. One event may be about ``count`` packets
of a burst: ``packet`` is then the number of the first packet of the burst *as it was offered*, and stays so when the
burst is taken apart; its packets stay in order until they are sealed, and from then on a record's number tells them
apart. 0 means that nobody has numbered them: they came from a real network.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


__all__ = [
    "Association",
    "CardRestarted",
    "Direction",
    "Event",
    "FlowId",
    "How",
    "LabChanged",
    "PacketEvent",
    "UnderlayAddress",
]

UnderlayAddress = tuple[str, int]
"""IP address of a host on the fabric, and UDP port."""

Association = tuple[int, int]
"""UDP ports of an association's two ends: of the host that tells, and of its peer. The peer has them the other way
round."""


class Direction(StrEnum):
    """Which way a flow goes, as its VM's host sees it."""

    EGRESS = "egress"
    INGRESS = "ingress"


class How(StrEnum):
    """How a packet left the card that its VM handed it to."""

    ENCRYPTED = "encrypted"
    CLEAR = "clear"
    LOCAL = "local"
    GATEWAY = "gateway"


@dataclass(frozen=True, slots=True)
class FlowId:
    """A flow of VMs: the key under which a card's flow table has it.

    Fields:
        vni: of the virtual network.
        protocol: of the transport header, as IP numbers them.
        source, destination: IP addresses.
        source_port, destination_port: of TCP and UDP, else 0.
        fragment: the flow's IP fragments, which have an entry of their own.
    """

    vni: int
    protocol: int
    source: str
    destination: str
    source_port: int = 0
    destination_port: int = 0
    fragment: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    Fields:
        time: seconds on the clock of the run.
        host: name of the host where it happened.
    """

    time: float
    host: str


@dataclass(frozen=True, slots=True)
class PacketEvent(Event):
    """Something that happened to packets.

    Fields:
        mark, packet: which ones, as the module says.
    """

    mark: int
    packet: int


@dataclass(frozen=True, slots=True)
class LabChanged(Event):
    """The lab was changed while it runs, for all its hosts; ``host`` is "".

    Fields:
        path: of what was changed in the lab's document.
        value: what was merged into it, as JSON text.
    """

    path: tuple[str, ...]
    value: str


@dataclass(frozen=True, slots=True)
class CardRestarted(Event):
    """A host's card was started anew: its tunnels, flows and counters begin again.

    Fields:
        backend: who seals and opens from now on.
        protects: it has a cipher; what it makes is not in clear.
    """

    backend: str
    protects: bool = True
