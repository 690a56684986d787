"""Captures whose packets a lab sends: the classic pcap file, read.

Source: "PCAP Capture File Format", draft-ietf-opsawg-pcap. Little enough to not need a library, so that
validating a lab starts at once.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dtls_emu.files.reading import read_file


if TYPE_CHECKING:
    from pathlib import Path


__all__ = ["LINKTYPE_ETHERNET", "LINKTYPE_RAW", "SNAP_LENGTH", "CapturedPacket", "parse_pcap", "read_pcap"]

MAX_CAPTURE: Final = 64 * 1024 * 1024
"""Bytes of a capture's file: a lab is simulated in one process, and keeps what it sends."""

MAX_FRAMES: Final = 1_000_000
"""Frames of a capture: as many packets as any other item of traffic may send."""

LINKTYPE_ETHERNET: Final = 1
LINKTYPE_RAW: Final = 101
"""IPv4 or IPv6 without a link header; the version nibble tells. BSD files say 12 or 14."""

_RAW_TYPES: Final = frozenset({LINKTYPE_RAW, 12, 14})
_MAGIC: Final = {
    bytes.fromhex("d4c3b2a1"): ("<", 1000),
    bytes.fromhex("a1b2c3d4"): (">", 1000),
    bytes.fromhex("4d3cb2a1"): ("<", 1),
    bytes.fromhex("a1b23c4d"): (">", 1),
}
"""Byte order, and nanoseconds in a unit of a time stamp's fraction."""

_PCAPNG: Final = bytes.fromhex("0a0d0d0a")
_FILE_HEADER: Final = 24
_PACKET_HEADER: Final = 16
_ETHERNET_HEADER: Final = 14
_VLAN_TAG: Final = 4
_ETHERTYPE_IP: Final = frozenset({0x0800, 0x86DD})
_ETHERTYPE_VLAN: Final = frozenset({0x8100, 0x88A8})
SNAP_LENGTH: Final = 262_144
"""libpcap's own limit of a frame (``MAXIMUM_SNAPLEN``), and tcpdump's default."""


@dataclass(frozen=True, slots=True)
class CapturedPacket:
    """One IP packet of a capture.

    Fields:
        time: seconds after the capture's first IP packet; never negative.
        data: the IP packet, without link header and padding behind it.
        number: of the frame in the file, from 1, as Wireshark numbers them.
    """

    time: float
    data: bytes
    number: int


def read_pcap(path: Path) -> list[CapturedPacket]:
    """The IP packets of a capture's file; see :func:`parse_pcap`.

    Raises:
        OSError: it cannot be read; see :func:`dtls_emu.files.reading.read_file`.
        ValueError: as of :func:`parse_pcap`.
    """
    return parse_pcap(read_file(path, MAX_CAPTURE))


def parse_pcap(data: bytes) -> list[CapturedPacket]:
    """The IP packets of a capture, in time order. Frames that carry no IP (ARP and the like) are left out.

    Raises:
        ValueError: not a capture of Ethernet or raw IP, one cut short, or one with more than ``MAX_FRAMES``; says
            what to do about it.
    """
    if data[:4] == _PCAPNG:
        raise ValueError("is pcapng; convert it: editcap -F pcap IN OUT")
    if data[:4] not in _MAGIC or len(data) < _FILE_HEADER:
        raise ValueError("is no pcap file; write one with tcpdump -w, or Wireshark's Save As")
    order, tick = _MAGIC[data[:4]]
    link_type = struct.unpack_from(f"{order}I", data, 20)[0] & 0xFFFF
    if link_type != LINKTYPE_ETHERNET and link_type not in _RAW_TYPES:
        raise ValueError(f"has link type {link_type}; capture Ethernet (1) or raw IP (101)")
    found: list[tuple[int, bytes, int]] = []
    offset, number = _FILE_HEADER, 0
    while offset < len(data):
        number += 1
        if offset + _PACKET_HEADER > len(data):
            raise ValueError(f"ends inside frame {number}; capture again")
        seconds, fraction, captured, original = struct.unpack_from(f"{order}IIII", data, offset)
        if number > MAX_FRAMES:
            raise ValueError(f"has more than {MAX_FRAMES} frames; cut it: editcap -r IN OUT 1-{MAX_FRAMES}")
        if max(captured, original) > SNAP_LENGTH:
            raise ValueError(
                f"says that frame {number} has {max(captured, original)} bytes, and no frame has more than "
                f"{SNAP_LENGTH}; it is damaged, so capture again"
            )
        offset += _PACKET_HEADER
        frame = data[offset : offset + captured]
        if len(frame) < captured:
            raise ValueError(f"ends inside frame {number}; capture again")
        if captured < original:
            raise ValueError(
                f"holds only {captured} of {original} bytes of frame {number}; capture with -s 0"
            )
        offset += captured
        packet = frame if link_type in _RAW_TYPES else _ethernet_payload(frame)
        if packet:
            found.append((seconds * 1_000_000_000 + fraction * tick, _without_padding(packet), number))
    found.sort(key=lambda each: each[0])
    start = found[0][0] if found else 0
    return [CapturedPacket((time - start) / 1e9, packet, number) for time, packet, number in found]


def _ethernet_payload(frame: bytes) -> bytes:
    """The IP packet of a frame; empty when it carries none."""
    start = _ETHERNET_HEADER
    while len(frame) >= start:
        kind = int.from_bytes(frame[start - 2 : start], "big")
        if kind in _ETHERTYPE_IP:
            return frame[start:]
        if kind not in _ETHERTYPE_VLAN:
            break
        start += _VLAN_TAG
    return b""


def _without_padding(packet: bytes) -> bytes:
    """A short frame is padded to 60 bytes; the IP header knows where its packet ends."""
    if packet[0] >> 4 == 4 and len(packet) >= 4:
        length = int.from_bytes(packet[2:4], "big")
    elif packet[0] >> 4 == 6 and len(packet) >= 6:
        length = 40 + int.from_bytes(packet[4:6], "big")
    else:
        return packet
    # A length of 0 is what an offloading card's capture shows; one that is too large is the packet's own mistake.
    return packet[:length] if 0 < length < len(packet) and length >= 20 else packet
