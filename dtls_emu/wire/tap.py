"""What a mirror (virtual network TAP) sends to its collector: whole Ethernet frames in VXLAN, on UDP port 4789.

As captured from the vendor's product, which does not document it: the outer packet goes from the mirrored VM to the
collector, with their MAC and IPv4 addresses, identification 0, without DF, TTL 64, and a UDP checksum of 0; the VNI
is the mirror's (RFC 7348 5). 50 bytes more than the frame.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from dtls_emu.errors import LocalProtocolError
from dtls_emu.wire.checksum import internet_checksum
from dtls_emu.wire.headers import UDP, UDP_FIELDS
from dtls_emu.wire.vxlan import ETHERTYPE_IPV4, ETHERTYPE_IPV6, MAX_VNI, VNI_FLAG, VXLAN_PORT


if TYPE_CHECKING:
    from ipaddress import IPv4Address


__all__ = ["TAP_OVERHEAD", "TAP_VNI", "ethernet_frame", "tap_packet"]

TAP_VNI: Final = 27
"""As in the only capture that is public; what it means is not documented."""

TAP_OVERHEAD: Final = 50
"""Bytes: Ethernet 14, IPv4 20, UDP 8, VXLAN 8."""

_ETHERNET: Final = Struct(">6s6sH")
_IPV4: Final = Struct(">BBHHHBBH4s4s")
_VXLAN: Final = Struct(">BxHI")
_TTL: Final = 64
_LARGEST: Final = 0xFFFF - TAP_OVERHEAD + 14


def ethernet_frame(source_mac: bytes, destination_mac: bytes, packet: bytes) -> bytes:
    """An IP packet as a frame, as it is on a VM's interface."""
    ethertype = ETHERTYPE_IPV4 if packet[:1] and packet[0] >> 4 == 4 else ETHERTYPE_IPV6
    return _ETHERNET.pack(destination_mac, source_mac, ethertype) + packet


def tap_packet(
    frame: bytes,
    source: tuple[bytes, IPv4Address],
    collector: tuple[bytes, IPv4Address],
    source_port: int,
    *,
    vni: int = TAP_VNI,
) -> bytes:
    """A mirrored frame as the collector gets it, with its own Ethernet header.

    Args:
        frame: that was mirrored.
        source, collector: MAC and address of the VM that is mirrored, and of who collects.
        source_port: of UDP; one for each flow, so that they may spread (RFC 7348 5).
        vni: of the mirror.

    Raises:
        LocalProtocolError: the frame does not fit into an IPv4 packet, or the VNI not into 24 bits.
    """
    if len(frame) > _LARGEST or not 0 <= vni <= MAX_VNI:
        raise LocalProtocolError(f"no mirrored packet of {len(frame)} bytes and VNI {vni}")
    payload = _VXLAN.pack(VNI_FLAG, 0, vni << 8) + frame
    datagram = UDP_FIELDS.pack(source_port, VXLAN_PORT, UDP_FIELDS.size + len(payload), 0) + payload
    length = _IPV4.size + len(datagram)
    ends = source[1].packed, collector[1].packed
    bare = _IPV4.pack(0x45, 0, length, 0, 0, _TTL, UDP, 0, *ends)
    header = _IPV4.pack(0x45, 0, length, 0, 0, _TTL, UDP, internet_checksum(bare), *ends)
    return _ETHERNET.pack(collector[0], source[0], ETHERTYPE_IPV4) + header + datagram
