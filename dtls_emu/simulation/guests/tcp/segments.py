"""A connection's ends, sequence numbers and options: what is in the header of a segment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from dtls_emu.wire.headers import TCP_HEADER
from dtls_emu.wire.overhead import IPV4_HEADER, IPV6_HEADER


if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    Address = IPv4Address | IPv6Address


__all__ = ["WINDOW", "WINDOW_SCALE", "Numbers", "Options", "TcpFlow", "encode_options", "parse_options"]

WINDOW: Final = 1 << 20
"""Bytes that the receiver takes at once: 10 Gbit/s over 0.8 ms, and less than a link's queue of 1000 packets."""

WINDOW_SCALE: Final = 5  # 2^20 >> 5 fits the 16 bits of the window field (RFC 7323 2.2)

_MSS: Final = 2  # kinds of options, RFC 9293 3.2
_NO_OPERATION: Final = 1
_WINDOW_SCALE: Final = 3  # RFC 7323 2.2
_MODULUS: Final = 1 << 32


class TcpFlow(NamedTuple):
    """A connection as one of its ends sees it."""

    source: Address
    destination: Address
    source_port: int
    destination_port: int

    @property
    def reversed(self) -> TcpFlow:
        """As the other end sees it."""
        return TcpFlow(self.destination, self.source, self.destination_port, self.source_port)

    @property
    def headers(self) -> int:
        """Bytes of IP and TCP headers without options."""
        return (IPV4_HEADER if self.source.version == 4 else IPV6_HEADER) + TCP_HEADER


class Numbers:
    """Sequence numbers of one direction: offsets in the stream to and from 32 bits. The SYN is at -1."""

    __slots__ = ("_first",)

    def __init__(self, initial: int) -> None:
        self._first = initial + 1

    def number(self, offset: int) -> int:
        """The sequence number of an offset."""
        return (self._first + offset) % _MODULUS

    def offset(self, number: int, near: int) -> int:
        """The offset with that number which is nearest to ``near``."""
        half = _MODULUS // 2
        return near + (number - self.number(near) + half) % _MODULUS - half


class Options(NamedTuple):
    """Options of a SYN, with the defaults of RFC 9293 3.7.1 and RFC 7323 1.3."""

    mss: int = 536
    window_scale: int = 0


def encode_options(mss: int) -> bytes:
    """The options of our SYN, which say the most payload of a segment that we take."""
    return (
        bytes([_MSS, 4])
        + min(mss, 0xFFFF).to_bytes(2)
        + bytes([_NO_OPERATION, _WINDOW_SCALE, 3, WINDOW_SCALE])
    )


def parse_options(options_untrusted: bytes) -> Options:
    """The options of a SYN; of malformed ones, those before the first that is wrong."""
    found = Options()
    rest = options_untrusted
    while rest and rest[0]:
        if rest[0] == _NO_OPERATION:
            rest = rest[1:]
            continue
        length = rest[1] if len(rest) > 1 else 0
        if length < 2 or length > len(rest):
            break
        if rest[0] == _MSS and length == 4:
            found = found._replace(mss=max(int.from_bytes(rest[2:4]), 1))
        elif rest[0] == _WINDOW_SCALE and length == 3:
            found = found._replace(window_scale=min(rest[2], 14))
        rest = rest[length:]
    return found
