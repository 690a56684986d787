"""The packets that trials offer: UDP datagrams of an exact size, and fragments of every shape.

All are complete IP packets with right checksums. A whole packet carries its row number in the identification
field (IPv4, RFC 791) or the flow label (IPv6, RFC 8200), so that a received row can be compared with the one
that was sent.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, Final

import numpy as np

from dtls_emu.simulation.accounts import AccountingError
from dtls_emu.wire.burst import MAX_ROWS, Burst
from dtls_emu.wire.checksum import internet_checksum
from dtls_emu.wire.overhead import IPV4_HEADER, IPV6_HEADER, UDP_HEADER, path_overhead


if TYPE_CHECKING:
    from collections.abc import Callable
    from ipaddress import IPv4Address, IPv6Address

    from numpy.typing import NDArray


__all__ = ["Ends", "check_rows", "fragments", "rows_per_burst", "udp_burst", "udp_packet"]

SOURCE_PORT: Final = 49_152  # the first dynamic port, RFC 6335 6
DESTINATION_PORT: Final = 9  # discard, RFC 863
PAYLOAD_SEED: Final = 863
MAX_DATAGRAM: Final = 65_507
"""Bytes of one send: what an IPv4 packet holds behind its header and that of UDP."""

MORE_FRAGMENTS: Final = 0x2000  # of the IPv4 flags word, RFC 791 3.1
DONT_FRAGMENT: Final = 0x4000
OFFSET_UNITS: Final = 8  # a fragment's offset counts 8 bytes

UDP: Final = 17
HOP_BY_HOP: Final = 0
ROUTING: Final = 43
FRAGMENT: Final = 44
DESTINATION_OPTIONS: Final = 60

_IPV4: Final = Struct(">BBHHHBBH4s4s")
_IPV6: Final = Struct(">IHBB16s16s")
_UDP: Final = Struct(">HHHH")
_FRAGMENT_HEADER: Final = Struct(">BBHI")
_PADDING: Final = (
    b"\x01\x04\x00\x00\x00\x00"  # PadN over the other 6 bytes of an options header, RFC 8200 4.2
)
_OLD_ROUTE: Final = b"\x00\x00\x00\x00\x00\x00"  # routing type 0, no segments left, RFC 8200 4.4
_NO_OPERATION: Final = b"\x01"  # IPv4 option, RFC 791 3.1


@dataclass(frozen=True, slots=True)
class Ends:
    """The two inner addresses, of one IP version."""

    source: IPv4Address | IPv6Address
    destination: IPv4Address | IPv6Address


def rows_per_burst(size: int) -> int:
    """Most packets of ``size`` bytes that one send carries, encrypted; plain arms send as many, for fairness."""
    return max(1, min(MAX_ROWS, MAX_DATAGRAM // (size + path_overhead(encrypted=True).datagram)))


def udp_packet(ends: Ends, size: int, row: int = 0) -> bytes:
    """One whole UDP packet of ``size`` bytes. The payload depends on row and size only."""
    header = IPV4_HEADER if ends.source.version == 4 else IPV6_HEADER
    payload = random.Random(PAYLOAD_SEED + row).randbytes(size - header - UDP_HEADER)
    udp = bytearray(_UDP.pack(SOURCE_PORT, DESTINATION_PORT, UDP_HEADER + len(payload), 0) + payload)
    pseudo = ends.source.packed + ends.destination.packed + len(udp).to_bytes(4) + UDP.to_bytes(4)
    # An all-zero checksum means "none"; its other spelling means zero (RFC 768).
    udp[6:8] = (internet_checksum(pseudo + udp) or 0xFFFF).to_bytes(2)
    if ends.source.version == 4:
        return _ipv4(ends, bytes(udp), identification=row)
    return _IPV6.pack(6 << 28 | row, len(udp), UDP, 64, ends.source.packed, ends.destination.packed) + udp


def udp_burst(ends: Ends, size: int) -> Burst:
    """A full burst of whole packets of one flow, each with a payload of its own."""
    return Burst.from_packets([udp_packet(ends, size, row) for row in range(rows_per_burst(size))])


def check_rows(received: Burst, sent: Burst) -> None:
    """Compare received packets with those that were sent, by row number, in whatever order.

    Raises:
        AccountingError: a packet was altered on its way.
    """
    if received.size == sent.size == received.last:
        rows = _matrix(received)
        version = int(rows[0, 0]) >> 4
        at = 4 if version == 4 else 2  # identification, or the lower 16 bits of the flow label
        numbers = rows[:, at].astype(np.intp) << 8 | rows[:, at + 1]
        if int(numbers.max()) < sent.count and np.array_equal(rows, _matrix(sent)[numbers]):
            return
    raise AccountingError("a packet was delivered that is not one of those sent: the datapath alters packets")


def fragments(ends: Ends, size: int) -> dict[str, bytes]:
    """A fragment of every shape, each ``size`` bytes long (at least 96), by a name for people."""
    shapes = _IPV4_SHAPES if ends.source.version == 4 else _IPV6_SHAPES
    return {name: shape(ends, size) for name, shape in shapes.items()}


def _ipv4(
    ends: Ends, payload: bytes, *, identification: int = 0, flags: int = 0, options: bytes = b""
) -> bytes:
    length = IPV4_HEADER + len(options)
    fields = (0x40 | length // 4, 0, length + len(payload), identification, flags, 64, UDP)
    addresses = ends.source.packed, ends.destination.packed
    checksum = internet_checksum(_IPV4.pack(*fields, 0, *addresses) + options)
    return _IPV4.pack(*fields, checksum, *addresses) + options + payload


def _ipv4_fragment(flags: int, offset: int, options: bytes = b"") -> Callable[[Ends, int], bytes]:
    def shape(ends: Ends, size: int) -> bytes:
        payload = _fragment_payload(size - IPV4_HEADER - len(options), first=offset == 0)
        return _ipv4(ends, payload, flags=flags | offset // OFFSET_UNITS, options=options)

    return shape


def _ipv6_fragment(offset: int, *, more: bool, chain: tuple[int, ...] = ()) -> Callable[[Ends, int], bytes]:
    def shape(ends: Ends, size: int) -> bytes:
        follows = [*chain[1:], FRAGMENT]
        extensions = b"".join(
            bytes((after, 0)) + (_OLD_ROUTE if kind == ROUTING else _PADDING)
            for kind, after in zip(chain, follows, strict=False)
        )
        extensions += _FRAGMENT_HEADER.pack(UDP, 0, offset // OFFSET_UNITS << 3 | more, 1)
        payload = _fragment_payload(size - IPV6_HEADER - len(extensions), first=offset == 0)
        first = chain[0] if chain else FRAGMENT
        header = _IPV6.pack(
            6 << 28, size - IPV6_HEADER, first, 64, ends.source.packed, ends.destination.packed
        )
        return header + extensions + payload

    return shape


def _fragment_payload(length: int, *, first: bool) -> bytes:
    """The first fragment has the ports, as a real one does; the others have not."""
    payload = bytes(length)
    return (
        _UDP.pack(SOURCE_PORT, DESTINATION_PORT, 2 * length, 0) + payload[UDP_HEADER:] if first else payload
    )


def _matrix(burst: Burst) -> NDArray[np.uint8]:
    """Rows of one length as a view of two dimensions."""
    return np.lib.stride_tricks.as_strided(
        burst.buffer[burst.offset :], (burst.count, burst.size), (burst.stride, 1), writeable=False
    )


_IPV4_SHAPES: Final = {
    "IPv4, first": _ipv4_fragment(MORE_FRAGMENTS, 0),
    "IPv4, middle": _ipv4_fragment(MORE_FRAGMENTS, 1480),
    "IPv4, last": _ipv4_fragment(0, 2960),
    "IPv4, last at the largest offset": _ipv4_fragment(0, 65_528),
    "IPv4, offset 8": _ipv4_fragment(0, 8),  # overlaps a transport header, RFC 1858 4
    "IPv4, first, DF set": _ipv4_fragment(MORE_FRAGMENTS | DONT_FRAGMENT, 0),
    "IPv4, first, with options": _ipv4_fragment(MORE_FRAGMENTS, 0, _NO_OPERATION * 8),
}
_IPV6_SHAPES: Final = {
    "IPv6, first": _ipv6_fragment(0, more=True),
    "IPv6, middle": _ipv6_fragment(1448, more=True),
    "IPv6, last": _ipv6_fragment(2896, more=False),
    "IPv6, atomic": _ipv6_fragment(0, more=False),  # RFC 6946: a fragment header on a whole packet
    "IPv6, first, behind hop-by-hop options": _ipv6_fragment(0, more=True, chain=(HOP_BY_HOP,)),
    "IPv6, last, behind destination options": _ipv6_fragment(2896, more=False, chain=(DESTINATION_OPTIONS,)),
    "IPv6, middle, behind a chain of three": _ipv6_fragment(
        1448, more=True, chain=(HOP_BY_HOP, DESTINATION_OPTIONS, ROUTING)
    ),
}
