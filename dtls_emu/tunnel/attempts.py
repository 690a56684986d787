"""Handshake attempts of one tunnel that are under way: how they begin, and who may begin one.

*Nothing on a stranger's word.* Anyone can send a ClientHello, or forge one from a peer's address. Before its
cookie has come back nothing is remembered of it (RFC 6347 4.2.1).
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
from dtls_emu.tunnel.handshake import Handshake, Hello
from dtls_emu.vocabulary import DropReason, Keying
from dtls_emu.wire.hello import hello_verify_request, pull_client_hello_untrusted
from dtls_emu.wire.record import HANDSHAKE, pull_records_untrusted


if TYPE_CHECKING:
    from cryptography import x509

    from dtls_emu.tunnel.peers import Identity, Peer
    from dtls_emu.tunnel.settings import TunnelSettings


__all__ = ["Attempts", "Ends", "HalfOpen"]

Ends = tuple[int, int]
"""Local and remote UDP port."""

_FAILED: Final = 8
"""Attempts of the past whose last records are known for what they are."""


_SECOND_HELLO: Final = 1
"""message_seq of the ClientHello that brings the cookie back; the first has 0 (RFC 6347 4.2.2). A third, after a cookie
that was a minute old, OpenSSL does not begin with."""


@dataclass(slots=True)
class HalfOpen:
    """How many attempts that others have begun are under way, over all tunnels of a card."""

    count: int = 0


class Attempts:
    """The attempts of one tunnel.

    Fields:
        running: by their ends.
    """

    def __init__(
        self,
        identity: Identity,
        peer: Peer,
        settings: TunnelSettings,
        half_open: HalfOpen,
        *,
        keep_connection: bool,
    ) -> None:
        """
        Args:
            identity: this host.
            peer: the other.
            settings: timers and limits.
            half_open: of the card.
            keep_connection: for a backend that runs on the live connection.
        """
        self.running: dict[Ends, Handshake] = {}
        self._failed: deque[Ends] = deque(maxlen=_FAILED)
        self._identity = identity
        self._peer = peer
        self._settings = settings
        self._half_open = half_open
        self._keep_connection = keep_connection
        self._has_precedence = ip_address(identity.address).packed < ip_address(peer.address).packed
        self._certificate: x509.Certificate | None = None  # the last that verified, and its end
        self._certificate_end = identity.wall_start

    def begin(self, ends: Ends, hello: Hello | None, mtu: int, now: float) -> Handshake:
        """Start an attempt: as the client, or as the server of a hello whose cookie is good.

        Args:
            ends: its ports.
            hello: None for a client.
            mtu: UDP payload bytes that the path carries.
            now: seconds.
        """
        attempt = Handshake(
            self._identity.contexts,
            hello=hello,
            verify=partial(self._verify, now),
            mtu=mtu,
            settings=self._settings,
            keep_connection=self._keep_connection,
            now=now,
        )
        self.running[ends] = attempt
        self._half_open.count += hello is not None
        return attempt

    def end(self, ends: Ends) -> Handshake:
        """Take out an attempt, one that has ended or is to."""
        attempt = self.running.pop(ends)
        self._half_open.count -= not attempt.is_client
        return attempt

    def fail(self, ends: Ends, reason: str) -> Handshake:
        """Likewise one that has failed, or is to; that its ends were in use is remembered for a while."""
        attempt = self.end(ends)
        attempt.abandon(reason)
        self._failed.append(ends)
        return attempt

    def has_failed(self, ends: Ends) -> bool:
        """Whether one that had these ends failed lately: what its peer sealed may still come."""
        return ends in self._failed

    def judge(self, datagram: bytes, ends: Ends, now: float) -> DropReason | bytes | Hello | None:
        """What to do about a datagram for ends that neither an attempt nor an association has.

        Returns:
            Why it is dropped; or a datagram to answer with, that asks for a cookie; or the hello to begin an
            attempt with, whole or its first fragment; or None where our own attempt has precedence and the
            hello is passed over.
        """
        records = pull_records_untrusted(datagram)
        if not records:
            return DropReason.BAD_DATAGRAM
        record = records[0]
        if record.header.epoch:
            return DropReason.NO_ASSOCIATION
        is_handshake = record.header.content_type == HANDSHAKE
        hello = pull_client_hello_untrusted(record.fragment) if is_handshake else None
        if hello is None or ends[0] != self._settings.port or self._settings.keying is Keying.BROKER:
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
        return Hello(datagram)

    def timeout(self) -> float:
        """When one of them wants `handle_timeout` to be called; infinity when none does."""
        return min((attempt.timeout_at for attempt in self.running.values()), default=inf)

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
