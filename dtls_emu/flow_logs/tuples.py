"""One line of a flow log: the 13 fields of a flow tuple, and how they are written and read.

``time,source,destination,source port,destination port,protocol,direction,state,encryption,packets sent,bytes sent,
packets received,bytes received`` ("Virtual network flow logs", Log format). Sent is from source to destination, received
the other way, both since the last tuple of the flow.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import Final

from dtls_emu.flow_logs.errors import FlowLogError


__all__ = ["MAX_TUPLE", "FlowState", "FlowTuple", "Side", "milliseconds", "parse_count", "parse_tuple"]

FIELDS: Final = 13

MAX_TUPLE: Final = 256
"""Characters of a tuple. The longest that can be, two IPv6 addresses and counters of 20 digits, has 210."""

MAX_COUNT: Final = (1 << 63) - 1

_LAST_SECONDS: Final = 100_000_000_000
"""Timestamps below it are seconds, others milliseconds: the vendor's documents have both. As seconds it is the year
5138, as milliseconds 1973."""

_END_OF_TIME: Final = 253_402_300_800_000
"""Milliseconds until the year 10000, which no calendar of Python's has."""


class FlowState(StrEnum):
    """What a tuple says of its flow."""

    BEGIN = "B"
    CONTINUING = "C"
    END = "E"
    DENIED = "D"


class Side(StrEnum):
    """Which way a flow goes, as the interface sees it whose log it is in."""

    INBOUND = "I"
    OUTBOUND = "O"


@dataclass(frozen=True, slots=True)
class FlowTuple:
    """One line.

    Fields:
        time: milliseconds since 1970.
        source, destination: IP addresses; who began the flow is the source.
        source_port, destination_port: of TCP and UDP, else 0.
        protocol: as IP numbers it.
        side: inbound or outbound.
        state: begin, continuing, end, denied.
        encryption: field 9, a :class:`~dtls_emu.vocabulary.FlowEncryption`; or what a file has instead.
        packets_sent, bytes_sent, packets_received, bytes_received: since the last tuple of the flow.
    """

    time: int
    source: str
    destination: str
    source_port: int
    destination_port: int
    protocol: int
    side: Side
    state: FlowState
    encryption: str
    packets_sent: int = 0
    bytes_sent: int = 0
    packets_received: int = 0
    bytes_received: int = 0

    def __str__(self) -> str:
        """As a log has it."""
        return (
            f"{self.time},{self.source},{self.destination},{self.source_port},{self.destination_port},"
            f"{self.protocol},{self.side},{self.state},{self.encryption},"
            f"{self.packets_sent},{self.bytes_sent},{self.packets_received},{self.bytes_received}"
        )


def parse_tuple(line: str) -> FlowTuple:
    """Read one line. Counters may be empty, and the time seconds.

    Raises:
        FlowLogError: it is no flow tuple; says which field, and shows it.
    """
    if len(line) > MAX_TUPLE:
        raise FlowLogError(f"a flow tuple of {len(line)} characters; none has more than {MAX_TUPLE}")
    fields = line.split(",")
    if len(fields) != FIELDS:
        raise FlowLogError(f"a flow tuple of {len(fields)} fields; version 4 has {FIELDS}: {line[:80]!r}")
    for name, address in (("source", fields[1]), ("destination", fields[2])):
        try:
            ip_address(address)
        except ValueError:
            raise FlowLogError(f"{name} {address[:48]!r} of a flow tuple is no IP address") from None
    if not fields[8].isascii() or not fields[8].replace("_", "").isalpha():
        raise FlowLogError(f"{fields[8][:48]!r} of a flow tuple is no encryption status")
    try:
        side = Side(fields[6])
        state = FlowState(fields[7])
    except ValueError as error:
        raise FlowLogError(f"direction or state of a flow tuple: {error}") from None
    return FlowTuple(
        milliseconds(fields[0]),
        fields[1],
        fields[2],
        parse_count(fields[3] or "0", 0xFFFF),
        parse_count(fields[4] or "0", 0xFFFF),
        parse_count(fields[5], 0xFF),
        side,
        state,
        fields[8],
        *(parse_count(field or "0") for field in fields[9:]),
    )


def milliseconds(timestamp: str) -> int:
    """The time of a tuple, whether it is written in seconds or in milliseconds.

    Raises:
        FlowLogError: it is no time.
    """
    number = parse_count(timestamp)
    if number < _LAST_SECONDS:
        number *= 1000
    if number >= _END_OF_TIME:
        raise FlowLogError(f"time {timestamp} of a flow tuple is neither seconds nor milliseconds since 1970")
    return number


def parse_count(text: str, most: int = MAX_COUNT) -> int:
    """A number without sign, of ASCII digits.

    Raises:
        FlowLogError: it is none, or larger than ``most``.
    """
    if not (text.isascii() and text.isdecimal() and len(text) <= 20):
        raise FlowLogError(f"{text[:48]!r} in a flow tuple is no number")
    number = int(text)
    if number > most:
        raise FlowLogError(f"{number} in a flow tuple is more than {most}")
    return number
