"""The packets that trials offer: UDP datagrams of an exact size, and fragments of every shape.

All are complete IP packets with right checksums (:mod:`dtls_emu.wire.packet`). A whole packet carries its row number
in the identification field (IPv4, RFC 791) or the flow label (IPv6, RFC 8200), so that a received row can be compared
with the one that was sent.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from dtls_emu.errors import DtlsEmuError
from dtls_emu.simulation.accounts import AccountingError
from dtls_emu.wire import packet
from dtls_emu.wire.burst import MAX_ROWS, Burst
from dtls_emu.wire.headers import DESTINATION_OPTIONS, FRAGMENT_FIELDS, HOP_BY_HOP, ROUTING, UDP, UDP_FIELDS
from dtls_emu.wire.overhead import IPV4_HEADER, IPV6_HEADER, MAX_UDP_PAYLOAD, UDP_HEADER, path_overhead


if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Address, IPv6Address

    from numpy.typing import NDArray


__all__ = [
    "SMALLEST_TIMED",
    "Ends",
    "check_rows",
    "ends_of",
    "fragments",
    "read_tags",
    "rows_per_burst",
    "tags",
    "udp_burst",
    "udp_bursts",
    "udp_packet",
]

SOURCE_PORT: Final = 49_152  # the first dynamic port, RFC 6335 6
DESTINATION_PORT: Final = 9  # discard, RFC 863
PAYLOAD_SEED: Final = 863

ALTERED: Final = "a packet was delivered that is not one of those sent: the datapath alters packets"

TAG: Final = 16
"""Bytes at the beginning of a payload: a time in ns and its complement, whose sum is 0 whatever the time."""

SMALLEST_TIMED: Final = IPV6_HEADER + UDP_HEADER + TAG
"""Bytes of the smallest packet that can carry a time, of either IP version."""

_NO_OPERATION: Final = b"\x01"  # IPv4 option, RFC 791 3.1


@dataclass(frozen=True, slots=True)
class Ends:
    """The two inner addresses, of one IP version."""

    source: IPv4Address | IPv6Address
    destination: IPv4Address | IPv6Address


def ends_of(ends: Sequence[Ends], version: int) -> Ends:
    """Those of an IP version.

    Raises:
        DtlsEmuError: the VMs have none.
    """
    for each in ends:
        if each.source.version == version:
            return each
    raise DtlsEmuError(
        f"the two VMs of this lab have no IPv{version} addresses; give them some, or leave out --ip"
    )


def rows_per_burst(size: int, wanted: int = 0) -> int:
    """Packets of ``size`` bytes in a burst: as many as one send carries, encrypted; or fewer, where they are wanted.

    Plain arms send as many, for fairness.
    """
    most = max(1, min(MAX_ROWS, MAX_UDP_PAYLOAD // (size + path_overhead(encrypted=True).datagram)))
    return min(most, wanted) if wanted else most


def udp_packet(ends: Ends, size: int, row: int = 0, flow: int = 0) -> bytes:
    """One whole UDP packet of ``size`` bytes. The payload depends on row and size only, the source port on the flow."""
    header = IPV4_HEADER if ends.source.version == 4 else IPV6_HEADER
    payload = random.Random(PAYLOAD_SEED + row).randbytes(size - header - UDP_HEADER)
    if len(payload) >= TAG:  # the sum that a time and its complement will have
        payload = b"\x00" * (TAG // 2) + b"\xff" * (TAG // 2) + payload[TAG:]
    whole = packet.udp_packet(
        ends.source,
        ends.destination,
        SOURCE_PORT + flow,
        DESTINATION_PORT,
        payload,
        df=False,
        identification=row,
    )
    return whole if ends.source.version == 4 else packet.with_flow_label(whole, row)


def udp_burst(ends: Ends, size: int, rows: int = 0, flow: int = 0) -> Burst:
    """A burst of whole packets of one flow, each with a payload of its own; a full one unless ``rows`` are given."""
    return Burst.from_packets(
        [udp_packet(ends, size, row, flow) for row in range(rows_per_burst(size, rows))]
    )


def udp_bursts(ends: Ends, size: int, rows: int = 0, flows: int = 1) -> list[Burst]:
    """A burst of each flow."""
    return [udp_burst(ends, size, rows, flow) for flow in range(flows)]


def tags(burst: Burst) -> NDArray[np.uint64]:
    """Where a burst's packets carry a time in ns and its complement: a view of shape ``(count, 2)``.

    The burst is of :func:`udp_burst`, of packets that are large enough.
    """
    return _tags(_matrix(burst, writeable=True))


def read_tags(burst: Burst) -> NDArray[np.int64]:
    """The time that each packet was due at, in ns.

    Raises:
        AccountingError: one has been altered.
    """
    if burst.size != burst.last:
        raise AccountingError("a packet was delivered that is not one of those sent: it is shorter")
    written = _tags(_matrix(burst))
    if (written[:, 0] != ~written[:, 1]).any():
        raise AccountingError(ALTERED)
    return written[:, 0].astype(np.int64)


def check_rows(received: Burst, sent: Burst | Sequence[Burst]) -> None:
    """Compare received packets with those that were sent, by flow and row number, in whatever order.

    Args:
        received: of one flow.
        sent: a burst of each flow, in their order; or the only one.

    Raises:
        AccountingError: a packet was altered.
    """
    flows = [sent] if isinstance(sent, Burst) else sent
    if received.size == flows[0].size == received.last:
        rows = _matrix(received)
        version = int(rows[0, 0]) >> 4
        at = 4 if version == 4 else 2  # identification, or the lower 16 bits of the flow label
        port = IPV4_HEADER if version == 4 else IPV6_HEADER
        flow = (int(rows[0, port]) << 8 | int(rows[0, port + 1])) - SOURCE_PORT if len(flows) > 1 else 0
        numbers = rows[:, at].astype(np.intp) << 8 | rows[:, at + 1]
        if (
            0 <= flow < len(flows)
            and int(numbers.max()) < flows[flow].count
            and np.array_equal(rows, _matrix(flows[flow])[numbers])
        ):
            return
    raise AccountingError(ALTERED)


def fragments(ends: Ends, size: int) -> dict[str, bytes]:
    """A fragment of every shape, each ``size`` bytes long (at least 96), by a name for people."""
    shapes = _IPV4_SHAPES if ends.source.version == 4 else _IPV6_SHAPES
    return {name: shape.make(ends, size) for name, shape in shapes.items()}


def _matrix(burst: Burst, *, writeable: bool = False) -> NDArray[np.uint8]:
    """Rows of one length as a view of two dimensions."""
    return np.lib.stride_tricks.as_strided(
        burst.buffer[burst.offset :], (burst.count, burst.size), (burst.stride, 1), writeable=writeable
    )


def _tags(rows: NDArray[np.uint8]) -> NDArray[np.uint64]:
    start = (IPV4_HEADER if int(rows[0, 0]) >> 4 == 4 else IPV6_HEADER) + UDP_HEADER
    return rows[:, start : start + TAG].view(np.uint64)


@dataclass(frozen=True, slots=True)
class _Shape:
    """A fragment of a UDP packet, but for its addresses and size: see :func:`dtls_emu.wire.packet.ip_fragment`."""

    at: int
    more: bool
    df: bool = False
    options: bytes = b""
    chain: tuple[int, ...] = ()

    def make(self, ends: Ends, size: int) -> bytes:
        if ends.source.version == 4:
            length = size - IPV4_HEADER - len(self.options)
        else:
            length = size - IPV6_HEADER - FRAGMENT_FIELDS.size * (1 + len(self.chain))
        part = bytes(length)
        if self.at == 0:  # has the ports, as a real first fragment does
            part = UDP_FIELDS.pack(SOURCE_PORT, DESTINATION_PORT, 2 * length, 0) + part[UDP_HEADER:]
        return packet.ip_fragment(
            ends.source,
            ends.destination,
            UDP,
            part,
            self.at,
            more=self.more,
            df=self.df,
            options=self.options,
            chain=self.chain,
        )


_IPV4_SHAPES: Final = {
    "IPv4, first": _Shape(0, more=True),
    "IPv4, middle": _Shape(1480, more=True),
    "IPv4, last": _Shape(2960, more=False),
    "IPv4, last at the largest offset": _Shape(65_528, more=False),
    "IPv4, offset 8": _Shape(8, more=False),  # overlaps a transport header, RFC 1858 4
    "IPv4, first, DF set": _Shape(0, more=True, df=True),
    "IPv4, first, with options": _Shape(0, more=True, options=_NO_OPERATION * 8),
}
_IPV6_SHAPES: Final = {
    "IPv6, first": _Shape(0, more=True),
    "IPv6, middle": _Shape(1448, more=True),
    "IPv6, last": _Shape(2896, more=False),
    "IPv6, atomic": _Shape(0, more=False),  # RFC 6946: a fragment header on a whole packet
    "IPv6, first, behind hop-by-hop options": _Shape(0, more=True, chain=(HOP_BY_HOP,)),
    "IPv6, last, behind destination options": _Shape(2896, more=False, chain=(DESTINATION_OPTIONS,)),
    "IPv6, middle, behind a chain of three": _Shape(
        1448, more=True, chain=(HOP_BY_HOP, DESTINATION_OPTIONS, ROUTING)
    ),
}
