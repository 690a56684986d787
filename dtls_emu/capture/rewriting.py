"""The packets of a capture as VMs of a lab send them: who sends which, with whose addresses.

The packets of the side that speaks first in a conversation (a pair of addresses) are sent by one VM, those of the
other side by the other. New addresses change three checksums by as much as they change themselves (RFC 1624), so a checksum
that was wrong in the capture stays wrong. Addresses inside a payload, such as those that an ICMP error
quotes, stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final


if TYPE_CHECKING:
    from collections.abc import Iterable

    from dtls_emu.lab.pcap import CapturedPacket
    from dtls_emu.lab.topology import Vm


__all__ = ["RewrittenPacket", "rewrite"]

_TCP: Final = 6
_UDP: Final = 17
_CHECKSUM_AT: Final = {_TCP: 16, _UDP: 6, 58: 2, 136: 6}
"""Where a transport header keeps a checksum over the addresses: TCP, UDP, ICMPv6, UDP-Lite."""

_FRAGMENT_HEADER: Final = 44
_AUTHENTICATION_HEADER: Final = 51
_EXTENSIONS: Final = frozenset({0, 43, _FRAGMENT_HEADER, _AUTHENTICATION_HEADER, 60})
"""IPv6 headers in front of the transport's (RFC 8200 4)."""


@dataclass(frozen=True, slots=True)
class RewrittenPacket:
    """A packet to send.

    Fields:
        time: seconds after the start of the capture.
        sender: name of the VM that sends it.
        data: the IP packet.
    """

    time: float
    sender: str
    data: bytes


def rewrite(packets: Iterable[CapturedPacket], first: Vm, other: Vm | None) -> list[RewrittenPacket]:
    """Give the packets of a capture to VMs.

    Args:
        packets: in time order.
        first: sends for the sides that speak first.
        other: sends for the other sides; None sends every packet from ``first`` as it is.

    Raises:
        ValueError: an IPv6 packet, but a VM has no IPv6 address; says which frame.
    """
    if other is None:
        return [RewrittenPacket(packet.time, first.name, packet.data) for packet in packets]
    speaks_first: dict[frozenset[bytes], bytes] = {}
    result = []
    for packet in packets:
        bounds = _address_bounds(packet.data)
        if bounds is None:  # too short for its addresses: nothing to rewrite
            result.append(RewrittenPacket(packet.time, first.name, packet.data))
            continue
        start, middle, end = bounds
        source, destination = packet.data[start:middle], packet.data[middle:end]
        opener = speaks_first.setdefault(frozenset((source, destination)), source)
        sender, receiver = (first, other) if source == opener else (other, first)
        addresses = b"".join(_packed_address(vm, packet) for vm in (sender, receiver))
        result.append(
            RewrittenPacket(packet.time, sender.name, _with_addresses(packet.data, start, addresses))
        )
    return result


def _address_bounds(data: bytes) -> tuple[int, int, int] | None:
    version = data[0] >> 4
    if version == 4 and len(data) >= 20:
        return 12, 16, 20
    if version == 6 and len(data) >= 40:
        return 8, 24, 40
    return None


def _packed_address(vm: Vm, packet: CapturedPacket) -> bytes:
    version = packet.data[0] >> 4
    address = vm.address(version)
    if address is None:
        raise ValueError(
            f"frame {packet.number} is IPv{version} and VM `{vm.name}` has no IPv{version} address"
        )
    return address.packed


def _with_addresses(data: bytes, start: int, addresses: bytes) -> bytes:
    old = data[start : start + len(addresses)]
    packet = bytearray(data)
    packet[start : start + len(addresses)] = addresses
    if data[0] >> 4 == 4:
        _adjust(packet, 10, old, addresses)
    transport = _transport(data)
    if transport is not None:
        protocol, offset = transport
        field = offset + _CHECKSUM_AT.get(protocol, len(data))
        absent = protocol == _UDP and data[0] >> 4 == 4 and packet[field : field + 2] == b"\0\0"
        if field + 2 <= len(packet) and not absent:
            _adjust(packet, field, old, addresses)
            if protocol == _UDP and packet[field : field + 2] == b"\0\0":
                packet[field : field + 2] = b"\xff\xff"  # 0 would mean "no checksum" (RFC 768)
    return bytes(packet)


def _transport(data: bytes) -> tuple[int, int] | None:
    """Protocol and offset of the transport header; None in a fragment that does not hold it."""
    if data[0] >> 4 == 4:
        not_first = int.from_bytes(data[6:8], "big") & 0x1FFF
        return None if not_first else (data[9], (data[0] & 0x0F) * 4)
    protocol, offset = data[6], 40
    while protocol in _EXTENSIONS and offset + 8 <= len(data):
        if protocol == _FRAGMENT_HEADER and int.from_bytes(data[offset + 2 : offset + 4], "big") >> 3:
            return None
        if protocol == _FRAGMENT_HEADER:
            length = 8
        elif protocol == _AUTHENTICATION_HEADER:
            length = (data[offset + 1] + 2) * 4
        else:
            length = (data[offset + 1] + 1) * 8
        protocol, offset = data[offset], offset + length
    return protocol, offset


def _adjust(packet: bytearray, field: int, old: bytes, new: bytes) -> None:
    """Let a checksum follow its data (RFC 1624, equation 3)."""
    total = ~int.from_bytes(packet[field : field + 2], "big") & 0xFFFF
    for at in range(0, len(old), 2):
        total += (~int.from_bytes(old[at : at + 2], "big") & 0xFFFF) + int.from_bytes(new[at : at + 2], "big")
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    packet[field : field + 2] = (~total & 0xFFFF).to_bytes(2, "big")
