"""The handshake that a trace holds: its datagrams, its messages put together, and what both ends hash of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha384
from typing import TYPE_CHECKING, Final, NamedTuple

from dtls_emu.capture.datagrams import Datagrams
from dtls_emu.events import AssociationOpened, Sent
from dtls_emu.wire.protocol import HANDSHAKE, is_handshake
from dtls_emu.wire.record import pull_handshake_messages_untrusted, pull_records_untrusted


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dtls_emu.capture.datagrams import Datagram
    from dtls_emu.events import Event


__all__ = ["CLIENT_HELLO", "CLIENT_KEY_EXCHANGE", "Handshake", "Message", "Record", "handshakes_of"]

CLIENT_HELLO: Final = 1
SERVER_HELLO: Final = 2
HELLO_VERIFY_REQUEST: Final = 3
CERTIFICATE: Final = 11
CERTIFICATE_VERIFY: Final = 15
CLIENT_KEY_EXCHANGE: Final = 16

_HEADER: Final = 12
_RANDOM_AT: Final = 2  # behind the version, in both hellos
_RANDOM: Final = 32


class Message(NamedTuple):
    """A handshake message, put together of its fragments.

    Fields:
        by_client: who has sent it.
        kind: of the message (RFC 5246 7.4).
        sequence: its number (RFC 6347 4.2.2).
        body: without a header.
        fragments: how many it came in, the first time.
        time: of its first datagram, in seconds.
    """

    by_client: bool
    kind: int
    sequence: int
    body: bytes
    fragments: int
    time: float

    @property
    def hashed(self) -> bytes:
        """What goes into the hash over the handshake: with a header as if it had one fragment (RFC 6347 4.2.6)."""
        length = len(self.body).to_bytes(3)
        return bytes([self.kind]) + length + self.sequence.to_bytes(2) + bytes(3) + length + self.body


class Record(NamedTuple):
    """A protected record of a handshake: a Finished.

    Fields:
        by_client: who has sent it.
        header: 13 bytes.
        fragment: explicit nonce, ciphertext and tag.
    """

    by_client: bool
    header: bytes
    fragment: bytes


@dataclass(slots=True)
class Handshake:
    """One attempt.

    Fields:
        client, server: names of the hosts.
        ports: UDP ports, the client's first.
        datagrams: with who sent each, in order of time.
        opened: it has led to an association.
    """

    client: str
    server: str
    ports: tuple[int, int]
    datagrams: list[tuple[bool, Datagram]] = field(default_factory=list)
    opened: bool = False

    @property
    def messages(self) -> list[Message]:
        """Messages in clear, each once, in the order of the handshake."""
        return list(_messages(self.datagrams))

    @property
    def finished(self) -> list[Record]:
        """The Finished messages, which are the first records under the new keys; each end's once."""
        found: dict[bool, Record] = {}
        for by_client, datagram in self.datagrams:
            for record in pull_records_untrusted(datagram.payload):
                if record.header.content_type == HANDSHAKE and record.header.epoch:
                    found.setdefault(
                        by_client, Record(by_client, bytes(record.record[:13]), bytes(record.fragment))
                    )
        return [found[end] for end in (True, False) if end in found]

    @property
    def randoms(self) -> tuple[bytes, bytes] | None:
        """Client random and server random; None while there was no ServerHello."""
        hellos = {
            message.kind: message.body
            for message in self.messages
            if message.kind in {CLIENT_HELLO, SERVER_HELLO}
        }
        if len(hellos) < 2:
            return None
        client, server = (
            hellos[kind][_RANDOM_AT : _RANDOM_AT + _RANDOM] for kind in (CLIENT_HELLO, SERVER_HELLO)
        )
        return client, server

    def transcript(self, last: int) -> bytes:
        """Hash over all messages up to and including the one of this type: SHA-384, as the suite says.

        The first ClientHello and the HelloVerifyRequest are not in it (RFC 6347 4.2.1).
        """
        state = sha384()
        for message in self.hashed_messages:
            state.update(message.hashed)
            if message.kind == last:
                break
        return state.digest()

    @property
    def hashed_messages(self) -> list[Message]:
        """Those that both ends hash: from the ClientHello with the cookie on."""
        messages = self.messages
        hellos = [at for at, message in enumerate(messages) if message.kind == CLIENT_HELLO]
        verified = any(message.kind == HELLO_VERIFY_REQUEST for message in messages)
        start = hellos[1] if verified and len(hellos) > 1 else 0
        return messages[start:]


def handshakes_of(events: Sequence[Event]) -> list[Handshake]:
    """Every attempt of a trace, in the order in which they began. Needs the bytes of datagrams."""
    hosts = _hosts(events)
    datagrams = Datagrams()
    for event in events:
        datagrams(event)
    found: dict[tuple[tuple[str, int], tuple[str, int]], Handshake] = {}
    for datagram in datagrams.seen:
        if not datagram.payload or not is_handshake(datagram.payload[0]):
            continue
        sent = datagram.sent
        ends, back = (sent.source, sent.destination), (sent.destination, sent.source)
        if back in found:
            found[back].datagrams.append((False, datagram))
            continue
        if ends not in found:
            if not _is_client_hello(datagram.payload):
                continue
            client, server = (hosts.get(address, address) for address, _ in ends)
            found[ends] = Handshake(client, server, (sent.source[1], sent.destination[1]))
        found[ends].datagrams.append((True, datagram))
    for event in events:
        if isinstance(event, AssociationOpened) and event.client:
            for handshake in found.values():
                if (handshake.client, handshake.ports) == (event.host, event.association):
                    handshake.opened = True
    return list(found.values())


def _hosts(events: Sequence[Event]) -> dict[str, str]:
    """Name of the host by underlay address: who has sent from there."""
    found: dict[str, str] = {}
    for event in events:
        if isinstance(event, Sent):
            found.setdefault(event.source[0], event.host)
    return found


def _is_client_hello(payload: bytes) -> bool:
    return any(
        record.header.content_type == HANDSHAKE
        and not record.header.epoch
        and bytes(record.fragment[:1]) == b"\x01"
        for record in pull_records_untrusted(payload)
    )


def _messages(datagrams: Sequence[tuple[bool, Datagram]]) -> Iterator[Message]:
    """Each message once it is whole; a repeated one is left out, and so is what the link damaged or lost of it."""
    parts: dict[tuple[bool, int], dict[int, bytes]] = {}
    counts: dict[tuple[bool, int], int] = {}
    times: dict[tuple[bool, int], float] = {}
    done: set[tuple[bool, int]] = set()
    for by_client, datagram in datagrams:
        for record in pull_records_untrusted(datagram.payload):
            if record.header.content_type != HANDSHAKE or record.header.epoch:
                continue
            for header, view in pull_handshake_messages_untrusted(record.fragment):
                key = (by_client, header.message_seq)
                if key in done:
                    continue
                times.setdefault(key, datagram.sent.time)
                have = parts.setdefault(key, {})
                if header.fragment_offset not in have:
                    counts[key] = counts.get(key, 0) + 1
                have[header.fragment_offset] = bytes(view[_HEADER:])
                body = _joined(have)
                if len(body) == header.length:
                    done.add(key)
                    yield Message(
                        by_client, header.message_type, header.message_seq, body, counts[key], times[key]
                    )


def _joined(parts: dict[int, bytes]) -> bytes:
    """What is there from the beginning without a gap."""
    body = b""
    for offset in sorted(parts):
        if offset > len(body):
            break
        body += parts[offset][len(body) - offset :]
    return body
