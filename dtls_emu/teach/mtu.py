"""What fits: every layer of the four ways over the fabric, and what a sender is told whose packet does not fit.

All arithmetic is :mod:`dtls_emu.wire.overhead`'s; here it is only laid out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from dtls_emu.lab.topology import DEFAULT_LINK_MTU
from dtls_emu.wire.overhead import IPV4_HEADER, IPV6_HEADER, IPV6_MINIMUM_MTU, path_overhead


if TYPE_CHECKING:
    from dtls_emu.wire.overhead import Overhead


__all__ = ["DEFAULT_INNER", "MtuCase", "explain_mtu", "remarks"]

DEFAULT_INNER: Final = 1500
"""Bytes; the MTU of nearly every VM."""

TCP_HEADER: Final = 20  # RFC 9293 3.1, without options

_ANSWERS: Final = (
    "A packet that does not fit is dropped. IPv4 with DF is answered by ICMP type 3 code 4 with that MTU, "
    "IPv6 by ICMPv6 type 2. IPv4 without DF may not be answered, and no fragments are made of it: it is counted "
    "as too_big_no_df."
)


@dataclass(frozen=True, slots=True)
class MtuCase:
    """One way over the fabric: IP version of the underlay, encrypted or in clear.

    Fields, sizes in bytes:
        underlay_version: 4 or 6.
        encrypted: in a DTLS record, or VXLAN in clear.
        link_mtu: largest outer IP packet.
        inner: length of the packet that is asked about.
        overhead: of each layer.
    """

    underlay_version: int
    encrypted: bool
    link_mtu: int
    inner: int
    overhead: Overhead

    @property
    def inner_mtu(self) -> int:
        """Largest inner packet that fits; 0 where not even an empty one does."""
        return self.overhead.inner_mtu(self.link_mtu)

    @property
    def fits(self) -> bool:
        """Whether the packet asked about does."""
        return self.inner <= self.inner_mtu

    @property
    def needed_link_mtu(self) -> int | None:
        """Smallest link MTU that carries the packet asked about; None where it is longer than a record holds."""
        return self.overhead.path_mtu(self.inner)

    @property
    def tcp_mss(self) -> dict[int, int]:
        """Most payload of a TCP segment without options that fits, by inner IP version."""
        headers = {4: IPV4_HEADER, 6: IPV6_HEADER}
        return {version: max(self.inner_mtu - size - TCP_HEADER, 0) for version, size in headers.items()}

    @property
    def layers(self) -> list[tuple[str, int]]:
        """Every layer and its bytes, from the outside in, the inner packet included."""
        overhead = self.overhead
        record = [
            ("DTLS record header", overhead.record_header),
            ("explicit nonce", overhead.explicit_nonce),
        ]
        return [
            ("outer IP", overhead.outer_ip),
            ("UDP", overhead.udp),
            *(record if self.encrypted else []),
            ("VXLAN", overhead.vxlan),
            ("inner Ethernet", overhead.inner_ethernet),
            ("inner IP packet", self.inner),
            *([("tag", overhead.tag)] if self.encrypted else []),
        ]

    @property
    def icmp_mtu(self) -> int | None:
        """The MTU that the sender is told by ICMP; None when the packet fits."""
        return None if self.fits else self.inner_mtu

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "underlay_version": self.underlay_version,
            "encrypted": self.encrypted,
            "link_mtu": self.link_mtu,
            "inner": self.inner,
            "layers": dict(self.layers),
            "overhead": self.overhead.total,
            "inner_mtu": self.inner_mtu,
            "fits": self.fits,
            "needed_link_mtu": self.needed_link_mtu,
            "tcp_mss": {f"ipv{version}": mss for version, mss in self.tcp_mss.items()},
            "icmp_mtu": self.icmp_mtu,
        }


def explain_mtu(link_mtu: int = DEFAULT_LINK_MTU, inner: int = DEFAULT_INNER) -> tuple[MtuCase, ...]:
    """The four ways, encrypted first.

    Args:
        link_mtu: largest outer IP packet of a link, in bytes.
        inner: length of a VM's IP packet, in bytes.
    """
    return tuple(
        MtuCase(
            version, encrypted, link_mtu, inner, path_overhead(encrypted=encrypted, underlay_version=version)
        )
        for encrypted in (True, False)
        for version in (4, 6)
    )


def remarks(cases: tuple[MtuCase, ...]) -> list[str]:
    """What to know about packets that do not fit, in sentences; nothing when all do."""
    misfits = [case for case in cases if not case.fits]
    if not misfits:
        return []
    told = [_ANSWERS]
    if any(case.inner_mtu < IPV6_MINIMUM_MTU for case in misfits):
        told.append(
            f"Below {IPV6_MINIMUM_MTU} bytes IPv6 does not work: a sender need not go lower (RFC 8200 5)."
        )
    longest = next((case.overhead.longest for case in misfits if case.needed_link_mtu is None), None)
    if longest is not None:
        told.append(
            f"A record holds a packet of at most {longest} bytes, whatever the link carries (RFC 5246 6.2.1)."
        )
    return told
