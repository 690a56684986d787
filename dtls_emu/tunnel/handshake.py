"""One handshake attempt, driven by datagrams and the time.

Flow of a datagram in, and the order of the functions below:

1. Sort its records: what an attacker could forge in clear (alerts, junk) is counted and never reaches
   OpenSSL, which would give up the handshake for it; RFC 6347 4.1.2.7 wants it discarded silently.
2. Protected application records that overtook the Finished are kept aside (RFC 6347 4.1), a bounded number.
3. The rest goes to OpenSSL (:mod:`dtls_emu.tunnel.openssl_driver`), whole records of one datagram at a time.
4. What OpenSSL writes becomes our flight. Packing to the MTU, record numbers and retransmission are ours
   (:mod:`dtls_emu.tunnel.flight_timer`), and so is sealing our Finished again (:mod:`dtls_emu.tunnel.finished`).
5. When both Finished are verified: version, suite, ALPN and the peer's name are checked
   (:mod:`dtls_emu.tunnel.peer_checks`), and OpenSSL is let go. It never writes again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dtls_emu.crypto.backend import Established, TrafficKeys
from dtls_emu.errors import RemoteProtocolError
from dtls_emu.tunnel.finished import Finished, OwnFinished
from dtls_emu.tunnel.flight import FlightRecord
from dtls_emu.tunnel.flight_timer import FlightTimer
from dtls_emu.tunnel.openssl_driver import OpenSSLDriver
from dtls_emu.tunnel.peer_checks import alert_name, are_plausible, check_negotiated
from dtls_emu.wire.hello import (
    CLIENT_HELLO,
    SERVER_HELLO,
    HelloFragments,
    pull_client_extensions_untrusted,
    pull_server_extensions_untrusted,
)
from dtls_emu.wire.overhead import RECORD_HEADER
from dtls_emu.wire.record import (
    ALERT,
    APPLICATION_DATA,
    CHANGE_CIPHER_SPEC,
    DTLS_1_2,
    HANDSHAKE,
    pull_handshake_messages_untrusted,
    pull_records_untrusted,
    push_record_header,
)


if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography import x509

    from dtls_emu.tunnel.context import Contexts
    from dtls_emu.tunnel.settings import TunnelSettings
    from dtls_emu.wire.record import RecordView


__all__ = ["Handshake"]

_MESSAGE_SEQUENCE_END: Final = 1 << 16

_HANDSHAKE_FAILURE: Final = b"\x02\x28"
"""Fatal, handshake_failure (RFC 5246 7.2.2)."""

_FATAL: Final = 2


class Handshake:
    """One attempt, client's or server's side.

    Fields:
        is_client: which side.
        failure: why the attempt ended, or "" while it has not failed.
        established: the traffic keys once both Finished are verified, else None.
        finished: what is needed to send our last flight again; set with `established`.
        early: protected application records that came before the Finished, each with its mark. They stay
            there when the attempt fails, for whoever accounts for them.
        noise: records ignored so far (plaintext alerts, junk).
        started_at: when the attempt began, in the caller's seconds.
    """

    def __init__(
        self,
        contexts: Contexts,
        *,
        hello: bytes | None,
        verify: Callable[[x509.Certificate | None], None],
        mtu: int,
        settings: TunnelSettings,
        keep_connection: bool = False,
        now: float,
    ) -> None:
        """Prepare an attempt; a client's first flight is ready at once.

        Args:
            contexts: of the local host.
            hello: None for a client; for a server the datagram that begins with a ClientHello, or its first fragment,
                whose cookie was found good.
            verify: raises RemoteProtocolError unless the certificate is the peer's.
            mtu: UDP payload bytes that the path carries.
            settings: timers and limits.
            keep_connection: leave the live connection in `established`, for the `openssl` backend.
            now: seconds.
        """
        self._settings = settings
        self.is_client = is_client = hello is None
        self._verify = verify
        self._keep_connection = keep_connection
        self._driver: OpenSSLDriver | None = OpenSSLDriver(contexts, is_client=is_client, mtu=mtu)
        self._sending = FlightTimer(settings, mtu, now)
        self._own_finished = OwnFinished(settings.number_end, keep_connection=keep_connection)
        self._highest_sent = -1  # message_seq
        self._highest_received = -1
        self._answered = -1  # highest received message_seq when our current flight was written
        self._write_keys: TrafficKeys | None = None
        self._read_keys: TrafficKeys | None = None
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
        if hello is None:
            self._advance(now)
        else:
            self.receive(hello, now)

    @property
    def done(self) -> bool:
        """Established or failed."""
        return bool(self.failure) or self.established is not None

    @property
    def mtu(self) -> int:
        """UDP payload bytes that the path carries; may change, and the next sending follows it."""
        return self._sending.mtu

    @mtu.setter
    def mtu(self, size: int) -> None:
        self._sending.mtu = size

    @property
    def timeout_at(self) -> float:
        """When `handle_timeout` wants to be called; infinity when it does not."""
        return self._sending.timeout_at

    @property
    def retransmissions(self) -> int:
        """How often the current flight was sent again."""
        return self._sending.retransmissions

    def take_datagrams(self) -> list[bytes]:
        """Datagrams to send now, each at most the MTU; they are handed out once."""
        return self._sending.take_datagrams()

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
                if are_plausible(headers, self._highest_received):
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
            self._give_openssl(admitted, now)
        is_repeated = lowest <= answered_before
        if is_repeated and not self.done and self._sending.may_answer_repetition(now):
            self._send_again(now)

    def handle_timeout(self, now: float) -> None:
        """Retransmit, or give up past the deadline. Does nothing before `timeout_at`."""
        if self.done or now < self.timeout_at:
            return
        if self._sending.is_late(now):
            detail = f"; the peer sent, unauthenticated: {self._alert_hint}" if self._alert_hint else ""
            self._fail(f"no answer within {self._settings.handshake_deadline:g} s{detail}")
        elif self._alert_hint:
            # Only a hint, anyone can forge it: the peer had a whole timer to go on regardless.
            self._fail(f"the peer refused (unauthenticated): {self._alert_hint}")
        else:
            self._sending.double()
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
            pull = pull_server_extensions_untrusted if self.is_client else pull_client_extensions_untrusted
            self._peer_extensions = pull(self._hello.message) or frozenset()
        elif not self.is_client:
            content = b""  # before the hello there is nothing to listen to
        if not self.is_client:
            # OpenSSL would number its ServerHello from 1 (openssl/openssl#32063) and the client, which has seen
            # our HelloVerifyRequest under that number, take it for a replay.
            sending = self._sending
            sending.next_plain_sequence = max(sending.next_plain_sequence, record.header.sequence)
        if not content:
            return b""
        header = record.header
        return push_record_header(HANDSHAKE, 0, header.sequence, len(content), header.version) + content

    def _admit(self, record: RecordView) -> bool:
        """Whether any other record may reach OpenSSL: ChangeCipherSpec and Finished, once they are due."""
        if record.header.epoch == 1:
            return record.header.content_type == HANDSHAKE and self._finished_is_due()
        if record.header.epoch != 0:
            return False
        if record.header.content_type == CHANGE_CIPHER_SPEC:
            return bytes(record.fragment) == b"\x01" and self._finished_is_due()
        if record.header.content_type == ALERT and len(record.fragment) == 2 and record.fragment[0] == _FATAL:
            self._alert_hint = alert_name(record.fragment[1])
        return False

    def _finished_is_due(self) -> bool:
        """The peer's Finished makes sense only after our key exchange (client) or certificate (server)."""
        return self._highest_received >= 0 and self._highest_sent >= 0

    def _give_openssl(self, records: bytes, now: float) -> None:
        assert self._driver is not None  # not done
        self._driver.feed(records)
        if not self._listens:
            self._listens = True
            failure = self._driver.listen()
            if failure:
                self._fail(failure)
                return
        self._advance(now)

    def _advance(self, now: float) -> None:
        """Let OpenSSL work on what it was given, and take over what it writes."""
        assert self._driver is not None
        step = self._driver.advance()
        try:
            if step.records:
                self._take_over(step.records, now)
            if step.failure:
                self._fail(step.failure)
            elif step.is_complete:
                self._complete()
        except RemoteProtocolError as error:
            if step.is_complete and self._write_keys is not None:
                # To the peer all is well: without a word it would go on until it presumes us dead.
                self._sending.send_now(self._own_finished.seal(self._write_keys, ALERT, _HANDSHAKE_FAILURE))
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
                if not self._own_finished.count(record.header.sequence):
                    continue
                if record.header.content_type == HANDSHAKE:
                    self._own_finished.keep(record, self._derive_keys())
                    is_new = True
            elif record.header.content_type == HANDSHAKE:
                headers = [header for header, _ in pull_handshake_messages_untrusted(record.fragment)]
                if all(header.message_seq <= sent_before for header in headers):
                    continue
                is_new = True
                self._highest_sent = max(self._highest_sent, headers[-1].message_seq)
            elif record.header.content_type == ALERT:
                self._sending.send_now(record.record.tobytes())
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
        if is_new:
            self._answered = self._highest_received
            self._sending.begin(flight, now)

    def _derive_keys(self) -> TrafficKeys:
        """The traffic keys exist since OpenSSL has written our Finished. Those to seal with."""
        if self._write_keys is None:
            assert self._driver is not None
            self._write_keys, self._read_keys = self._driver.traffic_keys()
        return self._write_keys

    def _send_again(self, now: float) -> None:
        """Retransmit the flight under new record numbers; our Finished is sealed anew under a new nonce."""
        own, sealed = self._own_finished, None
        if own.next_sequence:
            assert self._write_keys is not None  # a Finished was written
            sequence = own.next_sequence
            record = own.seal(self._write_keys, HANDSHAKE, own.message)
            sealed = FlightRecord(HANDSHAKE, DTLS_1_2, 1, sequence, record[RECORD_HEADER:])
        self._sending.repeat(now, sealed)

    def _complete(self) -> None:
        driver = self._driver
        assert driver is not None
        check_negotiated(
            is_client=self.is_client,
            version=driver.version,
            extensions=self._peer_extensions,
            alpn=driver.alpn,
            require_alpn=self._settings.require_alpn,
        )
        self._verify(driver.peer_certificate)
        own = self._own_finished
        assert self._write_keys is not None  # our Finished was written before the handshake could complete
        assert self._read_keys is not None
        if self._keep_connection:
            last = driver.quieten()
            if last is not None:
                own.openssl_sequence = last + 1
            # Nor does OpenSSL know of the Finished that we have sealed.
            own.next_sequence = max(own.next_sequence, own.openssl_sequence)
            driver.pass_over(own.next_sequence - own.openssl_sequence)
        self.established = Established(
            self._write_keys,
            self._read_keys,
            epoch=1,
            next_sequence=own.next_sequence,
            connection=driver.connection if self._keep_connection else None,
        )
        self.finished = Finished(own.message, self._sending.next_plain_sequence)
        self._release()

    def _fail(self, reason: str) -> None:
        self.failure = reason
        for keys in (self._write_keys, self._read_keys):
            if keys is not None:
                keys.wipe()
        self._release()

    def _release(self) -> None:
        self._driver = None
        self._write_keys = self._read_keys = None
        self._sending.end()
