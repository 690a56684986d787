"""Handshakes: what a new association costs both ends together, beside what pyOpenSSL alone needs for it.

Both sides do the cookie exchange, verify certificates, agree on ECDHE keys and derive the traffic keys, with the
same contexts and certificates; all in one thread, so its CPU time is that of both ends. :mod:`dtls_emu.measure.suites.handshake`
measures them in turns.

The tunnel's figure holds what an association is besides: choosing ports, a record that confirms it, its keys
handed to the backend, and two cards around it all. Goodbyes to old ones are not counted in.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from OpenSSL import SSL

from dtls_emu.crypto.keys import traffic_keys
from dtls_emu.errors import DtlsEmuError
from dtls_emu.measure.cards import clock, issue_both
from dtls_emu.measure.idle_tunnels import idle_tunnel_bytes
from dtls_emu.measure.machine import one_core, undisturbed
from dtls_emu.measure.memory import CardPair
from dtls_emu.tunnel.context import build_contexts


if TYPE_CHECKING:
    from dtls_emu.lab.topology import Topology
    from dtls_emu.measure.arms import Pair


__all__ = ["CardHandshakeTestbed", "HandshakeTestbed"]

DATAGRAM: Final = 1472
"""Largest of the bare handshake, in bytes: an MTU of 1500."""


class HandshakeTestbed(Protocol):
    """Two ends that can make associations, and a bare stack beside them."""

    backend: str

    def shake_hands(self, count: int) -> float:
        """Make so many associations. CPU seconds of both ends."""

    def shake_bare_hands(self, count: int) -> float:
        """The same by pyOpenSSL alone."""

    def idle_bytes(self) -> int | None:
        """Memory of one end of an idle tunnel; None when it could not be measured."""


class CardHandshakeTestbed:
    """The two cards of an arm, which renew their key again and again; and a bare stack with their certificates.

    Args:
        topology: of the lab.
        pair: the VMs whose hosts the cards are of.
        backend: of both cards.

    Raises:
        DtlsEmuError: the tunnel did not come up.
    """

    def __init__(self, topology: Topology, pair: Pair, backend: str) -> None:
        self.backend = backend
        credentials = issue_both(pair)
        self._cards = CardPair(topology, pair, backend, credentials)
        self._now = clock()
        authorities = [credentials[0].ca_certificate]
        self._client = build_contexts(credentials[0], authorities).client
        self._server = build_contexts(credentials[1], authorities).server

    def shake_hands(self, count: int) -> float:
        """See :class:`HandshakeTestbed`.

        Raises:
            DtlsEmuError: a handshake was not done at once, although nothing gets lost.
        """
        cards = self._cards
        # All that is kept for associations of the last call is let go of first.
        self._now += 60
        cards.let_time_pass(self._now)
        before = cards.handshakes
        with one_core(), undisturbed():
            cpu_s = -time.thread_time()
            for _ in range(count):
                cards.renew(self._now)
            cpu_s += time.thread_time()
        # One in 65,536 is repeated by design: see `dtls_emu.tunnel.handshake`.
        if cards.handshakes - before < count - 1:
            raise DtlsEmuError(f"{cards.handshakes - before} of {count} handshakes were done")
        return cpu_s

    def shake_bare_hands(self, count: int) -> float:
        """See :class:`HandshakeTestbed`."""
        with one_core(), undisturbed():
            cpu_s = -time.thread_time()
            for _ in range(count):
                _shake_bare_hands(self._client, self._server)
            return cpu_s + time.thread_time()

    def idle_bytes(self) -> int | None:
        """See :class:`HandshakeTestbed`."""
        try:
            return idle_tunnel_bytes(self.backend)
        except DtlsEmuError:
            return None


def _shake_bare_hands(client_context: SSL.Context, server_context: SSL.Context) -> None:
    client, server = SSL.Connection(client_context), SSL.Connection(server_context)
    assert SSL.OP_COOKIE_EXCHANGE is not None  # every OpenSSL with DTLS has it
    server.set_options(SSL.OP_COOKIE_EXCHANGE)
    client.set_connect_state()
    server.set_accept_state()
    for end in (client, server):
        end.set_ciphertext_mtu(DATAGRAM)
    unfinished = {client, server}
    while unfinished:
        for end, other in ((client, server), (server, client)):
            with suppress(SSL.WantReadError):
                end.do_handshake()
                unfinished.discard(end)
            with suppress(SSL.WantReadError):
                other.bio_write(end.bio_read(65_536))
    for end, is_client in ((client, True), (server, False)):
        secret, randoms = end.master_key(), (end.client_random(), end.server_random())
        assert secret is not None  # the handshake is over
        assert randoms[0] is not None
        assert randoms[1] is not None
        traffic_keys(secret, randoms[0], randoms[1], is_client=is_client)
