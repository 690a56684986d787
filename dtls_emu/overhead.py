"""What every layer costs, and what fits a path: the only arithmetic of sizes in the package.

::

    encrypted   outer IP 20/40 | UDP 8 | DTLS 13 + 8 | VXLAN 8 | Ethernet 14 | inner IP packet | tag 16
    clear       outer IP 20/40 | UDP 8 |               VXLAN 8 | Ethernet 14 | inner IP packet

Sources: RFC 6347 4.1 (record header 13), RFC 5288 3 (explicit nonce 8, tag 16), RFC 7348 5 (VXLAN 8
and the inner Ethernet header), RFC 768 (8), RFC 791 (20), RFC 8200 (40).

It stands below all floors: a lab file is checked with the figures that a card enforces.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final


__all__ = [
    "ENCAPSULATION",
    "ETHERNET_HEADER",
    "EXPLICIT_NONCE",
    "IPV4_HEADER",
    "IPV4_MINIMUM",
    "IPV6_HEADER",
    "IPV6_MINIMUM_MTU",
    "MAX_PACKET",
    "MAX_PLAINTEXT",
    "MAX_UDP_PAYLOAD",
    "OUTER_HEADERS",
    "RECORD_HEADER",
    "RECORD_OVERHEAD",
    "RECORD_PREFIX",
    "SMALLEST_HANDSHAKE",
    "TAG",
    "UDP_HEADER",
    "VXLAN_HEADER",
    "Overhead",
    "path_overhead",
    "smallest_handshake_mtu",
]

RECORD_HEADER: Final = 13
EXPLICIT_NONCE: Final = 8
TAG: Final = 16
RECORD_PREFIX: Final = RECORD_HEADER + EXPLICIT_NONCE
RECORD_OVERHEAD: Final = RECORD_PREFIX + TAG  # 37
VXLAN_HEADER: Final = 8
ETHERNET_HEADER: Final = 14
ENCAPSULATION: Final = VXLAN_HEADER + ETHERNET_HEADER  # 22
UDP_HEADER: Final = 8
IPV4_HEADER: Final = 20
IPV6_HEADER: Final = 40
OUTER_HEADERS: Final = {4: IPV4_HEADER + UDP_HEADER, 6: IPV6_HEADER + UDP_HEADER}
"""What stands around a UDP payload on the fabric, by IP version of the underlay."""

MAX_PACKET: Final = 65_535
"""Most bytes of an IPv4 packet, and of the payload of an IPv6 one: the length fields have 16 bits."""

MAX_UDP_PAYLOAD: Final = MAX_PACKET - IPV4_HEADER - UDP_HEADER  # 65,507
"""Most bytes of a UDP datagram over IPv4, and so of what one send or receive with segmentation offload holds."""

MAX_PLAINTEXT: Final = 2**14
"""Most plaintext of a record, in bytes (RFC 5246 6.2.1)."""

SMALLEST_HANDSHAKE: Final = 256
"""Bytes of UDP payload. OpenSSL refuses to handshake when datagrams may not be as long."""

IPV4_MINIMUM: Final = 576
"""Bytes of a packet that every IPv4 host must be able to receive (RFC 791 3.1); what is longer may be too long."""

IPV6_MINIMUM_MTU: Final = 1280
"""What every link that carries IPv6 must carry; no sender need go below (RFC 8200 5)."""


@dataclass(frozen=True, slots=True)
class Overhead:
    """Bytes that each layer adds to an inner IP packet on one path.

    Fields, in bytes, from the outside in:
        outer_ip, udp, record_header, explicit_nonce, vxlan, inner_ethernet, tag.
        The three DTLS fields are 0 on a clear path.
    """

    outer_ip: int
    udp: int
    record_header: int
    explicit_nonce: int
    vxlan: int
    inner_ethernet: int
    tag: int

    @property
    def record(self) -> int:
        """What DTLS adds: 37, or 0 in clear."""
        return self.record_header + self.explicit_nonce + self.tag

    @property
    def total(self) -> int:
        """What all layers add to the inner IP packet, outer IP header included."""
        return self.outer_ip + self.udp + self.record + self.vxlan + self.inner_ethernet

    @property
    def datagram(self) -> int:
        """What is added inside the outer UDP payload."""
        return self.record + self.vxlan + self.inner_ethernet

    @property
    def longest(self) -> int | None:
        """Largest inner IP packet whatever the path carries: what one record holds; None in clear."""
        return MAX_PLAINTEXT - self.vxlan - self.inner_ethernet if self.record else None

    def inner_mtu(self, path_mtu: int) -> int:
        """Largest inner IP packet on a path of ``path_mtu`` bytes (outer IP packet); 0 where none fits."""
        fits = max(path_mtu - self.total, 0)
        return fits if self.longest is None else min(fits, self.longest)

    def path_mtu(self, inner_mtu: int) -> int | None:
        """Smallest path MTU that carries an inner IP packet of ``inner_mtu`` bytes; None where no path does."""
        if self.longest is not None and inner_mtu > self.longest:
            return None
        return inner_mtu + self.total


@cache
def path_overhead(*, encrypted: bool, underlay_version: int = 4) -> Overhead:
    """The overhead of a path.

    Args:
        encrypted: inside a DTLS 1.2 AES-GCM record, or VXLAN over UDP in clear.
        underlay_version: IP version of the fabric, 4 or 6.
    """
    return Overhead(
        outer_ip=IPV4_HEADER if underlay_version == 4 else IPV6_HEADER,
        udp=UDP_HEADER,
        record_header=RECORD_HEADER if encrypted else 0,
        explicit_nonce=EXPLICIT_NONCE if encrypted else 0,
        vxlan=VXLAN_HEADER,
        inner_ethernet=ETHERNET_HEADER,
        tag=TAG if encrypted else 0,
    )


def smallest_handshake_mtu(underlay_version: int) -> int:
    """Smallest path MTU over which a DTLS handshake can be made, in bytes of outer IP packet.

    Args:
        underlay_version: IP version of the fabric, 4 or 6.
    """
    return SMALLEST_HANDSHAKE + OUTER_HEADERS[underlay_version]
