"""IP packets (RFC 791, RFC 8200) and what they carry: TCP (RFC 9293), UDP (RFC 768), ICMP (RFC 792, RFC 4443)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Final

from dtls_emu.teach.dissect.reader import Reader, TruncatedError


if TYPE_CHECKING:
    from collections.abc import Iterator

    from dtls_emu.teach.blocks import Layer


__all__ = ["dissect_packet", "ip_layers"]

ICMP: Final = 1
TCP: Final = 6
UDP: Final = 17
ICMPV6: Final = 58
FRAGMENT: Final = 44
NO_NEXT_HEADER: Final = 59

_PROTOCOLS: Final = {
    0: "hop-by-hop options",
    ICMP: "ICMP",
    TCP: "TCP",
    UDP: "UDP",
    43: "routing header",
    FRAGMENT: "fragment header",
    50: "ESP",
    51: "authentication header",
    ICMPV6: "ICMPv6",
    NO_NEXT_HEADER: "nothing",
    60: "destination options",
}
_EXTENSIONS: Final = frozenset({0, 43, 51, 60})

_ICMP_TYPES: Final = {0: "echo reply", 3: "destination unreachable", 8: "echo request", 11: "time exceeded"}
_ICMPV6_TYPES: Final = {
    1: "destination unreachable",
    2: "packet too big",
    3: "time exceeded",
    128: "echo request",
    129: "echo reply",
}
_ECN: Final = ("not ECN-capable", "ECT(1)", "ECT(0)", "CE: congestion experienced")
_TCP_FLAGS: Final = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR")


def dissect_packet(data: bytes) -> tuple[Layer, ...]:
    """The layers of an IP packet, as far as they are there."""
    reader = Reader(data)
    return tuple(ip_layers(reader))


def ip_layers(reader: Reader) -> Iterator[Layer]:
    """The layers of the IP packet that a reader stands at; what is behind the packet is left unread.

    The payload of UDP is left unread as well where its port says that somebody else knows what it is.
    """
    try:
        version = reader.data[reader.at] >> 4 if reader.left else 0
        if version == 4:
            yield from _ipv4(reader)
        elif version == 6:
            yield from _ipv6(reader)
        elif reader.left:
            reader.rest("bytes", f"the first four bits are {version}, and IP packets begin with 4 or 6")
            yield reader.layer("no IP packet", "")
    except TruncatedError:
        if reader.left:
            reader.rest("truncated", "the bytes end inside this header")
        yield reader.layer("cut short", "")


def _ipv4(reader: Reader) -> Iterator[Layer]:
    start = reader.at
    first = reader.data[start]
    header = (first & 0x0F) * 4
    reader.add("version, header length", 1, f"4, {header} bytes")
    _service(reader)
    total = reader.number("total length", 2)
    reader.number("identification", 2, digits=True)
    flags = int.from_bytes(reader.data[reader.at : reader.at + 2])
    is_fragment = bool(flags & 0x3FFF)
    set_flags = [name for bit, name in ((0x8000, "reserved"), (0x4000, "DF"), (0x2000, "MF")) if flags & bit]
    offset = (flags & 0x1FFF) * 8
    reader.add(
        "flags, fragment offset",
        2,
        f"{' '.join(set_flags) or 'none'}, {offset}",
        "a fragment: the card drops it where it would have to be encrypted" if is_fragment else "",
    )
    reader.number("time to live", 1)
    protocol = reader.number("protocol", 1, names=_PROTOCOLS)
    reader.number("header checksum", 2, digits=True)
    reader.add("source", 4, str(IPv4Address(reader.data[reader.at : reader.at + 4].ljust(4, b"\0"))))
    reader.add("destination", 4, str(IPv4Address(reader.data[reader.at : reader.at + 4].ljust(4, b"\0"))))
    if header > 20:
        reader.octets("options", min(header - 20, reader.left))
    yield reader.layer("IPv4", "RFC 791 3.1")
    reader.end = min(reader.end, start + max(total, header))
    if offset:
        yield from _payload(reader, "rest of a packet whose first fragment came before")
    else:
        yield from _transport(reader, protocol, ICMP)


def _ipv6(reader: Reader) -> Iterator[Layer]:
    word = int.from_bytes(reader.data[reader.at : reader.at + 4])
    traffic_class = word >> 20 & 0xFF
    reader.add(
        "version, traffic class, flow label",
        4,
        f"6, 0x{traffic_class:02x}, 0x{word & 0xFFFFF:05x}",
        _ECN[traffic_class & 3],
    )
    length = reader.number("payload length", 2)
    protocol = reader.number("next header", 1, names=_PROTOCOLS)
    reader.number("hop limit", 1)
    for name in ("source", "destination"):
        reader.add(name, 16, str(IPv6Address(reader.data[reader.at : reader.at + 16].ljust(16, b"\0"))))
    reader.end = min(reader.end, reader.at + length)
    yield reader.layer("IPv6", "RFC 8200 3")
    while protocol in _EXTENSIONS or protocol == FRAGMENT:
        if protocol == FRAGMENT:
            following = reader.number("next header", 1, names=_PROTOCOLS)
            reader.octets("reserved", 1)
            word = int.from_bytes(reader.data[reader.at : reader.at + 2])
            more = "more follow" if word & 1 else "the last"
            reader.add("fragment offset, M", 2, f"{word & 0xFFF8}, {more}")
            reader.number("identification", 4, digits=True)
            yield reader.layer("IPv6 fragment header", "RFC 8200 4.5")
            if word & 0xFFF8:
                yield from _payload(reader, "rest of a packet whose first fragment came before")
                return
        else:
            following = reader.number("next header", 1, names=_PROTOCOLS)
            units = 4 if protocol == 51 else 8
            more_units = reader.number("header length", 1, f"in units of {units} bytes, without the first")
            reader.octets("options", (more_units + 2) * 4 - 2 if protocol == 51 else more_units * 8 + 6)
            yield reader.layer(f"IPv6 {_PROTOCOLS[protocol]}", "RFC 8200 4")
        protocol = following
    yield from _transport(reader, protocol, ICMPV6)


def _service(reader: Reader) -> None:
    octet = reader.data[reader.at] if reader.left else 0
    reader.add("DSCP, ECN", 1, f"{octet >> 2}, {octet & 3}", _ECN[octet & 3])


def _transport(reader: Reader, protocol: int, icmp: int) -> Iterator[Layer]:
    if protocol == UDP:
        reader.number("source port", 2)
        reader.number("destination port", 2)
        length = reader.number("length", 2)
        reader.number("checksum", 2, "none was computed" if not any(_ahead(reader, 2)) else "", digits=True)
        yield reader.layer("UDP", "RFC 768")
        reader.end = min(reader.end, reader.at + max(length - 8, 0))
        yield from _payload(reader)
    elif protocol == TCP:
        yield from _tcp(reader)
    elif protocol == icmp:
        names = _ICMP_TYPES if icmp == ICMP else _ICMPV6_TYPES
        kind = reader.number("type", 1, names=names)
        reader.number("code", 1)
        reader.number("checksum", 2, digits=True)
        if names.get(kind, "").startswith("echo"):
            reader.number("identifier", 2)
            reader.number("sequence number", 2)
        elif (icmp, kind) == (ICMP, 3):
            reader.octets("unused", 2)
            reader.number("next-hop MTU", 2, "with code 4: the largest packet that fits (RFC 1191)")
        elif (icmp, kind) == (ICMPV6, 2):
            reader.number("MTU", 4, "the largest packet that fits")
        yield reader.layer("ICMP" if icmp == ICMP else "ICMPv6", "RFC 792" if icmp == ICMP else "RFC 4443")
        yield from _payload(reader)
    else:
        yield from _payload(reader)


def _tcp(reader: Reader) -> Iterator[Layer]:
    start = reader.at
    reader.number("source port", 2)
    reader.number("destination port", 2)
    reader.number("sequence number", 4)
    reader.number("acknowledgement number", 4)
    header = (_ahead(reader, 1)[0] >> 4) * 4 if reader.left else 0
    reader.add("data offset", 1, f"{header} bytes")
    flags = _ahead(reader, 1)[0] if reader.left else 0
    names = [name for bit, name in enumerate(_TCP_FLAGS) if flags >> bit & 1]
    reader.add("flags", 1, " ".join(names) or "none")
    reader.number("window", 2)
    reader.number("checksum", 2, digits=True)
    reader.number("urgent pointer", 2)
    if header > 20:
        reader.octets("options", min(header - (reader.at - start), reader.left))
    yield reader.layer("TCP", "RFC 9293 3.1")
    yield from _payload(reader)


def _payload(reader: Reader, meaning: str = "") -> Iterator[Layer]:
    if reader.left:
        reader.rest("payload", meaning)
        yield reader.layer("payload", "")


def _ahead(reader: Reader, size: int) -> bytes:
    return reader.data[reader.at : reader.at + size]
