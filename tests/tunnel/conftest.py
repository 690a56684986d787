"""A tunnel and a bare pyOpenSSL connection opposite it: what a stack that is not ours makes of our bytes."""

from __future__ import annotations

import contextlib
from collections import Counter
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING

import pytest
from OpenSSL import SSL, crypto

from dtls_emu.crypto.authority import RegionAuthority
from dtls_emu.crypto.keys import traffic_keys
from dtls_emu.crypto.loopback import split_records
from dtls_emu.crypto.registry import load
from dtls_emu.testing.present import present
from dtls_emu.testing.reference import seal_by_reference
from dtls_emu.testing.waiting import rounds
from dtls_emu.tunnel.context import ALPN, SUITE, build_contexts
from dtls_emu.tunnel.cookie import CookieJar
from dtls_emu.tunnel.peers import Identity, Peer
from dtls_emu.tunnel.ports import PortAllocator
from dtls_emu.tunnel.settings import TunnelSettings
from dtls_emu.tunnel.states import TunnelState
from dtls_emu.tunnel.tunnel import Tunnel
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.overhead import RECORD_PREFIX, TAG
from dtls_emu.wire.protocol import APPLICATION_DATA, DTLS_1_2


if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurve

    from dtls_emu.crypto.authority import HostCredentials
    from dtls_emu.tunnel.outcome import Outcome, Outgoing
    from dtls_emu.vocabulary import DropReason


OURS, THEIRS = ("alpha", "10.255.0.1"), ("beta", "10.255.0.2")
PORT, CLIENT_PORT = 4433, 50_000


class Foreign:
    """Our tunnel `alpha` and OpenSSL as `beta`, joined by a wire without loss or delay.

    Fields:
        tunnel: ours.
        connection: theirs; its alerts and records come from OpenSSL's own record layer.
        now: what the tunnel is told, in seconds.
        sent, heard: datagrams of ours and of theirs.
        ends: ports of the tunnel and of OpenSSL.
        received: packets that the tunnel opened.
        dropped: records that it dropped, by reason.
        error: what OpenSSL gave up with, or "".
    """

    def __init__(
        self,
        *,
        is_client: bool,
        settings: TunnelSettings | None = None,
        credentials: HostCredentials | str | None = "beta",
        versions: tuple[int, int] = (DTLS_1_2, DTLS_1_2),
        suites: bytes = SUITE,
        alpn: bytes = ALPN,
        curve: EllipticCurve | None = None,
        options: int = 0,
    ) -> None:
        """
        Args:
            is_client: whether OpenSSL is the client.
            settings: of our tunnel.
            credentials: OpenSSL's; a name to have them issued by our CA, None for no certificate.
            versions: lowest and highest that OpenSSL offers.
            suites, alpn, curve: likewise; no ALPN when empty, OpenSSL's own choice of curves when None.
            options: of OpenSSL, in addition.
        """
        authority, identity = _ours()
        self.is_client = is_client
        self.now = 0.0
        self.sent: list[bytes] = []
        self.heard: list[bytes] = []
        self.received: list[bytes] = []
        self.dropped: Counter[DropReason] = Counter()
        self.error = ""
        self._outgoing: list[Outgoing] = []
        self.ends = PORT, CLIENT_PORT
        self.tunnel = Tunnel(
            identity,
            Peer(*THEIRS, authority.certificate),
            backend=_backend("cryptography"),
            settings=settings or TunnelSettings(),
            ports=PortAllocator(),
            path_mtu=1500,
        )
        context = SSL.Context(SSL.DTLS_METHOD)
        context.set_min_proto_version(versions[0])
        context.set_max_proto_version(versions[1])
        context.set_cipher_list(suites)
        context.set_options(SSL.OP_NO_QUERY_MTU | options)
        if isinstance(credentials, str):
            credentials = _issue(credentials)
        if credentials is not None:
            context.use_certificate(credentials.certificate)
            context.use_privatekey(credentials.private_key)
        if curve is not None:
            context.set_tmp_ecdh(curve)
        present(context.get_cert_store()).add_cert(crypto.X509.from_cryptography(authority.certificate))
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
        if alpn and is_client:
            context.set_alpn_protos([alpn])
        elif alpn:
            context.set_alpn_select_callback(lambda _connection, _offered: alpn)
        self.connection = SSL.Connection(context)
        self.connection.set_ciphertext_mtu(1400)
        if is_client:
            self.connection.set_connect_state()
        else:
            self.connection.set_accept_state()

    def shake_hands(self) -> Foreign:
        """Let both do what they want to do until neither has anything to say."""
        if self.is_client:
            self._work()
        else:
            self.carry_out(self.tunnel.connect(self.now))
        self.exchange()
        return self

    def exchange(self) -> None:
        """Carry datagrams until there are none."""
        for _ in rounds(10_000, "neither has anything to say"):
            outgoing = self.take_outgoing()
            ours = [out.datagram for out in outgoing]
            self.sent += ours
            if outgoing:
                self.ends = (outgoing[-1].local_port, outgoing[-1].remote_port)
            for datagram in ours:
                self.connection.bio_write(datagram)
                self._work()
            theirs = self._drain()
            if not ours and not theirs:
                return
            for datagram in theirs:
                self.inject(datagram)

    def carry_out(self, outcome: Outcome) -> Outcome:
        """Note what a call of the tunnel has caused; its datagrams wait for `exchange`, or for the test."""
        for opened, status in outcome.opened:
            rows = zip(opened.rows(), status.tolist(), strict=True)
            self.received += [row.tobytes() for row, code in rows if code == 0]
        for reason, count, _mark in outcome.dropped:
            self.dropped[reason] += count
        self._outgoing += outcome.datagrams
        return outcome

    def take_outgoing(self) -> list[Outgoing]:
        """The tunnel's datagrams that wait; they are handed out once."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def inject(self, datagram: bytes) -> Outcome:
        """A datagram arrives at the tunnel from OpenSSL's address."""
        return self.carry_out(self.tunnel.receive(Burst.from_packets([datagram]), *self.ends, self.now))

    def wait(self, seconds: float) -> None:
        """Let time pass on the tunnel's side."""
        until = self.now + seconds
        for _ in rounds(1_000_000, f"no timer is due before {until}"):
            moment = self.tunnel.timeout()
            if moment > until:
                break
            self.now = max(self.now, moment)
            self.carry_out(self.tunnel.handle_timeout(self.now))
            self.exchange()
        self.now = until

    def seal(self, *packets: bytes) -> list[bytes]:
        """Records of our tunnel's."""
        burst = Burst.from_packets(packets, headroom=RECORD_PREFIX, tailroom=TAG)
        _, outcome = self.tunnel.seal(burst, self.now)
        self.carry_out(outcome)
        return [row.tobytes() for row in burst.rows()]

    def give(self, datagram: bytes) -> bytes:
        """OpenSSL takes a datagram: the data that it makes of it, or nothing."""
        self.connection.bio_write(datagram)
        try:
            return self.connection.recv(65_536)
        except SSL.WantReadError:
            return b""

    def take(self, packet: bytes) -> bytes:
        """A record of OpenSSL's own making."""
        self.connection.send(packet)
        return self.connection.bio_read(65_536)

    def forge(
        self,
        plaintext: bytes,
        sequence: int,
        *,
        content_type: int = APPLICATION_DATA,
        epoch: int = 1,
        nonce: bytes | None = None,
        version: int = DTLS_1_2,
    ) -> bytes:
        """A record under OpenSSL's write key: authentic, whatever it holds."""
        write, _ = traffic_keys(
            present(self.connection.master_key()),
            present(self.connection.client_random()),
            present(self.connection.server_random()),
            is_client=self.is_client,
        )
        return seal_by_reference(
            write,
            plaintext,
            sequence,
            content_type=content_type,
            epoch=epoch,
            nonce=nonce,
            version=version,
        )

    def assert_talks(self) -> None:
        """Both directions carry data."""
        assert (self.tunnel.state, self.error) == (TunnelState.UP, ""), self.tunnel.failure
        before = len(self.received)
        assert [self.give(record) for record in self.seal(b"ours 1", b"ours 2")] == [b"ours 1", b"ours 2"]
        for packet in (b"theirs 1", b"theirs 2"):
            self.inject(self.take(packet))
        assert self.received[before:] == [b"theirs 1", b"theirs 2"]

    def _work(self) -> None:
        try:
            self.connection.do_handshake()
            self.connection.recv(65_536)
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            self.error = self.error or str(error) or type(error).__name__

    def _drain(self) -> list[bytes]:
        """What OpenSSL has written, a record in each datagram."""
        written = b""
        with contextlib.suppress(SSL.WantReadError):
            while True:
                written += self.connection.bio_read(65_536)
        datagrams = split_records(written)
        self.heard += datagrams
        return datagrams


@pytest.fixture(scope="session")
def make_foreign():
    """Make a tunnel and an OpenSSL opposite it; they have not shaken hands yet."""
    return Foreign


@pytest.fixture(scope="session")
def authority():
    """The CA of our tunnel's region."""
    return _ours()[0]


_backend = cache(load)


@cache
def _issue(name: str) -> HostCredentials:
    return _ours()[0].issue(name, datetime.now(UTC))


@cache
def _ours() -> tuple[RegionAuthority, Identity]:
    now = datetime.now(UTC)
    authority = RegionAuthority.create("test", now)
    contexts = build_contexts(authority.issue(OURS[0], now), [authority.certificate])
    return authority, Identity(*OURS, contexts, CookieJar(b"cookie secret"), now)
