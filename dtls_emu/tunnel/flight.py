"""A flight: the records one side sends before it waits (RFC 6347 4.2.4), as we keep it to send it again.

OpenSSL writes each flight once; sending it again is ours, because OpenSSL's timer reads the wall clock and a
card lives on the time it is given. Each sending gets fresh record sequence numbers (RFC 6347 4.2.4: the
message is the same, the record is new), so a peer never takes a retransmission for a replay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dtls_emu.wire.overhead import RECORD_HEADER, SMALLEST_HANDSHAKE
from dtls_emu.wire.record import HANDSHAKE, HANDSHAKE_HEADER, push_record_header


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


__all__ = ["SMALLEST_MTU", "FlightRecord", "pack", "refragment"]

SMALLEST_MTU: Final = SMALLEST_HANDSHAKE
"""Bytes of a datagram's payload; the IP packet around it is longer by its headers."""


@dataclass(slots=True)
class FlightRecord:
    """One record of a flight.

    Fields:
        content_type, version, epoch: of the record header.
        sequence: the number OpenSSL gave it.
        body: what follows the header: plaintext in epoch 0, as sealed by OpenSSL in epoch 1.
    """

    content_type: int
    version: int
    epoch: int
    sequence: int
    body: bytes

    def encode(self, sequence: int) -> bytes:
        """The record on the wire, under ``sequence``."""
        header = push_record_header(self.content_type, self.epoch, sequence, len(self.body), self.version)
        return header + self.body


def refragment(record: FlightRecord, mtu: int) -> Iterator[FlightRecord]:
    """Split one plaintext handshake message fragment so that each record fits ``mtu`` (RFC 6347 4.2.3).

    Anything else, and what fits already, comes back as it is.
    """
    room = mtu - RECORD_HEADER - HANDSHAKE_HEADER
    body = record.body[HANDSHAKE_HEADER:]
    if record.content_type != HANDSHAKE or record.epoch or len(body) <= room:
        yield record
        return
    fixed = record.body[:6]  # type, message length, message_seq: the same for every fragment
    offset = int.from_bytes(record.body[6:9], "big")
    for start in range(0, len(body), room):
        piece = body[start : start + room]
        header = fixed + (offset + start).to_bytes(3, "big") + len(piece).to_bytes(3, "big")
        yield FlightRecord(record.content_type, record.version, 0, record.sequence, header + piece)


def pack(records: Iterable[bytes], mtu: int) -> list[bytes]:
    """Put whole records into as few datagrams of at most ``mtu`` bytes as their order allows."""
    datagrams: list[bytes] = []
    current = b""
    for record in records:
        if current and len(current) + len(record) > mtu:
            datagrams.append(current)
            current = b""
        current += record
    if current:
        datagrams.append(current)
    return datagrams
