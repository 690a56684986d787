"""One handshake attempt: pyOpenSSL over memory BIOs, driven by datagrams and the time.

Flow of a datagram in, and the order of the functions below:

1. Sort its records: what an attacker could forge in clear (alerts, junk) is counted and never reaches
   OpenSSL, which would give up the handshake for it; RFC 6347 4.1.2.7 wants it discarded silently.
2. Protected application records that overtook the Finished are kept aside (RFC 6347 4.1), a bounded number.
3. The rest goes to OpenSSL, whole records of one datagram at a time: its memory BIO is a byte stream, and a
   truncated record would swallow the good one behind it.
4. What OpenSSL writes becomes our flight. Packing to the MTU, record numbers and retransmission are ours.
5. When both Finished are verified: version, suite, ALPN and the peer's name are checked, the traffic keys
   derived, and OpenSSL is let go. It never writes again.

Two issuers of nonces share one key: OpenSSL for its Finished, and with the `openssl` backend for data too; we
for everything else. OpenSSL counts up from a random 64-bit start, ours are ``epoch || sequence``. A handshake
after which the two could meet is repeated (:func:`may_meet`).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from OpenSSL import SSL

from dtls_emu.crypto.backend import Established, TrafficKeys
from dtls_emu.crypto.keys import traffic_keys
from dtls_emu.crypto.openssl import pass_over
from dtls_emu.errors import RemoteProtocolError
from dtls_emu.tunnel.context import ALPN, DTLS_1_2
from dtls_emu.tunnel.flight import SMALLEST_MTU, FlightRecord, pack, refragment
from dtls_emu.wire.hello import (
    CLIENT_HELLO,
    EXTENDED_MASTER_SECRET,
    RENEGOTIATION_INFO,
    SERVER_HELLO,
    HelloFragments,
    pull_client_extensions_untrusted,
    pull_server_extensions_untrusted,
)
from dtls_emu.wire.overhead import EXPLICIT_NONCE, RECORD_HEADER, TAG
from dtls_emu.wire.record import (
    ALERT,
    APPLICATION_DATA,
    CHANGE_CIPHER_SPEC,
    HANDSHAKE,
    HANDSHAKE_HEADER,
    MAX_SEQUENCE,
    pull_handshake_messages_untrusted,
    pull_records_untrusted,
    push_record_header,
)


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cryptography import x509

    from dtls_emu.tunnel.context import Contexts
    from dtls_emu.tunnel.settings import TunnelSettings
    from dtls_emu.wire.record import HandshakeHeader, RecordView


__all__ = ["Finished", "Handshake", "Hello", "may_meet"]

_MESSAGE_TYPES: Final = frozenset({0, 1, 2, 3, 4, 11, 12, 13, 14, 15, 16, 20})
"""HandshakeType of RFC 6347 4.3.2 and of the extensions that OpenSSL may answer."""

_MESSAGE_SEQUENCE_AHEAD: Final = 10
"""A flight has at most 5 messages; a message_seq further ahead than two flights is junk."""

_MESSAGE_SEQUENCE_END: Final = 1 << 16

_LONGEST_MESSAGE: Final = 2**14
"""A Certificate message of ours is under 1 KB; OpenSSL would buffer what a forged length asks for."""

_HANDSHAKE_FAILURE: Final = b"\x02\x28"
"""Fatal, handshake_failure (RFC 5246 7.2.2)."""

_READ_SIZE: Final = 65_536
_BACKOFF_AFTER: Final = 3
"""Retransmissions after which smaller datagrams are tried (RFC 6347 4.1.1.1 says 2 to 3)."""


class Hello(NamedTuple):
    """A datagram that begins with a ClientHello, or its first fragment, whose cookie was found good."""

    datagram: bytes


@dataclass(slots=True)
class Finished:
    """The last flight of the side that sent it, kept for 2 MSL after the handshake (RFC 6347 4.2.4).

    Fields:
        message: our own Finished in clear, 24 bytes.
        next_plain_sequence: first unused record number of epoch 0, for the ChangeCipherSpec before it.
    """

    message: bytes
    next_plain_sequence: int


def may_meet(nonce: bytes, number_end: int) -> bool:
    """Whether OpenSSL, counting up from an explicit nonce of its own, and we can use one nonce both.

    Ours are epoch 1 with the record numbers below `number_end`
    (:attr:`~dtls_emu.tunnel.settings.TunnelSettings.number_end`); OpenSSL seals no more records than that either.
    With the default limit of a key that ends one handshake of 2^37, each side looking at its own Finished; refusing
    all of epoch 1 would end one of 2^15.
    """
    return abs(int.from_bytes(nonce, "big") - (1 << 48)) < number_end


class Handshake:
    """One attempt, client's or server's side.

    Fields:
        failure: why the attempt ended, or "" while it has not failed.
        established: the traffic keys once both Finished are verified, else None.
        finished: what is needed to send our last flight again; set with `established`.
        early: protected application records that came before the Finished, each with its mark. They stay
            there when the attempt fails, for whoever keeps the books.
        noise: records ignored so far (plaintext alerts, junk).
        timeout_at: when `handle_timeout` wants to be called; infinity when it does not.
        started_at: when the attempt began, in the caller's seconds.
        mtu: UDP payload bytes that the path carries; may change, and the next sending follows it.
    """

    def __init__(
        self,
        contexts: Contexts,
        *,
        hello: Hello | None,
        verify: Callable[[x509.Certificate | None], None],
        mtu: int,
        settings: TunnelSettings,
        keep_connection: bool = False,
        now: float,
    ) -> None:
        """Prepare an attempt; a client's first flight is ready at once.

        Args:
            contexts: of the local host.
            hello: None for a client; for a server what its client has sent.
            verify: raises RemoteProtocolError unless the certificate is the peer's.
            mtu: UDP payload bytes that the path carries.
            settings: timers and limits.
            keep_connection: leave the live connection in `established`, for the `openssl` backend.
            now: seconds.
        """
        self._settings = settings
        self._is_client = is_client = hello is None
        self._verify = verify
        self.mtu = mtu
        self._keep_connection = keep_connection
        self._connection: SSL.Connection | None = SSL.Connection(
            contexts.client if is_client else contexts.server
        )
        self._connection.set_ciphertext_mtu(max(mtu, SMALLEST_MTU))
        if is_client:
            self._connection.set_connect_state()
        else:
            self._connection.set_accept_state()

        self._flight: list[FlightRecord] = []
        self._outgoing: list[bytes] = []
        self._highest_sent = -1  # message_seq
        self._highest_received = -1
        self._answered = -1  # highest received message_seq when our current flight was written
        self._next_plain_sequence = 0
        self._next_sequence = 0  # epoch 1
        self._openssl_sequence = 0  # likewise, but that of OpenSSL's next record
        self._finished_message = b""
        self._write_keys: TrafficKeys | None = None
        self._read_keys: TrafficKeys | None = None
        self._retransmissions = 0
        self._timer = settings.initial_timeout
        self._sent_at = now
        self._alert_hint = ""
        self._hello = HelloFragments(SERVER_HELLO if is_client else CLIENT_HELLO)  # the peer's
        self._listens = is_client
        self._peer_extensions: frozenset[int] = frozenset()

        self.failure = ""
        self.established: Established | None = None
        self.finished: Finished | None = None
        self.early: list[tuple[bytes, int]] = []
        self.noise = 0
        self.started_at = now
        self._deadline = now + settings.handshake_deadline
        self.timeout_at = self._deadline
        if hello is None:
            self._advance(now)
        else:
            self.receive(hello.datagram, now)

    @property
    def is_client(self) -> bool:
        """Which side of the handshake this is."""
        return self._is_client

    @property
    def done(self) -> bool:
        """Established or failed."""
        return bool(self.failure) or self.established is not None

    def take_datagrams(self) -> list[bytes]:
        """Datagrams to send now, each at most the MTU; they are handed out once."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def receive(self, datagram: bytes, now: float, mark: int = 0) -> None:
        """Take one datagram from the peer's address. Never raises for its content."""
        if self.done:
            return
        admitted = b""
        answered_before = self._answered
        lowest = _MESSAGE_SEQUENCE_END
        for record in pull_records_untrusted(datagram):
            if record.header.content_type == APPLICATION_DATA and record.header.epoch == 1:
                if len(self.early) < self._settings.early_records:
                    self.early.append((bytes(record.record), mark))
                else:
                    self.noise += 1
            elif record.header.content_type == HANDSHAKE and record.header.epoch == 0:
                messages = pull_handshake_messages_untrusted(record.fragment)
                headers = [header for header, _ in messages]
                if self._are_plausible(headers):
                    lowest = min(lowest, headers[0].message_seq)
                    self._highest_received = max(self._highest_received, headers[-1].message_seq)
                    if self._hello.message:
                        admitted += record.record
                    else:
                        admitted += self._take_hello(record, [message for _, message in messages])
                else:
                    self.noise += 1
            elif self._admit(record):
                admitted += record.record
            else:
                self.noise += 1
        if admitted:
            assert self._connection is not None  # not done
            self._connection.bio_write(admitted)
            if not self._listens:
                self._listen()
            if not self.done:
                self._advance(now)
        repeated = lowest <= answered_before
        # The peer repeats itself because our answer was lost (RFC 6347 4.2.4, "read retransmit"). Once a
        # half-timer is often enough: a flight is several datagrams, and each of them arrives here.
        if repeated and not self.done and now - self._sent_at >= self._timer / 2:
            self._send_again(now)

    def handle_timeout(self, now: float) -> None:
        """Retransmit, or give up past the deadline. Does nothing before `timeout_at`."""
        if self.done or now < self.timeout_at:
            return
        if now >= self._deadline:
            detail = f"; the peer sent, unauthenticated: {self._alert_hint}" if self._alert_hint else ""
            self._fail(f"no answer within {self._settings.handshake_deadline:g} s{detail}")
        elif self._alert_hint:
            # Only a hint, anyone can forge it: the peer had a whole timer to go on regardless.
            self._fail(f"the peer refused (unauthenticated): {self._alert_hint}")
        else:
            self._timer = min(self._timer * 2, self._settings.longest_timeout)
            self._send_again(now)

    def abandon(self, reason: str) -> None:
        """End the attempt; nothing more is sent."""
        if not self.done:
            self._fail(reason)

    def _take_hello(self, record: RecordView, messages: list[memoryview]) -> bytes:
        """The record for OpenSSL, with the peer's hello in one piece; nothing while there is nothing but pieces."""
        content = self._hello.complete_untrusted(messages)
        if self._hello.message:
            # The first one only: OpenSSL passes over a repetition, and a forged one must not add to it.
            pull = pull_server_extensions_untrusted if self._is_client else pull_client_extensions_untrusted
            self._peer_extensions = pull(self._hello.message) or frozenset()
        elif not self._is_client:
            content = b""  # before the hello there is nothing to listen to
        if not self._is_client:
            # OpenSSL would number its ServerHello from 1 (openssl/openssl#32063) and the client, which has seen
            # our HelloVerifyRequest under that number, take it for a replay.
            self._next_plain_sequence = max(self._next_plain_sequence, record.header.sequence)
        if not content:
            return b""
        header = record.header
        return push_record_header(HANDSHAKE, 0, header.sequence, len(content), header.version) + content

    def _listen(self) -> None:
        """Begin as the server, of a hello with a cookie; OpenSSL never saw the one before it."""
        assert self._connection is not None
        self._listens = True
        try:
            self._connection.DTLSv1_listen()
        except SSL.Error as error:
            self._fail(_openssl_reason(error))

    def _are_plausible(self, messages: list[HandshakeHeader]) -> bool:
        """Whether the message fragments of a plaintext record may reach OpenSSL."""
        return bool(messages) and all(
            header.message_type in _MESSAGE_TYPES
            and header.length <= _LONGEST_MESSAGE
            and header.message_seq <= self._highest_received + _MESSAGE_SEQUENCE_AHEAD
            for header in messages
        )

    def _admit(self, record: RecordView) -> bool:
        """Whether any other record may reach OpenSSL: ChangeCipherSpec and Finished, once they are due."""
        if record.header.epoch == 1:
            return record.header.content_type == HANDSHAKE and self._finished_is_due()
        if record.header.epoch != 0:
            return False
        if record.header.content_type == CHANGE_CIPHER_SPEC:
            return bytes(record.fragment) == b"\x01" and self._finished_is_due()
        if record.header.content_type == ALERT and len(record.fragment) == 2 and record.fragment[0] == 2:
            name = _ALERT_NAMES.get(record.fragment[1], "unknown")
            self._alert_hint = f"alert {record.fragment[1]} ({name})"
        return False

    def _finished_is_due(self) -> bool:
        """The peer's Finished makes sense only after our key exchange (client) or certificate (server)."""
        return self._highest_received >= 0 and self._highest_sent >= 0

    def _advance(self, now: float) -> None:
        """Let OpenSSL work on what it was given, and take over what it writes."""
        assert self._connection is not None
        complete = False
        failure = ""
        try:
            self._connection.do_handshake()
            complete = True
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            failure = _openssl_reason(error)
        written = _drain(self._connection)
        try:
            if written:
                self._take_over(pull_records_untrusted(written), now)
            if failure:
                self._fail(failure)
            elif complete:
                self._complete()
        except RemoteProtocolError as error:
            if complete and self._write_keys is not None:
                # To the peer all is well: without a word it would go on until it presumes us dead.
                refusal = _seal(self._write_keys, self._next_sequence, ALERT, _HANDSHAKE_FAILURE)
                self._outgoing.append(refusal)
            self._fail(str(error))

    def _take_over(self, records: list[RecordView], now: float) -> None:
        """Make OpenSSL's output our flight, but for what it repeats.

        Its timer runs in real time, ours in the caller's: after a second it writes its last flight again, by itself
        or in front of the next one.
        """
        flight: list[FlightRecord] = []
        is_new = False
        sent_before = self._highest_sent
        for record in records:
            if record.header.epoch:
                self._openssl_sequence = record.header.sequence + 1
                is_repeated = self._has_finished()
                if self._keep_connection or not is_repeated:
                    # What OpenSSL repeats is not sent, so it spends a number only where OpenSSL goes on from there.
                    self._next_sequence = max(self._next_sequence, self._openssl_sequence)
                if is_repeated:
                    continue
                if record.header.content_type == HANDSHAKE:
                    self._keep_finished(record)
                    is_new = True
            elif record.header.content_type == HANDSHAKE:
                headers = [header for header, _ in pull_handshake_messages_untrusted(record.fragment)]
                if all(header.message_seq <= sent_before for header in headers):
                    continue
                is_new = True
                self._highest_sent = max(self._highest_sent, headers[-1].message_seq)
            elif record.header.content_type == ALERT:
                self._outgoing.append(record.record.tobytes())
                continue
            flight.append(
                FlightRecord(
                    record.header.content_type,
                    record.header.version,
                    record.header.epoch,
                    record.header.sequence,
                    bytes(record.fragment),
                )
            )
        if not is_new:
            return
        self._flight = flight
        self._answered = self._highest_received
        self._retransmissions = 0
        self._timer = self._settings.initial_timeout
        self._send(flight, now)

    def _send(self, flight: list[FlightRecord], now: float) -> None:
        mtu = max(self.mtu, SMALLEST_MTU) if self._retransmissions < _BACKOFF_AFTER else SMALLEST_MTU
        self._outgoing += pack(self._encode(flight, mtu), mtu)
        self._sent_at = now
        self.timeout_at = min(now + self._timer, self._deadline)

    def _encode(self, flight: list[FlightRecord], mtu: int) -> Iterator[bytes]:
        for record in flight:
            if record.epoch:
                yield record.encode(record.sequence)
                continue
            for part in refragment(record, mtu):
                # OpenSSL mirrors the ClientHello's number in its answer (RFC 6347 4.2.1): never below it.
                sequence = max(part.sequence, self._next_plain_sequence)
                self._next_plain_sequence = sequence + 1
                yield part.encode(sequence)

    def _send_again(self, now: float) -> None:
        """Retransmit the flight under new record numbers; our Finished is sealed anew under a new nonce."""
        # Whether our timer ran out or the peer repeated itself: our flight may have been too large for the path.
        self._retransmissions += 1
        if self._next_sequence:
            assert self._write_keys is not None  # a Finished was written
            sealed = _seal(self._write_keys, self._next_sequence, HANDSHAKE, self._finished_message)
            finished = FlightRecord(HANDSHAKE, DTLS_1_2, 1, self._next_sequence, sealed[RECORD_HEADER:])
            self._flight = [*(record for record in self._flight if not record.epoch), finished]
            self._next_sequence += 1
        self._send(self._flight, now)

    def _has_finished(self) -> bool:
        """Whether all of OpenSSL's Finished was written; what it writes after that is its own repetition."""
        message = self._finished_message
        return bool(message) and len(message) == HANDSHAKE_HEADER + int.from_bytes(message[1:4], "big")

    def _keep_finished(self, record: RecordView) -> None:
        """Open OpenSSL's Finished, so that we can seal it again, and prove its nonce disjoint from ours.

        It comes in fragments where the rest of the flight leaves too little room for it in a datagram.
        """
        assert self._connection is not None
        if self._write_keys is None:
            secret, client_random = self._connection.master_key(), self._connection.client_random()
            server_random = self._connection.server_random()
            assert secret is not None  # a Finished was written, so all three exist
            assert client_random is not None
            assert server_random is not None
            self._write_keys, self._read_keys = traffic_keys(
                secret, client_random, server_random, is_client=self._is_client
            )
        nonce = bytes(record.fragment[:EXPLICIT_NONCE])
        if may_meet(nonce, self._settings.number_end):
            raise RemoteProtocolError("OpenSSL's nonces would meet ours; handshake again")
        length = len(record.fragment) - EXPLICIT_NONCE - TAG
        additional = bytes(record.record[3:11]) + bytes(record.record[0:3]) + length.to_bytes(2, "big")
        try:
            part = AESGCM(self._write_keys.key).decrypt(
                bytes(self._write_keys.salt) + nonce, bytes(record.fragment[EXPLICIT_NONCE:]), additional
            )
        except InvalidTag:
            raise RemoteProtocolError("our key block does not open our own Finished") from None
        body = self._finished_message[HANDSHAKE_HEADER:] + part[HANDSHAKE_HEADER:]
        # Type, length and message_seq are those of every fragment; then offset and length of this one.
        self._finished_message = part[:6] + bytes(3) + len(body).to_bytes(3, "big") + body

    def _complete(self) -> None:
        connection = self._connection
        assert connection is not None
        version = connection.get_protocol_version()
        if version != DTLS_1_2:
            raise RemoteProtocolError(f"negotiated version {version:#06x}, not DTLS 1.2")
        required = _REQUIRED_OF_SERVERS if self._is_client else _REQUIRED_OF_CLIENTS
        for extension, name in required.items():
            if extension not in self._peer_extensions:
                raise RemoteProtocolError(f"the peer does not do {name}")
        if self._settings.require_alpn and connection.get_alpn_proto_negotiated() != ALPN:
            raise RemoteProtocolError(f"the peer does not speak {ALPN.decode()} (ALPN)")
        self._verify(connection.get_peer_certificate(as_cryptography=True))
        assert self._write_keys is not None  # our Finished was written before the handshake could complete
        assert self._read_keys is not None
        if self._keep_connection:
            self._quieten(connection)
        self.established = Established(
            self._write_keys,
            self._read_keys,
            epoch=1,
            next_sequence=self._next_sequence,
            connection=connection if self._keep_connection else None,
        )
        self.finished = Finished(self._finished_message, self._next_plain_sequence)
        self._release()

    def _quieten(self, connection: SSL.Connection) -> None:
        """Leave OpenSSL, which goes on numbering records, with nothing to write but what it is asked for.

        A Finished that came twice before its ChangeCipherSpec is still in its buffer, and would be answered by the last
        flight, under numbers of its own. Nor does it know of the Finished that we have sealed.
        """
        while True:
            try:
                connection.recv(_READ_SIZE)
            except SSL.WantReadError:
                pass
            except SSL.Error as error:
                raise RemoteProtocolError(_openssl_reason(error)) from error
            answers = [record for record in pull_records_untrusted(_drain(connection)) if record.header.epoch]
            if not answers:
                break
            self._openssl_sequence = answers[-1].header.sequence + 1
        self._next_sequence = max(self._next_sequence, self._openssl_sequence)
        pass_over(connection, self._next_sequence - self._openssl_sequence)

    def _fail(self, reason: str) -> None:
        self.failure = reason
        for keys in (self._write_keys, self._read_keys):
            if keys is not None:
                keys.wipe()
        self._release()

    def _release(self) -> None:
        self._connection = None
        self._write_keys = self._read_keys = None
        self._flight = []
        self.timeout_at = inf


def _seal(keys: TrafficKeys, sequence: int, content_type: int, message: bytes) -> bytes:
    """Seal an epoch-1 record of ours: explicit nonce ``epoch || sequence`` (RFC 9325 7.2.1)."""
    assert sequence <= MAX_SEQUENCE
    number = (1 << 48 | sequence).to_bytes(8, "big")
    additional = number + bytes((content_type, 0xFE, 0xFD)) + len(message).to_bytes(2, "big")
    sealed = AESGCM(keys.key).encrypt(bytes(keys.salt) + number, message, additional)
    header = push_record_header(content_type, 1, sequence, EXPLICIT_NONCE + len(sealed))
    return header + number + sealed


def _drain(connection: SSL.Connection) -> bytes:
    written = b""
    with suppress(SSL.WantReadError):
        while len(written) % _READ_SIZE == 0:  # a shorter read has emptied it
            written += connection.bio_read(_READ_SIZE)
    return written


def _openssl_reason(error: SSL.Error) -> str:
    entries = error.args[0] if error.args and isinstance(error.args[0], list) else []
    reasons = [entry[2] for entry in entries if isinstance(entry, tuple) and len(entry) == 3 and entry[2]]
    return "OpenSSL: " + (", ".join(reasons) or type(error).__name__)


_REQUIRED_OF_CLIENTS: Final = {EXTENDED_MASTER_SECRET: "extended master secret (RFC 7627)"}
"""RFC 9325 3.5: a peer without it is refused. What it said in clear is confirmed by its Finished. That a client
does secure renegotiation too need not be asked by a server that never renegotiates (RFC 5746 3.6), and wolfSSL's
does not say so."""

_REQUIRED_OF_SERVERS: Final = {
    **_REQUIRED_OF_CLIENTS,
    RENEGOTIATION_INFO: "secure renegotiation (RFC 5746)",
}
"""RFC 9325 3.5: a client cannot see whether its hello was spliced into somebody else's session otherwise."""

_ALERT_NAMES: Final = {
    0: "close_notify",
    10: "unexpected_message",
    20: "bad_record_mac",
    22: "record_overflow",
    40: "handshake_failure",
    42: "bad_certificate",
    43: "unsupported_certificate",
    44: "certificate_revoked",
    45: "certificate_expired",
    46: "certificate_unknown",
    47: "illegal_parameter",
    48: "unknown_ca",
    49: "access_denied",
    50: "decode_error",
    51: "decrypt_error",
    70: "protocol_version",
    71: "insufficient_security",
    80: "internal_error",
    86: "inappropriate_fallback",
    90: "user_canceled",
    100: "no_renegotiation",
    109: "missing_extension",
    110: "unsupported_extension",
    116: "certificate_required",
    120: "no_application_protocol",
}
"""RFC 5246 7.2, RFC 8446 6, RFC 7301 3.2."""
