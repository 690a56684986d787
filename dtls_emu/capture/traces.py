"""What was on the fabric: as lines of text in which nothing is left that changes from run to run, or as a capture.

Same lab, same seed: the same trace, byte for byte but for keys and nonces. So of a record there are epoch, number
and length but neither nonce nor ciphertext, and numbers count from the first that its sender used: OpenSSL spends
some of them when it repeats a flight by its own clock. Of a handshake's datagrams there is only that they were
there, as their lengths vary by some bytes (an ECDSA signature is DER, RFC 3279 2.2.3). What is in clear is there
whole, by its SHA-256.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from dtls_emu.capture.pcap import encode_pcap
from dtls_emu.wire.packet import udp_packet, with_tos
from dtls_emu.wire.protocol import is_handshake
from dtls_emu.wire.record import APPLICATION_DATA, pull_records_untrusted


if TYPE_CHECKING:
    from dtls_emu.events import Fate, WireEvent


__all__ = ["WireCapture", "WireTrace"]


class WireCapture:
    """Collects what is on the links of a run, and what leaves for the internet and comes back from there::

        simulate(lab, trace=capture, internet=capture.outside)

    Each datagram is there at the time when it was sent, as its link carries it: once more for a copy that the link
    made, and damaged if the link damaged it, with the UDP checksum of what was sent. What a link lost or dropped is
    there as well. What VMs of one host send each other is on no link. Packets of the internet have no outer headers.
    """

    def __init__(self) -> None:
        self._packets: list[tuple[float, bytes]] = []

    def __call__(self, event: WireEvent) -> None:
        """Add a datagram."""
        (source, source_port), (destination, destination_port) = event.source, event.destination
        packet = udp_packet(source, destination, source_port, destination_port, event.payload)
        if event.tos:
            packet = with_tos(packet, event.tos)
        fate = event.fate
        if fate.flipped_bit >= 0:
            damaged = bytearray(packet)
            damaged[len(packet) - len(event.payload) + fate.flipped_bit // 8] ^= 1 << fate.flipped_bit % 8
            packet = bytes(damaged)
        self._packets += [(event.time, packet)] * (1 + fate.duplicated)

    def outside(self, time: float, packet: bytes) -> None:
        """Add a packet to the internet, or from there."""
        self._packets.append((time, packet))

    def encode(self) -> bytes:
        """A pcap file of IP packets."""
        return encode_pcap(self._packets)


class WireTrace:
    """Collects the trace of a run: ``simulate(lab, trace=trace)``.

    Fields:
        lines: one for each datagram, in the order in which they were sent.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._first: dict[str, int] = {}

    def __call__(self, event: WireEvent) -> None:
        """Add a datagram."""
        ends = " > ".join(f"{address} {port}" for address, port in (event.source, event.destination))
        content = self._content(event.payload, ends)
        fate = _fate(event.fate, masked=is_handshake(event.payload[0]))
        service = f"tos {event.tos}, " if event.tos else ""
        self.lines.append(f"{event.time:.9f} {ends}: {content}, {service}{fate}")

    def __str__(self) -> str:
        """The whole trace."""
        return "\n".join(self.lines)

    def _content(self, payload: bytes, ends: str) -> str:
        if is_handshake(payload[0]):
            return "handshake"
        if payload[0] == APPLICATION_DATA and (records := pull_records_untrusted(payload)):
            header = records[0].header
            number = header.sequence - self._first.setdefault(ends, header.sequence)
            return f"record epoch {header.epoch} number {number} length {header.length}"
        return f"clear length {len(payload)} sha256 {sha256(payload).hexdigest()}"


def _fate(fate: Fate, *, masked: bool) -> str:
    if fate.dropped is not None:
        return f"dropped {fate.dropped}"
    words = [f"arrives {fate.arrival_ns} ns"]
    words += ["overtaken"] if fate.reordered else []
    words += ["twice"] if fate.duplicated else []
    words += ["marked"] if fate.marked else []
    if fate.flipped_bit >= 0:
        words.append("corrupted" if masked else f"bit {fate.flipped_bit} flipped")
    return ", ".join(words)
