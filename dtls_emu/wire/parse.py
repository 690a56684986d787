"""Read whole IP packets one at a time: for guests and the slow path, not for the datapath.

All of it is untrusted: a reader gives None for whatever is not a whole, honest packet of its kind. The
datapath's own view is :mod:`dtls_emu.wire.inspect`.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from dtls_emu.wire.checksum import internet_checksum
from dtls_emu.wire.headers import (
    AUTHENTICATION,
    DONT_FRAGMENT,
    ECHO_FIELDS,
    EXTENSION_HEADERS,
    FRAGMENT_HEADER,
    ICMP,
    ICMP_ECHO,
    ICMP_ECHO_REPLY,
    ICMPV6,
    ICMPV6_ECHO,
    ICMPV6_ECHO_REPLY,
    IPV4_FIELDS,
    IPV6_FIELDS,
    MF_OR_OFFSET,
    TCP,
    TCP_FIELDS,
    TCP_HEADER,
    UDP,
    UDP_FIELDS,
)
from dtls_emu.wire.overhead import IPV4_HEADER, IPV6_HEADER, UDP_HEADER


__all__ = [
    "Echo",
    "Packet",
    "TcpSegment",
    "UdpDatagram",
    "is_intact",
    "parse_packet_untrusted",
    "pseudo_header",
    "pull_echo_untrusted",
    "pull_tcp_untrusted",
    "pull_udp_untrusted",
]


class Packet(NamedTuple):
    """A whole IP packet, read.

    Fields:
        version: 4 or 6.
        source, destination: its addresses.
        protocol: of ``transport``, behind all extension headers.
        ttl: time to live, or hop limit.
        identification: of IPv4, else 0.
        dont_fragment: DF of IPv4; always True of IPv6.
        transport: transport header and payload, a view. Padding behind the packet is left out.
    """

    version: int
    source: IPv4Address | IPv6Address
    destination: IPv4Address | IPv6Address
    protocol: int
    ttl: int
    identification: int
    dont_fragment: bool
    transport: memoryview


class UdpDatagram(NamedTuple):
    """A UDP datagram, read (RFC 768)."""

    source_port: int
    destination_port: int
    payload: memoryview


class TcpSegment(NamedTuple):
    """A TCP segment, read (RFC 9293 3.1)."""

    source_port: int
    destination_port: int
    sequence: int
    acknowledgement: int
    flags: int
    window: int
    options: memoryview
    payload: memoryview


class Echo(NamedTuple):
    """An ICMP or ICMPv6 echo request or reply, read (RFC 792, RFC 4443 4)."""

    is_reply: bool
    identifier: int
    sequence: int
    payload: memoryview


def parse_packet_untrusted(packet: bytes | bytearray | memoryview) -> Packet | None:
    """Read an IP packet; None for a fragment and for one that is truncated or lies about a length.

    Bytes behind its end, such as the padding of a short Ethernet frame, are no part of it.
    """
    view = memoryview(packet)
    length = len(view)
    if length >= IPV4_HEADER and view[0] >> 4 == 4:
        first, _, total, identification, flags, ttl, protocol, _, source, destination = (
            IPV4_FIELDS.unpack_from(view)
        )
        header = (first & 0x0F) << 2
        if not IPV4_HEADER <= header <= total <= length or flags & MF_OR_OFFSET:
            return None
        return Packet(
            4,
            IPv4Address(source),
            IPv4Address(destination),
            protocol,
            ttl,
            identification,
            bool(flags & DONT_FRAGMENT),
            view[header:total],
        )
    if length < IPV6_HEADER or view[0] >> 4 != 6:
        return None
    _, payload, protocol, ttl, source, destination = IPV6_FIELDS.unpack_from(view)
    header, end = IPV6_HEADER, IPV6_HEADER + payload
    if end > length:
        return None
    while protocol in EXTENSION_HEADERS:
        if header + 8 > end:
            return None
        size = (view[header + 1] + 2) * 4 if protocol == AUTHENTICATION else (view[header + 1] + 1) * 8
        protocol = view[header]
        header += size
    if header > end or protocol == FRAGMENT_HEADER:
        return None
    return Packet(6, IPv6Address(source), IPv6Address(destination), protocol, ttl, 0, True, view[header:end])


def is_intact(packet: Packet) -> bool:
    """Is the checksum over the transport right? For TCP, UDP with a checksum, ICMP and ICMPv6."""
    if packet.protocol == ICMP:
        return internet_checksum(packet.transport) == 0
    ends = packet.source.packed + packet.destination.packed
    return (
        internet_checksum(pseudo_header(ends, packet.protocol, len(packet.transport)) + packet.transport) == 0
    )


def pull_udp_untrusted(packet: Packet) -> UdpDatagram | None:
    """The UDP datagram of a packet; None when it is none, lies about its length, or its checksum is wrong."""
    transport = packet.transport
    if packet.protocol != UDP or len(transport) < UDP_HEADER:
        return None
    source_port, destination_port, length, checksum = UDP_FIELDS.unpack_from(transport)
    if not UDP_HEADER <= length <= len(transport):
        return None
    # The surplus of RFC 9868 is behind the datagram, and its checksum does not cover it.
    datagram = packet._replace(transport=transport[:length])
    # No checksum is allowed over IPv4 only (RFC 768, RFC 8200 8.1).
    if (checksum or packet.version == 6) and not is_intact(datagram):
        return None
    return UdpDatagram(source_port, destination_port, datagram.transport[UDP_HEADER:])


def pull_tcp_untrusted(packet: Packet) -> TcpSegment | None:
    """The TCP segment of a packet; None when it is none, lies about its header, or its checksum is wrong."""
    transport = packet.transport
    if packet.protocol != TCP or len(transport) < TCP_HEADER:
        return None
    sport, dport, sequence, acknowledgement, size, flags, window, _, _ = TCP_FIELDS.unpack_from(transport)
    header = size >> 4 << 2
    if not TCP_HEADER <= header <= len(transport) or not is_intact(packet):
        return None
    return TcpSegment(
        sport,
        dport,
        sequence,
        acknowledgement,
        flags,
        window,
        transport[TCP_HEADER:header],
        transport[header:],
    )


def pull_echo_untrusted(packet: Packet) -> Echo | None:
    """The echo request or reply of a packet; None when it is none, or its checksum is wrong."""
    transport = packet.transport
    if packet.protocol != (ICMP if packet.version == 4 else ICMPV6) or len(transport) < ECHO_FIELDS.size:
        return None
    kind, code, _, identifier, sequence = ECHO_FIELDS.unpack_from(transport)
    request, reply = (ICMP_ECHO, ICMP_ECHO_REPLY) if packet.version == 4 else (ICMPV6_ECHO, ICMPV6_ECHO_REPLY)
    if kind not in {request, reply} or code or not is_intact(packet):
        return None
    return Echo(kind == reply, identifier, sequence, transport[ECHO_FIELDS.size :])


def pseudo_header(ends: bytes, protocol: int, length: int) -> bytes:
    """That of IPv6 (RFC 8200 8.1); with IPv4's addresses it sums up to IPv4's (RFC 793 3.1)."""
    return ends + length.to_bytes(4) + protocol.to_bytes(4)
