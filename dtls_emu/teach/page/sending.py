"""What the page's buttons send: packets of a VM, and what an attacker on the fabric does with a record that he saw."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from dtls_emu.errors import DtlsEmuError
from dtls_emu.events import Sent
from dtls_emu.lab.problems import suggest
from dtls_emu.vocabulary import FragmentShape
from dtls_emu.wire.packet import fragments, icmp_echo, udp_packet
from dtls_emu.wire.protocol import APPLICATION_DATA


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dtls_emu.events import Event
    from dtls_emu.lab.topology import Address, Topology
    from dtls_emu.simulation.simulation import Simulation


__all__ = ["MOST_PACKETS", "Order", "SendError", "What", "send"]

PORTS: Final = (40_000, 7)
"""UDP ports: any, and echo's (RFC 862)."""

MOST_PACKETS: Final = 64
"""Of a stream: more than the eye can follow."""

PING: Final = 56
"""Bytes of an echo request's payload, as ping(8) has it."""

STREAM: Final = 1_000
FRAGMENTED: Final = 1_200
JUMBO: Final = 8_900 - 28
"""Bytes of payload of a packet of 8,900 bytes, which an IPv4 jumbo frame of the cloud has."""

AHEAD: Final = 1_000
"""How far the number of a tampered record is ahead: with one that was there it would be refused as a replay."""


class SendError(DtlsEmuError):
    """It cannot be sent. Says why."""


class What(StrEnum):
    """What can be sent."""

    PING = "ping"
    STREAM = "stream"
    FRAGMENT = "fragment"
    JUMBO = "jumbo"
    REPLAY = "replay"
    TAMPER = "tamper"


@dataclass(frozen=True, slots=True)
class Order:
    """What to send.

    Fields:
        what: of it.
        source, destination: names of VMs; not used by what an attacker does.
        count: packets of a stream.
    """

    what: What
    source: str = ""
    destination: str = ""
    count: int = 8


def send(simulation: Simulation, events: Sequence[Event], order: Order) -> str:
    """Send it now. In words, what was sent.

    Args:
        simulation: the run.
        events: of it so far, with bytes.
        order: what to send.

    Raises:
        SendError: no such VM, no address in common, or nothing that could be sent again.
    """
    if order.what in {What.REPLAY, What.TAMPER}:
        return _attack(simulation, events, order.what)
    ends = _ends(simulation.cloud.topology, order)
    packets, said = _MAKERS[order.what](str(ends[0]), str(ends[1]), order.count)
    simulation.inject(order.source, *packets)
    return f"{order.source} sends {order.destination} {said}"


def _ends(topology: Topology, order: Order) -> tuple[Address, Address]:
    vms = topology.vms
    for name in (order.source, order.destination):
        if name not in vms:
            raise SendError(f"no VM is called {name}; {suggest(name, vms)}")
    if order.source == order.destination:
        raise SendError("a VM that talks to itself needs no card: choose two")
    for destination in vms[order.destination].addresses:
        source = vms[order.source].address(destination.version)
        if source is not None:
            return source, destination
    raise SendError(f"{order.source} and {order.destination} have no IP version in common")


def _ping(source: str, destination: str, _count: int) -> tuple[list[bytes], str]:
    return [icmp_echo(source, destination, 1, 1, bytes(range(PING)))], "an echo request"


def _stream(source: str, destination: str, count: int) -> tuple[list[bytes], str]:
    text = b"a packet of a stream; "
    payload = (text * (STREAM // len(text) + 1))[:STREAM]
    return [udp_packet(source, destination, *PORTS, payload)] * count, f"{count} UDP packets"


def _fragment(source: str, destination: str, _count: int) -> tuple[list[bytes], str]:
    whole = udp_packet(source, destination, *PORTS, bytes(FRAGMENTED))
    return fragments(
        whole, (FragmentShape.V4_FIRST, FragmentShape.V6_FRAGMENT)
    ), "the first fragment of a packet"


def _jumbo(source: str, destination: str, _count: int) -> tuple[list[bytes], str]:
    return [udp_packet(source, destination, *PORTS, bytes(JUMBO))], "a packet of 8,900 bytes"


_MAKERS: Final[dict[What, Callable[[str, str, int], tuple[list[bytes], str]]]] = {
    What.PING: _ping,
    What.STREAM: _stream,
    What.FRAGMENT: _fragment,
    What.JUMBO: _jumbo,
}


def _attack(simulation: Simulation, events: Sequence[Event], what: What) -> str:
    record = next(
        (
            event
            for event in reversed(events)
            if isinstance(event, Sent) and event.payload[:1] == bytes([APPLICATION_DATA])
        ),
        None,
    )
    if record is None:
        raise SendError("no record was on the fabric yet: have a VM send something that is encrypted")
    payload = record.payload if what is What.REPLAY else _tampered(record.payload)
    simulation.put_on_fabric(record.source, record.destination, payload)
    if what is What.REPLAY:
        return f"somebody on the fabric sends datagram {record.datagram} again"
    return f"somebody on the fabric sends datagram {record.datagram} with another number, and a bit of it flipped"


def _tampered(record: bytes) -> bytes:
    """Of a number that was not there yet, and with the last bit of its ciphertext's first byte flipped."""
    changed = bytearray(record)
    number = int.from_bytes(record[5:11]) + AHEAD
    changed[5:11] = number.to_bytes(6)
    changed[21] ^= 1
    return bytes(changed)
