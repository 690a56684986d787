"""Whole IP packets, built one at a time: for guests, labs and benchmarks, not for the datapath.

Every length and checksum is right. :mod:`dtls_emu.wire.parse` reads them.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from struct import Struct
from typing import TYPE_CHECKING, Final

from dtls_emu.errors import LocalProtocolError
from dtls_emu.vocabulary import FragmentShape
from dtls_emu.wire.checksum import internet_checksum
from dtls_emu.wire.headers import (
    DESTINATION_OPTIONS,
    DONT_FRAGMENT,
    ECHO_FIELDS,
    FRAGMENT_FIELDS,
    FRAGMENT_HEADER,
    HOP_BY_HOP,
    ICMP,
    ICMP_ECHO,
    ICMP_ECHO_REPLY,
    ICMPV6,
    ICMPV6_ECHO,
    ICMPV6_ECHO_REPLY,
    IPV4_FIELDS,
    IPV6_FIELDS,
    MAX_PACKET,
    MORE_FRAGMENTS,
    ROUTING,
    TCP,
    TCP_ACK,
    TCP_CHECKSUM,
    TCP_FIELDS,
    TCP_HEADER,
    UDP,
    UDP_CHECKSUM,
    UDP_FIELDS,
)
from dtls_emu.wire.overhead import IPV4_HEADER, IPV6_HEADER, UDP_HEADER
from dtls_emu.wire.parse import Packet, parse_packet_untrusted, pseudo_header, pull_echo_untrusted


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Address = str | IPv4Address | IPv6Address


__all__ = [
    "echo_reply",
    "fragment",
    "fragments",
    "icmp_echo",
    "icmp_packet",
    "ip_fragment",
    "ip_packet",
    "tcp_packet",
    "udp_packet",
    "with_flow_label",
    "with_tos",
]

DEFAULT_TTL: Final = 64  # what Linux sends; RFC 1700
OFFSET_UNIT: Final = 8
"""Bytes that one step of a fragment's offset stands for (RFC 791 3.1, RFC 8200 4.5)."""

ICMP_CHECKSUM: Final = 2

MAX_FLOW_LABEL: Final = (1 << 20) - 1  # RFC 8200 3
_WORD: Final = Struct(">I")

MAX_IPV4_OPTIONS: Final = 40

# What follows the next header's number in an extension header of 8 bytes
_PADDED_OPTIONS: Final = b"\x00\x01\x04\x00\x00\x00\x00"  # PadN over 6 bytes, RFC 8200 4.2
_SPENT_ROUTE: Final = bytes(7)  # type 0, no segments left, RFC 8200 4.4
_EXTENSIONS: Final = {
    HOP_BY_HOP: _PADDED_OPTIONS,
    DESTINATION_OPTIONS: _PADDED_OPTIONS,
    ROUTING: _SPENT_ROUTE,
}


def udp_packet(
    source: Address,
    destination: Address,
    sport: int,
    dport: int,
    payload: bytes = b"",
    *,
    df: bool = True,
    identification: int = 0,
    ttl: int = DEFAULT_TTL,
) -> bytes:
    """An IP packet with a UDP datagram.

    Args:
        source: inner address of the sender.
        destination: that of the receiver, of the same IP version.
        sport: UDP port of the sender.
        dport: that of the receiver.
        payload: of the datagram.
        df: Don't Fragment; IPv4 only, as ``identification``.
        identification: of the packet, 16 bits.
        ttl: time to live, or hop limit.

    Raises:
        LocalProtocolError: addresses of two versions, or more than 65,535 bytes.
    """
    header = UDP_FIELDS.pack(sport, dport, (UDP_HEADER + len(payload)) & 0xFFFF, 0)
    return _checked(
        source,
        destination,
        UDP,
        header + payload,
        UDP_CHECKSUM,
        df=df,
        identification=identification,
        ttl=ttl,
    )


def tcp_packet(
    source: Address,
    destination: Address,
    sport: int,
    dport: int,
    payload: bytes = b"",
    *,
    sequence: int = 0,
    acknowledgement: int = 0,
    flags: int = TCP_ACK,
    window: int = 65535,
    options: bytes = b"",
    df: bool = True,
    identification: int = 0,
    ttl: int = DEFAULT_TTL,
) -> bytes:
    """An IP packet with a TCP segment; ``options`` are a multiple of 4 bytes, at most 40. Else as UDP.

    Raises:
        LocalProtocolError: as for UDP, or options of another length.
    """
    if len(options) % 4 or len(options) > 40:
        raise LocalProtocolError(f"TCP options are up to 40 bytes in words of 4, not {len(options)}")
    size = TCP_HEADER + len(options)
    header = TCP_FIELDS.pack(sport, dport, sequence, acknowledgement, size << 2, flags, window, 0, 0)
    return _checked(
        source,
        destination,
        TCP,
        header + options + payload,
        TCP_CHECKSUM,
        df=df,
        identification=identification,
        ttl=ttl,
    )


def icmp_echo(
    source: Address,
    destination: Address,
    identifier: int,
    sequence: int,
    payload: bytes = b"",
    *,
    reply: bool = False,
    df: bool = True,
    identification: int = 0,
    ttl: int = DEFAULT_TTL,
) -> bytes:
    """An echo request or reply, ICMP or ICMPv6 by the version of the addresses.

    Raises:
        LocalProtocolError: as for UDP.
    """
    if _parsed(source).version == 4:
        kind = ICMP_ECHO_REPLY if reply else ICMP_ECHO
    else:
        kind = ICMPV6_ECHO_REPLY if reply else ICMPV6_ECHO
    message = ECHO_FIELDS.pack(kind, 0, 0, identifier, sequence) + payload
    return icmp_packet(source, destination, message, df=df, identification=identification, ttl=ttl)


def icmp_packet(
    source: Address,
    destination: Address,
    message: bytes,
    *,
    df: bool = True,
    identification: int = 0,
    ttl: int = DEFAULT_TTL,
) -> bytes:
    """An ICMP or ICMPv6 message, by the version of the addresses; its checksum is filled in.

    Raises:
        LocalProtocolError: as for UDP.
    """
    protocol = ICMP if _parsed(source).version == 4 else ICMPV6
    return _checked(
        source, destination, protocol, message, ICMP_CHECKSUM, df=df, identification=identification, ttl=ttl
    )


def ip_packet(
    source: Address,
    destination: Address,
    protocol: int,
    transport: bytes,
    *,
    df: bool = True,
    identification: int = 0,
    ttl: int = DEFAULT_TTL,
) -> bytes:
    """An IP packet around ``transport``, which is taken as it is.

    Raises:
        LocalProtocolError: addresses of two versions, or more than 65,535 bytes.
    """
    return _ip(source, destination, protocol, transport, DONT_FRAGMENT if df else 0, identification, ttl)


def with_tos(packet: bytes, tos: int) -> bytes:
    """An IP packet with another type of service, or traffic class; the checksum of IPv4 is made anew."""
    changed = bytearray(packet)
    if changed[0] >> 4 == 6:
        changed[0:2] = ((changed[0] << 8 | changed[1]) & 0xF00F | tos << 4).to_bytes(2)
        return bytes(changed)
    header = (changed[0] & 0x0F) << 2
    changed[1] = tos
    changed[10:12] = bytes(2)
    changed[10:12] = internet_checksum(changed[:header]).to_bytes(2)
    return bytes(changed)


def with_flow_label(packet: bytes, label: int) -> bytes:
    """An IPv6 packet with another flow label, of 20 bits, which no checksum covers."""
    (first,) = _WORD.unpack_from(packet)
    return _WORD.pack(first & ~MAX_FLOW_LABEL | label) + packet[_WORD.size :]


def echo_reply(packet: bytes | bytearray | memoryview) -> bytes | None:
    """The answer to an echo request; None for any other packet."""
    parsed = parse_packet_untrusted(packet)
    echo = None if parsed is None else pull_echo_untrusted(parsed)
    if parsed is None or echo is None or echo.is_reply:
        return None
    return icmp_echo(
        parsed.destination,
        parsed.source,
        echo.identifier,
        echo.sequence,
        bytes(echo.payload),
        reply=True,
        df=parsed.dont_fragment,
    )


def ip_fragment(
    source: Address,
    destination: Address,
    protocol: int,
    part: bytes,
    at: int,
    *,
    more: bool,
    identification: int = 1,
    ttl: int = DEFAULT_TTL,
    df: bool = False,
    options: bytes = b"",
    chain: Sequence[int] = (),
) -> bytes:
    """One fragment of an IP packet, for whoever wants one that :func:`fragment` does not make.

    Args:
        source: inner address of the sender.
        destination: that of the receiver, of the same IP version.
        protocol: of the whole packet.
        part: of its payload.
        at: where in the payload it begins, in bytes, a multiple of 8.
        more: whether more fragments follow.
        identification: of the packet, 16 bits, or 32 with IPv6.
        ttl: time to live, or hop limit.
        df: Don't Fragment; IPv4 only.
        options: of IPv4, up to 40 bytes in words of 4.
        chain: of IPv6, the extension headers in front of the fragment header, by number: hop-by-hop options,
            destination options, routing. Each has 8 bytes and asks for nothing.

    Raises:
        LocalProtocolError: addresses of two versions, more than 65,535 bytes, or options of another length.
    """
    offset = at // OFFSET_UNIT
    if _parsed(source).version == 4:
        flags = offset | (MORE_FRAGMENTS if more else 0) | (DONT_FRAGMENT if df else 0)
        return _ip(source, destination, protocol, part, flags, identification, ttl, options)
    following = (*chain, FRAGMENT_HEADER)
    extensions = b"".join(
        bytes((after,)) + _EXTENSIONS[kind] for kind, after in zip(chain, following[1:], strict=True)
    )
    extensions += FRAGMENT_FIELDS.pack(protocol, 0, offset << 3 | more, identification)
    return _ip(source, destination, following[0], extensions + part, 0, 0, ttl)


def fragment(packet: bytes, mtu: int, *, identification: int | None = None) -> list[bytes]:
    """Cut a whole packet into fragments that fit ``mtu``, as its sender would; itself when it fits.

    Args:
        packet: IPv4 without DF or options, or IPv6 without extension headers.
        mtu: bytes of the largest fragment, header included.
        identification: of the datagram; by default the packet's own, 1 for IPv6.

    Raises:
        LocalProtocolError: not such a packet, DF is set, or no payload fits.
    """
    if len(packet) <= mtu:
        return [packet]
    parsed, header = _plain(packet)
    if parsed.version == 4 and parsed.dont_fragment:
        raise LocalProtocolError("a packet with DF set cannot be fragmented")
    overhead = IPV4_HEADER if parsed.version == 4 else IPV6_HEADER + FRAGMENT_FIELDS.size
    step = (mtu - overhead) // OFFSET_UNIT * OFFSET_UNIT
    if step <= 0:
        raise LocalProtocolError(f"nothing of a packet fits an MTU of {mtu}")
    body = packet[header:]
    if identification is None:
        identification = parsed.identification if parsed.version == 4 else 1
    return [
        _fragment(parsed, body[at : at + step], at, more=at + step < len(body), identification=identification)
        for at in range(0, len(body), step)
    ]


def fragments(
    packet: bytes, shapes: Iterable[FragmentShape] = tuple(FragmentShape), *, size: int = 576
) -> list[bytes]:
    """One fragment of each shape, with the addresses, protocol and payload of a whole packet.

    No two of them make a whole packet. Shapes of the other IP version are left out.

    Args:
        packet: IPv4 without options, or IPv6 without extension headers. A payload that is too short for a
            shape is continued with zeros.
        shapes: which ones.
        size: bytes of each fragment; :attr:`~dtls_emu.vocabulary.FragmentShape.V4_TINY` has 28. Rounded
            down where a fragment that is not the last must be a multiple of 8.

    Raises:
        LocalProtocolError: not such a packet, or ``size`` has no room for 8 bytes of payload.
    """
    parsed, header = _plain(packet)
    body = packet[header:]
    return [_shaped(parsed, body, shape, size) for shape in shapes if shape.startswith(f"v{parsed.version}-")]


def _shaped(packet: Packet, body: bytes, shape: FragmentShape, size: int) -> bytes:
    chain = (HOP_BY_HOP,) if shape is FragmentShape.V6_HOP_BY_HOP else ()
    overhead = IPV4_HEADER if packet.version == 4 else IPV6_HEADER + FRAGMENT_FIELDS.size * (1 + len(chain))
    length = (size - overhead) // OFFSET_UNIT * OFFSET_UNIT
    if length <= 0:
        raise LocalProtocolError(f"a fragment of {size} bytes has no room for payload")
    # Offsets in steps of the length, each shape in a datagram of its own: they never complete each other.
    step = {FragmentShape.V4_MIDDLE: 1, FragmentShape.V4_LAST: 2}.get(shape, 0)
    more = shape not in {FragmentShape.V4_LAST, FragmentShape.V6_ATOMIC}
    if shape is FragmentShape.V4_TINY:
        length = OFFSET_UNIT
    elif not more:
        length = size - overhead
    at = step * (length // OFFSET_UNIT * OFFSET_UNIT)
    part = body[at : at + length].ljust(length, b"\0")
    number = 1 + list(FragmentShape).index(shape)
    return _fragment(packet, part, at, more=more, identification=number, chain=chain)


def _fragment(
    packet: Packet, part: bytes, at: int, *, more: bool, identification: int, chain: Sequence[int] = ()
) -> bytes:
    """A fragment with the addresses, protocol and hop limit of a packet."""
    return ip_fragment(
        packet.source,
        packet.destination,
        packet.protocol,
        part,
        at,
        more=more,
        identification=identification,
        ttl=packet.ttl,
        chain=chain,
    )


def _plain(packet: bytes) -> tuple[Packet, int]:
    """A packet without options or extension headers, and the length of its header."""
    parsed = parse_packet_untrusted(packet)
    header = 0 if parsed is None else len(packet) - len(parsed.transport)
    if parsed is None or header != (IPV4_HEADER if parsed.version == 4 else IPV6_HEADER):
        raise LocalProtocolError("fragments are made of a whole packet without options or extension headers")
    return parsed, header


def _checked(
    source: Address,
    destination: Address,
    protocol: int,
    transport: bytes,
    field: int,
    *,
    df: bool,
    identification: int,
    ttl: int,
) -> bytes:
    """An IP packet around ``transport``, whose checksum at ``field`` is filled in."""
    ends = _parsed(source).packed + _parsed(destination).packed
    covered = transport if protocol == ICMP else pseudo_header(ends, protocol, len(transport)) + transport
    checksum = internet_checksum(covered)
    if protocol == UDP:
        checksum = checksum or 0xFFFF  # a computed 0 is sent as its other form, RFC 768
    transport = transport[:field] + checksum.to_bytes(2) + transport[field + 2 :]
    return ip_packet(source, destination, protocol, transport, df=df, identification=identification, ttl=ttl)


def _ip(
    source: Address,
    destination: Address,
    protocol: int,
    payload: bytes,
    flags: int,
    identification: int,
    ttl: int,
    options: bytes = b"",
) -> bytes:
    sender, receiver = _parsed(source), _parsed(destination)
    if sender.version != receiver.version:
        raise LocalProtocolError(f"{sender} and {receiver} are addresses of two IP versions")
    if len(options) % 4 or len(options) > MAX_IPV4_OPTIONS:
        raise LocalProtocolError(
            f"IPv4 options are up to {MAX_IPV4_OPTIONS} bytes in words of 4, not {len(options)}"
        )
    header = IPV4_HEADER + len(options)
    length = len(payload) + (header if sender.version == 4 else 0)
    if length > MAX_PACKET:
        raise LocalProtocolError(f"an IP packet cannot say that it has {length} bytes")
    if sender.version == 6:
        return IPV6_FIELDS.pack(6 << 28, length, protocol, ttl, sender.packed, receiver.packed) + payload
    fields = (4 << 4 | header >> 2, 0, length, identification, flags, ttl, protocol)
    checksum = internet_checksum(IPV4_FIELDS.pack(*fields, 0, sender.packed, receiver.packed) + options)
    return IPV4_FIELDS.pack(*fields, checksum, sender.packed, receiver.packed) + options + payload


def _parsed(address: Address) -> IPv4Address | IPv6Address:
    # ip_address() would turn one that is parsed into text and parse that again.
    return ip_address(address) if isinstance(address, str) else address
