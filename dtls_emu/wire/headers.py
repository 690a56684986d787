"""Numbers and layout of IP, TCP and UDP headers that more than one module needs."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from dtls_emu.wire.memory import kernel, load_u8, load_u16_be
from dtls_emu.wire.overhead import IPV4_HEADER, IPV6_HEADER, MAX_PACKET, UDP_HEADER


if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


__all__ = [
    "AUTHENTICATION",
    "DESTINATION_OPTIONS",
    "DONT_FRAGMENT",
    "ECHO_FIELDS",
    "EXTENSION_HEADERS",
    "FRAGMENT_FIELDS",
    "FRAGMENT_HEADER",
    "HOP_BY_HOP",
    "ICMP",
    "ICMPV6",
    "ICMPV6_ECHO",
    "ICMPV6_ECHO_REPLY",
    "ICMP_ECHO",
    "ICMP_ECHO_REPLY",
    "IPV4_FIELDS",
    "IPV6_FIELDS",
    "MAX_PACKET",
    "MF_OR_OFFSET",
    "MORE_FRAGMENTS",
    "ROUTING",
    "SUM_IN_FIELD",
    "TCP",
    "TCP_ACK",
    "TCP_CHECKSUM",
    "TCP_CWR",
    "TCP_FIELDS",
    "TCP_FIN",
    "TCP_HEADER",
    "TCP_PSH",
    "TCP_RST",
    "TCP_SYN",
    "TCP_URG",
    "UDP",
    "UDP_CHECKSUM",
    "UDP_FIELDS",
    "super_packet_layout",
    "transport_layout",
]

# IP protocols, https://www.iana.org/assignments/protocol-numbers
ICMP: Final = 1
TCP: Final = 6
UDP: Final = 17
ICMPV6: Final = 58

ICMP_ECHO: Final = 8  # RFC 792
ICMP_ECHO_REPLY: Final = 0
ICMPV6_ECHO: Final = 128  # RFC 4443 4
ICMPV6_ECHO_REPLY: Final = 129

# IPv6 extension headers (RFC 8200 4, 4302, 6275, 7401, 5533). All but AH count 8-byte units after the first.
HOP_BY_HOP: Final = 0
ROUTING: Final = 43
FRAGMENT_HEADER: Final = 44
AUTHENTICATION: Final = 51
DESTINATION_OPTIONS: Final = 60
MOBILITY: Final = 135
HOST_IDENTITY: Final = 139
SHIM6: Final = 140
EXTENSION_HEADERS: Final = (
    HOP_BY_HOP,
    DESTINATION_OPTIONS,
    ROUTING,
    AUTHENTICATION,
    MOBILITY,
    HOST_IDENTITY,
    SHIM6,
)
"""Those that a chain continues behind; a fragment header is looked for in between."""

_PLAIN_EXTENSIONS: Final = (HOP_BY_HOP, DESTINATION_OPTIONS)

# IPv4 options (RFC 791 3.1)
_END_OF_OPTIONS: Final = 0
_NO_OPERATION: Final = 1
_SOURCE_ROUTES: Final = (131, 137)  # loose, strict

SUM_IN_FIELD: Final = 1 << 32
"""In a layout: the sum of the pseudo header is in the checksum field, and cannot be had from the addresses."""

# Flags and offset of IPv4, the 16-bit word at 6 (RFC 791 3.1)
DONT_FRAGMENT: Final = 0x4000
MORE_FRAGMENTS: Final = 0x2000
MF_OR_OFFSET: Final = 0x3FFF

TCP_HEADER: Final = 20
TCP_CHECKSUM: Final = 16
UDP_CHECKSUM: Final = 6
TCP_FIN: Final = 0x01
TCP_SYN: Final = 0x02
TCP_RST: Final = 0x04
TCP_PSH: Final = 0x08
TCP_ACK: Final = 0x10
TCP_URG: Final = 0x20
TCP_CWR: Final = 0x80  # RFC 3168 6.1

# The fixed parts, in the order of their fields
IPV4_FIELDS: Final = Struct(">BBHHHBBH4s4s")
IPV6_FIELDS: Final = Struct(">IHBB16s16s")
UDP_FIELDS: Final = Struct(">HHHH")
TCP_FIELDS: Final = Struct(">HHIIBBHHH")
ECHO_FIELDS: Final = Struct(">BBHHH")
FRAGMENT_FIELDS: Final = Struct(">BBHI")


@kernel
def transport_layout(buffer: NDArray[np.uint8], start: int, length: int) -> int:
    """Where transport header and payload begin in a whole TCP or UDP packet at ``start``.

    Strict, as it guards everything that cuts and joins packets: each stated length is the length there is.

    Returns:
        ``transport << 16 | payload``, both offsets from ``start``; -1 for a packet that is not TCP or UDP, is
        a fragment, has a lying header, or one that the checksum or the meaning of the packet depends on: an IPv4
        source route, an IPv6 extension header other than hop-by-hop and destination options.
    """
    return _layout(buffer, start, length, False)


@kernel
def super_packet_layout(
    buffer: NDArray[np.uint8], start: int, length: int, has_sum: bool, csum_start: int, csum_offset: int
) -> int:
    """Likewise of a packet that a virtual NIC asks to have cut, which may be source-routed, too.

    What its checksum covers is then not what its addresses say: the destination is the route's last (RFC 791 3.1,
    RFC 8200 8.1). But the NIC has summed up the pseudo header already, whatever it is made of (virtio 1.2, 5.1.6.2).
    Its ``hdr_len`` is not asked for: with forwarded packets Linux has it cover payload, too.

    Args:
        buffer, start, length: the packet.
        has_sum: the checksum field has the sum of the pseudo header (``VIRTIO_NET_HDR_F_NEEDS_CSUM``).
        csum_start, csum_offset: where the transport header begins, and where in it the field is, as the NIC says.

    Returns:
        As :func:`transport_layout`, with the bit :data:`SUM_IN_FIELD` where the pseudo header is known only from the
        checksum field.
    """
    layout = _layout(buffer, start, length, False)
    if layout < 0 and has_sum:
        layout = _layout(buffer, start, length, True)
        transport = layout >> 16
        field = UDP_CHECKSUM if (layout & 0xFFFF) - transport == UDP_HEADER else TCP_CHECKSUM
        if layout < 0 or transport != csum_start or field != csum_offset:
            return -1
        layout |= SUM_IN_FIELD
    return layout


@kernel
def _layout(buffer: NDArray[np.uint8], start: int, length: int, routed: bool) -> int:
    """``routed``: take source routes and routing headers for nothing special."""
    if length < IPV4_HEADER or length > IPV6_HEADER + MAX_PACKET:
        return -1
    version = load_u8(buffer, start) >> 4
    if version == 4:
        transport = (load_u8(buffer, start) & 0x0F) << 2
        protocol = load_u8(buffer, start + 9)
        if (
            transport < IPV4_HEADER
            or transport > length
            or load_u16_be(buffer, start + 2) != length
            or load_u16_be(buffer, start + 6) & MF_OR_OFFSET
            or (transport > IPV4_HEADER and not routed and _is_source_routed(buffer, start, transport))
        ):
            return -1
    elif version == 6 and length >= IPV6_HEADER:
        transport = IPV6_HEADER
        protocol = load_u8(buffer, start + 6)
        if load_u16_be(buffer, start + 4) != length - IPV6_HEADER:
            return -1
        while protocol in _PLAIN_EXTENSIONS or (routed and protocol == ROUTING):
            if transport + 8 > length:
                return -1
            protocol = load_u8(buffer, start + transport)
            transport += (load_u8(buffer, start + transport + 1) + 1) << 3
    else:
        return -1
    rest = length - transport
    header = 0
    if protocol == UDP and rest >= UDP_HEADER and load_u16_be(buffer, start + transport + 4) == rest:
        header = UDP_HEADER
    elif protocol == TCP and rest >= TCP_HEADER:
        header = load_u8(buffer, start + transport + 12) >> 4 << 2
        if header < TCP_HEADER or header > rest:
            return -1
    payload = transport + header
    # Behind more than 64 KB of options the offset of the payload would not fit its 16 bits.
    return (transport << 16) | payload if header and payload <= MAX_PACKET else -1


@kernel
def _is_source_routed(buffer: NDArray[np.uint8], start: int, header: int) -> bool:
    """Whether an IPv4 header of ``header`` bytes has a source route, or options that cannot be told."""
    at = IPV4_HEADER
    while at < header:
        kind = load_u8(buffer, start + at)
        if kind == _END_OF_OPTIONS:
            return False
        if kind == _NO_OPERATION:
            at += 1
            continue
        size = load_u8(buffer, start + at + 1) if at + 1 < header else 0
        if size < 2 or at + size > header or kind in _SOURCE_ROUTES:
            return True
        at += size
    return False
