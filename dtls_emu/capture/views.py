"""A run as one capture that opens decrypted: every end of every link, the inside of every VM, and the secrets.

A view of a run's events. A datagram is there where and when it was seen: at the end of its link that sent it, as it was
sent; and at the other end as it came in, damaged, twice, late, or not at all. What VMs send and get is there without
encryption, as they have it; and what leaves for the internet and comes back. Remarks are on packets where something was
decided (:mod:`dtls_emu.capture.remarks`). Without secrets there are links and the internet only: what an eavesdropper
has.

The secrets of a handshake are in the capture right before the first record that they open, so those of a rekey come
when it happens. Keys of a broker are of no handshake: there is no format for them, and the capture says so.
"""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from dtls_emu import __version__
from dtls_emu.capture.pcapng import (
    INBOUND,
    OUTBOUND,
    Interface,
    decryption_secrets,
    enhanced_packet,
    interface_description,
    interface_statistics,
    section_header,
)
from dtls_emu.capture.remarks import Remarks
from dtls_emu.errors import DtlsEmuError
from dtls_emu.events import Answered, Delivered, KeysRequested, Offered, Received, Sent
from dtls_emu.wire.packet import udp_packet, with_tos
from dtls_emu.wire.protocol import HANDSHAKE, is_handshake
from dtls_emu.wire.record import pull_handshake_header, pull_records_untrusted


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dtls_emu.capture.trace_file import Trace
    from dtls_emu.events import Event, UnderlayAddress


__all__ = ["Capture", "CaptureError", "CaptureStream", "capture_trace"]

_CLIENT_HELLO: Final = 1
_RANDOM: Final = slice(14, 46)
"""Of a ClientHello: behind the header of the handshake message and the version (RFC 5246 7.4.1.2)."""

_NANOSECONDS: Final = 1_000_000_000


class CaptureError(DtlsEmuError):
    """No capture can be made of a trace. Says why."""


@dataclass(frozen=True, slots=True)
class Capture:
    """A capture's file.

    Fields:
        content: of the file, pcapng.
        packets, interfaces: how many it has.
        handshakes: how many have records in it.
        opened: of how many handshakes it has the secrets.
        sessions: how many there were with a broker's keys, of which there are no secrets.
    """

    content: bytes = field(repr=False)
    packets: int
    interfaces: int
    handshakes: int
    opened: int
    sessions: int


def capture_trace(trace: Trace, secrets: Mapping[bytes, bytes] | None) -> Capture:
    """The capture of a run.

    Args:
        trace: with the bytes of packets.
        secrets: as of :class:`CaptureStream`.

    Raises:
        CaptureError: the trace has no bytes, or is damaged.
    """
    if any(isinstance(event, Sent) and event.length and not event.payload for event in trace.events):
        raise CaptureError("the trace has no bytes of packets; record it with `dtls-emu trace LAB -o FILE`")
    sessions = sum(isinstance(event, KeysRequested) for event in trace.events)
    try:
        stream = CaptureStream(_addresses(trace), secrets)
        content = b"".join([stream.header(_about(trace, sessions)), *stream.blocks(trace.events)])
    except (ValueError, TypeError, KeyError, AttributeError, struct.error) as error:
        raise CaptureError(f"the trace is damaged: {error}; record it again") from error
    return Capture(
        content, stream.packets, len(stream.interfaces), len(stream.handshakes), len(stream.opened), sessions
    )


def _about(trace: Trace, sessions: int) -> Iterator[str]:
    seed = "" if trace.seed is None else f", seed {trace.seed}"
    yield f"{trace.title or 'a run'}{seed}: each packet at every place where it was seen, on the run's own clock"
    if sessions:
        yield (
            f"The keys of {sessions} sessions came from a broker: there was no handshake, so there are no secrets in a "
            "form that a capture could have, and what the tunnels carried cannot be opened here."
        )


class CaptureStream:
    """A capture that is written as events come: its header first, then the blocks of one batch of events after the other.

    Args:
        addresses: underlay address by host; those that are not there are learnt as hosts send.
        secrets: master secret by client random, of each handshake that is to be opened; may grow meanwhile. None: the
            capture has what an eavesdropper has, and says so: neither secrets nor the inside of VMs, nor remarks.
        epoch_ns: what the capture's clock shows at second 0 of the events', in nanoseconds.

    Fields:
        interfaces: number of each that was needed.
        packets: how many there were.
        handshakes, opened: client randoms of those that had records, and of those whose secrets were written.
    """

    def __init__(
        self, addresses: Mapping[str, str], secrets: Mapping[bytes, bytes] | None, *, epoch_ns: int = 0
    ) -> None:
        self.interfaces: dict[Interface, int] = {}
        self.packets = 0
        self._seen: Counter[Interface] = Counter()
        self._epoch_ns = epoch_ns
        self.handshakes: dict[bytes, None] = {}
        self.opened: dict[bytes, None] = {}
        self._secrets = {} if secrets is None else secrets
        self._is_outside = secrets is None
        self._remarks = Remarks(())
        self._addresses = dict(addresses)
        self._hosts = {address: host for host, address in addresses.items()}
        self._randoms: dict[frozenset[UnderlayAddress], bytes] = {}

    def header(self, comments: Iterable[str] = ()) -> bytes:
        """The block that the capture begins with."""
        about = [*comments]
        if self._is_outside:
            about.append(
                "What an eavesdropper has: datagrams on the links, and packets on the internet; no secrets, no remarks."
            )
        return section_header(about, application=f"dtls-emu {__version__}")

    def blocks(self, events: Sequence[Event]) -> Iterator[bytes]:
        """The blocks of events that follow those before. Remarks are on what happened to a packet in the same batch."""
        self._remarks = Remarks(events)
        for event in events:
            if isinstance(event, Sent):
                self._addresses.setdefault(event.host, event.source[0])
                self._hosts.setdefault(event.source[0], event.host)
        for index, event in enumerate(events):
            match event:
                case Sent():
                    yield from self._sent(index, event)
                case Received():
                    yield from self._received(index, event)
                case Offered():
                    yield from self._inside(index, event, event.vm, event.packets, OUTBOUND)
                case Delivered():
                    yield from self._inside(index, event, event.vm, event.packets, INBOUND)
                case Answered():
                    yield from self._inside(index, event, event.vm, (event.answer,), INBOUND)

    def statistics(self, missed: Mapping[tuple[str, str], int], time: float) -> Iterator[bytes]:
        """The blocks that a capture of hosts that are up ends with: how much each interface has missed.

        Args:
            missed: packets, by the host and the place there: a VM of it, or the underlay address of the other end of a
                link.
            time: seconds on the events' clock.
        """
        lost: Counter[Interface] = Counter()
        for (host, place), count in missed.items():
            is_address = ":" in place or place[:1].isdigit()
            interface = self._link_end(host, place) if is_address else _inside_of(place, host)
            if is_address or not self._is_outside:
                lost[interface] += count
                yield from self._described(interface)
        for interface, number in self.interfaces.items():
            seen = self._seen[interface] + lost[interface]
            said = [f"{lost[interface]} of {seen} packets are missing: more came than could be shown"]
            yield interface_statistics(
                number,
                self._nanoseconds(time),
                seen=seen,
                missed=lost[interface],
                comments=said if lost[interface] else (),
            )

    def _sent(self, index: int, event: Sent) -> Iterator[bytes]:
        yield from self._open(event)
        packet = _outer(event.source, event.destination, event.payload, event.tos)
        yield from self._packet(
            self._link_end(event.host, event.destination[0]), index, 0, event.time, packet, OUTBOUND
        )

    def _received(self, index: int, event: Received) -> Iterator[bytes]:
        interface = self._link_end(event.host, event.source[0])
        destination = self._addresses.get(event.host, ""), event.port
        for place, payload in enumerate(event.payloads):
            damage = self._remarks.damage(event.source, event.port, payload)
            packet = _outer(event.source, destination, payload, event.tos, damage)
            yield from self._packet(interface, index, place, event.time, packet, INBOUND)

    def _inside(
        self, index: int, event: Event, vm: str, packets: tuple[bytes, ...], direction: int
    ) -> Iterator[bytes]:
        if vm and self._is_outside:
            return
        if vm:
            interface = _inside_of(vm, event.host)
        else:
            interface = Interface(f"{event.host}:internet", f"{event.host}, to and from the internet")
            direction ^= INBOUND | OUTBOUND  # as the host has it: what it gets from there comes in
        for place, packet in enumerate(packets):
            yield from self._packet(interface, index, place, event.time, packet, direction)

    def _link_end(self, host: str, address: str) -> Interface:
        peer = self._hosts.get(address, address)
        return Interface(f"{host}:{peer}", f"fabric, at {host}'s end of the link to {peer}")

    def _packet(
        self, interface: Interface, index: int, place: int, time: float, packet: bytes, direction: int
    ) -> Iterator[bytes]:
        yield from self._described(interface)
        self.packets += 1
        self._seen[interface] += 1
        number, time_ns = self.interfaces[interface], self._nanoseconds(time)
        remarks = () if self._is_outside else self._remarks.on(index, place)
        yield enhanced_packet(number, time_ns, packet, remarks, direction=direction)

    def _described(self, interface: Interface) -> Iterator[bytes]:
        if interface not in self.interfaces:
            self.interfaces[interface] = len(self.interfaces)
            yield interface_description(interface)

    def _nanoseconds(self, time: float) -> int:
        return self._epoch_ns + round(time * _NANOSECONDS)

    def _open(self, event: Sent) -> Iterator[bytes]:
        """The secrets of a datagram's handshake, when it has the first record under their keys."""
        ends = frozenset((event.source, event.destination))
        if not event.payload or (
            self._randoms.get(ends) in self.handshakes and not is_handshake(event.payload[0])
        ):
            return
        for record in pull_records_untrusted(event.payload):
            if not record.header.epoch:
                random = _client_random(record.fragment) if record.header.content_type == HANDSHAKE else b""
                if random:
                    self._randoms[ends] = random
                continue
            found = self._randoms.get(ends)
            if found is None or found in self.handshakes:
                continue
            self.handshakes[found] = None
            if found in self._secrets:
                self.opened[found] = None
                yield decryption_secrets(
                    f"CLIENT_RANDOM {found.hex()} {self._secrets[found].hex()}\n".encode()
                )


def _inside_of(vm: str, host: str) -> Interface:
    return Interface(vm, f"inside of VM {vm}, on {host}")


def _client_random(fragment: memoryview) -> bytes:
    """Of a ClientHello, which begins with it; empty where a record has none."""
    header = pull_handshake_header(fragment)
    if header is None or header.message_type != _CLIENT_HELLO or header.fragment_offset:
        return b""
    random = bytes(fragment[_RANDOM])
    return random if len(random) == 32 else b""


def _outer(
    source: UnderlayAddress, destination: UnderlayAddress, payload: bytes, tos: int, damage: int = -1
) -> bytes:
    """The IP packet of a datagram; with the UDP checksum of what was sent, where the link has flipped a bit."""
    sent = bytearray(payload)
    if damage >= 0:
        sent[damage // 8] ^= 1 << damage % 8
    packet = udp_packet(source[0], destination[0], source[1], destination[1], bytes(sent))
    if tos:
        packet = with_tos(packet, tos)
    return packet[: len(packet) - len(payload)] + payload


def _addresses(trace: Trace) -> dict[str, str]:
    """Underlay address by host, as the lab says."""
    hosts: dict[str, Any] = trace.lab.get("hosts", {})
    return {name: str(ip_address(host["underlay"])) for name, host in hosts.items()}
