"""Keys from DTLS handshakes: the attempts of one tunnel that are under way, and who may begin one.

*Nothing on a stranger's word.* Anyone can send a ClientHello, or forge one from a peer's address. Before its
cookie has come back nothing is remembered of it (RFC 6347 4.2.1).

*Both ends starting at once.* The host with the numerically lower underlay address stays client. It does not
answer the other's ClientHello while its own attempt runs; the other answers, and drops its own attempt when
that association stands.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from ipaddress import ip_address
from math import inf
from typing import TYPE_CHECKING, Final

from dtls_emu.crypto.authority import verify_peer
from dtls_emu.errors import LocalProtocolError
from dtls_emu.tunnel.handshake import Handshake
from dtls_emu.tunnel.happenings import FlightReceived, FlightRetransmitted, FlightSent
from dtls_emu.tunnel.keying import AttemptFailed, Begun, NewKeys
from dtls_emu.vocabulary import DropReason
from dtls_emu.wire.hello import hello_verify_request, pull_client_hello_untrusted
from dtls_emu.wire.record import HANDSHAKE, pull_records_untrusted


if TYPE_CHECKING:
    from cryptography import x509

    from dtls_emu.tunnel.happenings import Ends
    from dtls_emu.tunnel.journal import Journal
    from dtls_emu.tunnel.keying import Result, Verdict
    from dtls_emu.tunnel.peers import Identity, Peer
    from dtls_emu.tunnel.ports import LocalPorts
    from dtls_emu.tunnel.session_keys import SessionKeys
    from dtls_emu.tunnel.settings import TunnelSettings


__all__ = ["HalfOpen", "HandshakeKeys"]

_FAILED: Final = 8
"""Attempts of the past whose last records are known for what they are."""

_SECOND_HELLO: Final = 1
"""message_seq of the ClientHello that brings the cookie back; the first has 0 (RFC 6347 4.2.2). A third, after a cookie
that was a minute old, OpenSSL does not begin with."""


@dataclass(slots=True)
class HalfOpen:
    """How many attempts that others have begun are under way, over all tunnels of a card."""

    count: int = 0


class HandshakeKeys:
    """The :class:`~dtls_emu.tunnel.keying.KeySource` of a tunnel that shakes hands.

    Fields:
        running: the attempts under way, by their ends.
    """

    session_idle = inf
    is_asking = False
    """A handshake that runs does not hinder another: whose key is worn may not wait for a stranger's."""

    def __init__(
        self,
        identity: Identity,
        peer: Peer,
        settings: TunnelSettings,
        half_open: HalfOpen,
        ports: LocalPorts,
        journal: Journal,
        *,
        keep_connection: bool,
        mtu: int,
    ) -> None:
        """
        Args:
            identity: this host.
            peer: the other.
            settings: timers and limits.
            half_open: of the card.
            ports: of the tunnel.
            journal: likewise.
            keep_connection: for a backend that runs on the live connection.
            mtu: UDP payload bytes that the path carries.
        """
        self.running: dict[Ends, Handshake] = {}
        self._failed: deque[Ends] = deque(maxlen=_FAILED)
        self._identity = identity
        self._peer = peer
        self._settings = settings
        self._half_open = half_open
        self._ports = ports
        self._journal = journal
        self._keep_connection = keep_connection
        self._mtu = mtu
        self._has_precedence = ip_address(identity.address).packed < ip_address(peer.address).packed
        self._certificate: x509.Certificate | None = None  # the last that verified, and its end
        self._certificate_end = identity.wall_start

    @property
    def mtu(self) -> int:
        """See the protocol; attempts that run follow it with their next sending."""
        return self._mtu

    @mtu.setter
    def mtu(self, size: int) -> None:
        self._mtu = size
        for attempt in self.running.values():
            attempt.mtu = size

    @property
    def is_running(self) -> bool:
        """See the protocol."""
        return bool(self.running)

    def begin(self, port: int, now: float) -> Result:
        """See the protocol."""
        return self._begin((port, self._settings.port), None, now)

    def give_up(self, port: int) -> bool:
        """See the protocol."""
        ends = next((ends for ends in self.running if ends[0] == port), None)
        if ends is None:
            return False
        self._fail(ends, f"port {port} cannot be opened")
        return True

    def withdraw(self, reason: str) -> None:
        """See the protocol."""
        for ends, attempt in list(self.running.items()):
            if attempt.is_client:
                self._fail(ends, reason)

    def close(self) -> None:
        """See the protocol."""
        for ends in list(self.running):
            self._fail(ends, "closed")

    def owns(self, ends: Ends) -> bool:
        """See the protocol."""
        return ends in self.running

    def has_failed(self, ends: Ends) -> bool:
        """See the protocol."""
        return ends in self._failed

    def receive(self, datagram: bytes, ends: Ends, mark: int, now: float) -> Result:
        """See the protocol."""
        attempt = self.running[ends]
        noise, early = attempt.noise, len(attempt.early)
        attempt.receive(datagram, now, mark)
        if attempt.noise > noise:
            # A mark is that of one packet; the record that was kept has it.
            self._journal.drop(DropReason.HANDSHAKE_NOISE, 1, mark if len(attempt.early) == early else 0)
        else:
            self._journal.count_control()
            if self._journal.is_observed:
                self._journal.note(FlightReceived(ends, 1, len(datagram)))
        return self._conclude(ends, attempt)

    def meet(self, datagram: bytes, ends: Ends, now: float) -> Verdict:
        """See the protocol. What begins an attempt is a hello, whole or its first fragment, whose cookie is good."""
        records = pull_records_untrusted(datagram)
        if not records:
            return DropReason.BAD_DATAGRAM
        record = records[0]
        if record.header.epoch:
            return DropReason.NO_ASSOCIATION
        is_handshake = record.header.content_type == HANDSHAKE
        hello = pull_client_hello_untrusted(record.fragment) if is_handshake else None
        if hello is None or ends[0] != self._settings.port:
            return DropReason.HANDSHAKE_NOISE
        if hello.message_seq > (_SECOND_HELLO if hello.cookie else 0):
            return DropReason.HANDSHAKE_NOISE
        address = (self._peer.address, ends[1])
        if not self._identity.cookies.accepts(address, hello, now):
            cookie = self._identity.cookies.bake(address, hello, now)
            return hello_verify_request(cookie, record.header.sequence)
        if self._has_precedence and any(attempt.is_client for attempt in self.running.values()):
            return None
        if (
            len(self.running) >= self._settings.half_open_limit
            or self._half_open.count >= self._settings.card_half_open_limit
        ):
            return DropReason.HALF_OPEN_LIMIT
        if self._journal.is_observed:
            self._journal.note(FlightReceived(ends, 1, len(datagram)))
        return Begun(self._begin(ends, datagram, now))

    def install(self, keys: SessionKeys, _now: float) -> NewKeys:
        """There is nobody to take them from."""
        keys.discard()
        raise LocalProtocolError("a tunnel that shakes hands does not take session keys")

    def timeout(self) -> float:
        """See the protocol."""
        return min((attempt.timeout_at for attempt in self.running.values()), default=inf)

    def handle_timeout(self, now: float) -> Result:
        """See the protocol."""
        result: Result = None
        for ends, attempt in list(self.running.items()):
            attempt.handle_timeout(now)
            result = self._conclude(ends, attempt) or result
        return result

    def _begin(self, ends: Ends, hello: bytes | None, now: float) -> Result:
        """Start an attempt: as the client, or as the server of a datagram with a hello."""
        attempt = Handshake(
            self._identity.contexts,
            hello=hello,
            verify=partial(self._verify, now),
            mtu=self._mtu,
            settings=self._settings,
            keep_connection=self._keep_connection,
            now=now,
        )
        self.running[ends] = attempt
        self._half_open.count += hello is not None
        return self._conclude(ends, attempt)

    def _conclude(self, ends: Ends, attempt: Handshake) -> Result:
        """Send what an attempt has to say, and see what it has come to."""
        datagrams = attempt.take_datagrams()
        for datagram in datagrams:
            self._journal.send(ends, datagram)
        if datagrams and self._journal.is_observed:
            self._note_sent(ends, attempt, datagrams)
        if attempt.established is not None:
            self._end(ends)
            return NewKeys(
                ends,
                attempt.established,
                attempt.finished,
                attempt.is_client,
                attempt.started_at,
                attempt.early,
            )
        if not attempt.failure:
            return None
        self._fail(ends, attempt.failure)
        return None if self.running else AttemptFailed(attempt.failure)

    def _note_sent(self, ends: Ends, attempt: Handshake, datagrams: list[bytes]) -> None:
        number, nbytes = len(datagrams), sum(map(len, datagrams))
        if attempt.retransmissions:
            self._journal.note(FlightRetransmitted(ends, number, nbytes, attempt.retransmissions))
        else:
            self._journal.note(FlightSent(ends, number, nbytes))

    def _end(self, ends: Ends) -> Handshake:
        attempt = self.running.pop(ends)
        self._half_open.count -= not attempt.is_client
        return attempt

    def _fail(self, ends: Ends, reason: str) -> None:
        """An attempt has failed, or is to; that its ends were in use is remembered for a while."""
        attempt = self._end(ends)
        attempt.abandon(reason)
        self._failed.append(ends)
        self._journal.count_extra(len(attempt.early))
        for _, mark in attempt.early:
            self._journal.drop(DropReason.NO_ASSOCIATION, 1, mark)
        self._ports.release(ends[0])

    def _verify(self, now: float, certificate: x509.Certificate | None) -> None:
        """Check that a certificate is the peer's; the one of the last handshake only for its date.

        OpenSSL has checked chain and purpose, with every handshake; who it is, is ours to check.
        """
        date = self._identity.wall_start + timedelta(seconds=now)
        known = certificate is not None and certificate == self._certificate
        if known and date <= self._certificate_end:
            return
        # Hosts are signed by the CA itself, so the peer's own certificate is the whole chain.
        chain = [] if certificate is None else [certificate]
        verify_peer(chain, self._peer.name, self._peer.ca_certificate, date)
        assert certificate is not None  # an empty chain does not verify
        self._certificate, self._certificate_end = certificate, certificate.not_valid_after_utc
