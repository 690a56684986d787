"""The answer to a packet that does not fit: "too big, and this would fit" (RFC 1191 4, RFC 4443 3.2).

The card has no address in the virtual network, so the answer comes from the address that the packet was sent
to: the one that the guest knows, and that its own firewall expects an answer of this flow from.

Nor may errors be sent as often as packets deserve one (RFC 4443 2.4 f; RFC 1812 4.3.2.8 for IPv4): a guest that
does not listen would get one for each packet. :class:`ErrorLimit` is the token bucket that both name.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from dtls_emu.wire.headers import ICMP, ICMPV6
from dtls_emu.wire.overhead import IPV4_HEADER, IPV4_MINIMUM, IPV6_HEADER, IPV6_MINIMUM_MTU
from dtls_emu.wire.packet import icmp_packet
from dtls_emu.wire.parse import Packet, is_intact, parse_packet_untrusted


if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address


__all__ = ["ErrorLimit", "PacketTooBig", "packet_too_big", "pull_packet_too_big_untrusted"]

DESTINATION_UNREACHABLE: Final = 3
FRAGMENTATION_NEEDED: Final = 4
PACKET_TOO_BIG: Final = 2
REDIRECT_V6: Final = 137

ERRORS_V4: Final = frozenset({3, 4, 5, 11, 12})  # RFC 1122 3.2.2
FIRST_INFORMATIONAL_V6: Final = 128  # RFC 4443 2.1: types below are errors

MAX_ERROR_V4: Final = IPV4_MINIMUM
"""Most bytes of an ICMP error, so that every host can take it (RFC 1812 4.3.2.3)."""

MAX_ERROR_V6: Final = IPV6_MINIMUM_MTU
"""Most bytes of an ICMPv6 error: the minimum MTU (RFC 4443 2.4 c)."""

ERRORS_PER_SECOND: Final = 10
ERROR_BURST: Final = 10
"""What RFC 4443 2.4 f names for a small device. Each guest has a bucket of its own, so these are its own errors: ten
connections that meet a smaller path at once all hear of it, and a hundred do so within ten seconds."""

_FRAGMENTATION_NEEDED: Final = Struct(">BBHHH")
_PACKET_TOO_BIG: Final = Struct(">BBHI")


class PacketTooBig(NamedTuple):
    """What a guest learns from the answer.

    Fields:
        mtu: of the next hop, in bytes of a whole inner packet. 0 from a router older than RFC 1191.
        quoted: the beginning of the packet that did not fit, a view.
    """

    mtu: int
    quoted: memoryview


class ErrorLimit:
    """A token bucket for ICMP errors to one guest (RFC 4443 2.4 f).

    Args:
        rate: errors a second on average.
        burst: most of them at once.
    """

    __slots__ = ("_burst", "_rate", "_tokens", "_updated")

    def __init__(self, rate: float = ERRORS_PER_SECOND, burst: int = ERROR_BURST) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._updated = 0.0

    def allows(self, now: float) -> bool:
        """Whether an error may be sent now, in seconds; then it is taken for sent."""
        passed = max(now - self._updated, 0.0)
        self._tokens = min(self._tokens + passed * self._rate, self._burst)
        self._updated = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def packet_too_big(
    packet: bytes | bytearray | memoryview, mtu: int, source: IPv4Address | IPv6Address | None = None
) -> bytes | None:
    """The ICMP or ICMPv6 error about a packet that is larger than ``mtu``.

    Args:
        packet: the inner packet that did not fit.
        mtu: bytes of the largest packet that would.
        source: whom the answer comes from; by default the packet's destination.

    Returns:
        A packet to deliver to the sender, or None where no error may be sent: DF is not set, the packet is
        itself an error (RFC 1122 3.2.2, RFC 4443 2.4 e), an end is no single host, or it is malformed.
    """
    parsed = parse_packet_untrusted(packet)
    if parsed is None or not parsed.dont_fragment or _is_error(parsed):
        return None
    sender = parsed.destination if source is None else source
    if not _is_host(parsed.source) or not _is_host(sender):
        return None
    if parsed.version == 4:
        header = _FRAGMENTATION_NEEDED.pack(DESTINATION_UNREACHABLE, FRAGMENTATION_NEEDED, 0, 0, mtu)
        room = MAX_ERROR_V4 - IPV4_HEADER - len(header)
    else:
        header = _PACKET_TOO_BIG.pack(PACKET_TOO_BIG, 0, 0, mtu)
        room = MAX_ERROR_V6 - IPV6_HEADER - len(header)
    return icmp_packet(sender, parsed.source, header + bytes(memoryview(packet)[:room]))


def pull_packet_too_big_untrusted(packet: Packet) -> PacketTooBig | None:
    """Read the error as the guest does that gets it; None for any other packet."""
    message = packet.transport
    if packet.version == 4 and packet.protocol == ICMP and len(message) >= _FRAGMENTATION_NEEDED.size:
        kind, code, _, _, mtu = _FRAGMENTATION_NEEDED.unpack_from(message)
        if (kind, code) == (DESTINATION_UNREACHABLE, FRAGMENTATION_NEEDED) and is_intact(packet):
            return PacketTooBig(mtu, message[_FRAGMENTATION_NEEDED.size :])
    elif packet.version == 6 and packet.protocol == ICMPV6 and len(message) >= _PACKET_TOO_BIG.size:
        kind, _, _, mtu = _PACKET_TOO_BIG.unpack_from(message)
        if kind == PACKET_TOO_BIG and is_intact(packet):
            return PacketTooBig(mtu, message[_PACKET_TOO_BIG.size :])
    return None


def _is_error(packet: Packet) -> bool:
    """Or may be one: a message too short to have a type is not answered either."""
    if packet.version == 4 and packet.protocol == ICMP:
        return not packet.transport or packet.transport[0] in ERRORS_V4
    if packet.version == 6 and packet.protocol == ICMPV6:
        kind = packet.transport[0] if packet.transport else 0
        return kind < FIRST_INFORMATIONAL_V6 or kind == REDIRECT_V6
    return False


def _is_host(address: IPv4Address | IPv6Address) -> bool:
    if address.is_unspecified or address.is_multicast or address.is_loopback:
        return False
    return address.version == 6 or not address.is_reserved
