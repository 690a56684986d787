"""What was on the fabric: as lines of text in which nothing is left that changes from run to run, or as a capture.

Both are views of a run's events. Same lab, same seed: the same trace, byte for byte but for keys and nonces. So of a
record there are epoch, number and length but neither nonce nor ciphertext, and numbers count from the first that its
sender used: OpenSSL spends some of them when it repeats a flight by its own clock. Of a handshake's datagrams there is
only that they were there, as their lengths vary by some bytes (an ECDSA signature is DER, RFC 3279 2.2.3). What is in
clear is there whole, by its SHA-256.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, ClassVar

from dtls_emu.capture.datagrams import Datagrams
from dtls_emu.capture.pcap import encode_pcap
from dtls_emu.events import Delivered, Offered, Sent
from dtls_emu.wire.packet import udp_packet, with_tos
from dtls_emu.wire.protocol import is_handshake
from dtls_emu.wire.record import APPLICATION_DATA, pull_records_untrusted


if TYPE_CHECKING:
    from dtls_emu.capture.datagrams import Datagram
    from dtls_emu.events import Event


__all__ = ["WireCapture", "WireTrace"]


class WireCapture:
    """Collects what is on the links of a run, and what leaves for the internet and comes back from there::

        simulate(lab, observer=capture)

    Each datagram is there at the time when it was sent, as its link carries it: once more for a copy that the link
    made, and damaged if the link damaged it, with the UDP checksum of what was sent. What a link lost or dropped is
    there as well. What VMs of one host send each other is on no link. Packets of the internet have no outer headers.
    """

    wants_bytes: ClassVar = True

    def __init__(self) -> None:
        self._datagrams = Datagrams()
        self._seen: list[Datagram | tuple[float, bytes]] = []

    def __call__(self, event: Event) -> None:
        """Take an event of the run."""
        self._datagrams(event)
        if isinstance(event, Sent):
            self._seen.append(self._datagrams.seen[-1])
        elif isinstance(event, Offered | Delivered) and not event.vm:
            self._seen += [(event.time, packet) for packet in event.packets]

    def encode(self) -> bytes:
        """A pcap file of IP packets."""
        return encode_pcap(
            packet
            for each in self._seen
            for packet in ([each] if isinstance(each, tuple) else _on_the_link(each))
        )


def _on_the_link(datagram: Datagram) -> list[tuple[float, bytes]]:
    """The time and the bytes of an outer packet, twice when there is a copy of it."""
    sent, fate = datagram.sent, datagram.fate
    (source, source_port), (destination, destination_port) = sent.source, sent.destination
    packet = udp_packet(source, destination, source_port, destination_port, sent.payload)
    if sent.tos:
        packet = with_tos(packet, sent.tos)
    if fate.damaged >= 0:
        damaged = bytearray(packet)
        damaged[len(packet) - len(sent.payload) + fate.damaged // 8] ^= 1 << fate.damaged % 8
        packet = bytes(damaged)
    return [(sent.time, packet)] * (1 + fate.duplicated)


class WireTrace:
    """Collects the trace of a run: ``simulate(lab, observer=trace)``."""

    wants_bytes: ClassVar = True

    def __init__(self) -> None:
        self._datagrams = Datagrams()
        self._first: dict[str, int] = {}
        self._contents: list[str] = []

    def __call__(self, event: Event) -> None:
        """Take an event of the run."""
        self._datagrams(event)
        if isinstance(event, Sent):
            ends = " > ".join(f"{address} {port}" for address, port in (event.source, event.destination))
            content = self._content(event.payload, ends)
            service = f"tos {event.tos}, " if event.tos else ""
            self._contents.append(f"{event.time:.9f} {ends}: {content}, {service}")

    @property
    def lines(self) -> list[str]:
        """One for each datagram, in the order in which they were sent."""
        pairs = zip(self._contents, self._datagrams.seen, strict=True)
        return [content + _fate(each) for content, each in pairs]

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


def _fate(datagram: Datagram) -> str:
    fate = datagram.fate
    if fate.lost is not None:
        return f"dropped {fate.lost}"
    words = [f"arrives {datagram.sent.arrival} ns"]
    words += ["overtaken"] if fate.reordered else []
    words += ["twice"] if fate.duplicated else []
    words += ["marked"] if fate.marked else []
    if fate.damaged >= 0:
        words.append("corrupted" if is_handshake(datagram.payload[0]) else f"bit {fate.damaged} flipped")
    return ", ".join(words)
