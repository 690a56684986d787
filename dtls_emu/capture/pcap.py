"""The classic pcap file, written.

Source: "PCAP Capture File Format", draft-ietf-opsawg-pcap. Captures that a lab sends are read by :mod:`dtls_emu.lab.pcap`.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from dtls_emu.lab.pcap import LINKTYPE_RAW, SNAP_LENGTH


if TYPE_CHECKING:
    from collections.abc import Iterable


__all__ = ["encode_pcap"]


def encode_pcap(packets: Iterable[tuple[float, bytes]], link_type: int = LINKTYPE_RAW) -> bytes:
    """A capture, little-endian, with microseconds.

    Args:
        packets: (seconds, bytes) of each, in the file's order.
        link_type: what the bytes start with.
    """
    parts = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, SNAP_LENGTH, link_type)]
    for time, data in packets:
        seconds, microseconds = divmod(round(time * 1_000_000), 1_000_000)
        parts += [struct.pack("<IIII", seconds, microseconds, len(data), len(data)), data]
    return b"".join(parts)
