"""What happens to packets and datagrams, in the order of their path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dtls_emu.events.base import PacketEvent


if TYPE_CHECKING:
    from dtls_emu.events.base import Association, Direction, FlowId, How, UnderlayAddress
    from dtls_emu.vocabulary import DropReason, FlowEncryption, Verdict


__all__ = [
    "Answered",
    "Classified",
    "Damaged",
    "Decided",
    "Delivered",
    "Dropped",
    "Duplicated",
    "Forwarded",
    "Lost",
    "Marked",
    "Missed",
    "Offered",
    "Opened",
    "Queued",
    "Received",
    "Refused",
    "Reordered",
    "Sealed",
    "Sent",
]

# ------------------------------------------------------------------------------------------ on its way out


@dataclass(frozen=True, slots=True)
class Offered(PacketEvent):
    """A VM handed packets to its card, or the internet sent them.

    Fields:
        vm: name of the VM; "" for the internet.
        count, nbytes: how many packets, and of how many bytes together. A super-packet counts as what it will be
            cut into.
        packets: the IP packets, a super-packet as one; on request.
    """

    vm: str
    count: int
    nbytes: int
    packets: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Classified(PacketEvent):
    """A card found out which flow packets belong to.

    Fields:
        direction: out of the card's VMs, or to them.
        vm: whose flow it is; "" where it is not known yet.
        count: how many packets.
        flow: which one.
    """

    direction: Direction
    vm: str
    count: int
    flow: FlowId


@dataclass(frozen=True, slots=True)
class Missed(PacketEvent):
    """The flow table had no entry, or one that is no longer valid: the slow path is asked.

    Fields:
        direction, vm, count, flow: as in :class:`Classified`.
        stale: there was an entry, decided under other circumstances.
    """

    direction: Direction
    vm: str
    count: int
    flow: FlowId
    stale: bool = False


@dataclass(frozen=True, slots=True)
class Decided(PacketEvent):
    """The slow path decided a flow.

    Fields:
        direction, vm, flow: as in :class:`Classified`.
        row, name: of the decision table.
        verdict, code: encrypt, clear or drop; and the flow-log code, None where no tuple is written.
        reason: what dropped packets are counted as; None unless they are dropped.
    """

    direction: Direction
    vm: str
    flow: FlowId
    row: int
    name: str
    verdict: Verdict
    code: FlowEncryption | None
    reason: DropReason | None


@dataclass(frozen=True, slots=True)
class Queued(PacketEvent):
    """Packets wait for their tunnel.

    Fields:
        peer: name of the host that it leads to.
        count: how many.
    """

    peer: str
    count: int


@dataclass(frozen=True, slots=True)
class Forwarded(PacketEvent):
    """Packets of a decided flow leave their card.

    Fields:
        how: sealed, in clear to another host, to a VM of the same host, or to the gateway.
        count: how many.
        row: of the decision table, that let them.
        verdict, code: as in :class:`Decided`.
    """

    how: How
    count: int
    row: int
    verdict: Verdict
    code: FlowEncryption | None


@dataclass(frozen=True, slots=True)
class Sealed(PacketEvent):
    """Packets became records.

    Fields:
        peer: name of the host for which.
        association: under whose keys.
        epoch, number: of the first record; the others follow one by one (RFC 6347 4.1).
        count: how many.
    """

    peer: str
    association: Association
    epoch: int
    number: int
    count: int


# ------------------------------------------------------------------------------------------- on the fabric


@dataclass(frozen=True, slots=True)
class Sent(PacketEvent):
    """A host put a datagram on its link. What the link does to it follows at once, as events of the same number.

    Fields:
        datagram: its number in the run, from 1.
        source, destination: underlay address and UDP port.
        length: of its UDP payload, in bytes.
        tos: type of service, or traffic class, of the outer packet.
        arrival: when it is to reach the other end, in nanoseconds; -1 when it does not.
        payload: as it was sent, before any damage; on request.
    """

    datagram: int
    source: UnderlayAddress
    destination: UnderlayAddress
    length: int
    tos: int
    arrival: int
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class Lost(PacketEvent):
    """A datagram goes no further: the link lost it or could not take it, or nobody is at its other end.

    Fields:
        datagram: its number. 0 when it was lost on arrival, where only the burst is known.
        reason: why.
        count: of datagrams; more than one only on arrival.
    """

    datagram: int
    reason: DropReason
    count: int = 1


@dataclass(frozen=True, slots=True)
class Duplicated(PacketEvent):
    """A link makes a copy of a datagram, which arrives right behind it."""

    datagram: int


@dataclass(frozen=True, slots=True)
class Damaged(PacketEvent):
    """A link flips a bit of a datagram.

    Fields:
        datagram: its number.
        bit: which one of the UDP payload; bit 0 is the lowest one of the first byte.
    """

    datagram: int
    bit: int


@dataclass(frozen=True, slots=True)
class Reordered(PacketEvent):
    """A datagram steps aside at the end of its link until the next one has passed it, unless another one has already."""

    datagram: int


@dataclass(frozen=True, slots=True)
class Marked(PacketEvent):
    """A link marks a datagram Congestion Experienced (RFC 3168 5)."""

    datagram: int


# ------------------------------------------------------------------------------------------- on its way in


@dataclass(frozen=True, slots=True)
class Received(PacketEvent):
    """A card took datagrams from the fabric.

    Fields:
        source: who sent them, as the fabric says.
        port: local UDP port where they came in.
        count, nbytes: how many, of how many bytes of payload together.
        tos: of the outer packets.
        payloads: on request.
    """

    source: UnderlayAddress
    port: int
    count: int
    nbytes: int
    tos: int = 0
    payloads: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused(PacketEvent):
    """A card dropped records or datagrams on their way in, or packets from the internet.

    Fields:
        reason: why.
        count: how many.
        payloads: as they came in, on request, where all that came in together are refused.
    """

    reason: DropReason
    count: int
    payloads: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Opened(PacketEvent):
    """Records verified.

    Fields:
        peer: name of the host that sealed them.
        association: under whose keys.
        epoch: of the records.
        numbers: of each.
    """

    peer: str
    association: Association
    epoch: int
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Delivered(PacketEvent):
    """A card handed packets to a VM, or to the gateway.

    Fields:
        vm: name of the VM; "" for the internet.
        count, nbytes: as in :class:`Offered`.
        packets: likewise.
    """

    vm: str
    count: int
    nbytes: int
    packets: tuple[bytes, ...] = ()


# ------------------------------------------------------------------------------------------- the end of it


@dataclass(frozen=True, slots=True)
class Dropped(PacketEvent):
    """A card dropped packets of its own VMs.

    Fields:
        vm: name of the VM that sent them.
        reason: why.
        count: how many.
        row: of the decision table, when their flow was decided; else 0.
        verdict, code: of that decision, which need not be the cause.
        packets: on request, where all of a burst are dropped; what was offered has them in any case.
    """

    vm: str
    reason: DropReason
    count: int
    row: int = 0
    verdict: Verdict | None = None
    code: FlowEncryption | None = None
    packets: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Answered(PacketEvent):
    """A card told a VM by ICMP that a packet is too big (RFC 1191, RFC 8201). The packet is among the dropped.

    Fields:
        vm: name of the VM.
        mtu: what would fit, in bytes.
        packet_sent: the ICMP message with its IP header; on request.
    """

    vm: str
    mtu: int
    packet_sent: bytes = b""
