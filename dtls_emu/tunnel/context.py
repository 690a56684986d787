"""What OpenSSL may negotiate: one version, one suite, mutual certificates, no extras.

DTLS 1.2 only (min and max are set: a later OpenSSL would offer 1.3), ECDHE-ECDSA-AES256-GCM-SHA384 only
(RFC 5289, RFC 9325 4.2), no tickets, no session cache, no renegotiation, no compression (RFC 9325 3.3 to 3.5),
ALPN ``dtls-emu/1`` against cross-protocol use (RFC 9325 3.8).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from OpenSSL import SSL, crypto

from dtls_emu.tunnel.key_log import logging_to
from dtls_emu.wire.protocol import DTLS_1_2


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cryptography import x509

    from dtls_emu.crypto.authority import HostCredentials


__all__ = ["ALPN", "SUITE", "Contexts", "build_contexts"]

SUITE: Final = b"ECDHE-ECDSA-AES256-GCM-SHA384"
ALPN: Final = b"dtls-emu/1"

_MODE_NO_AUTO_CHAIN: Final = 0x8
"""The peer has the CA already: leaving it out of the Certificate message saves 792 of 2,525 bytes."""

_MODE_RELEASE_BUFFERS: Final = 0x10
"""25 KB a live connection instead of 89 KB."""


@dataclass(frozen=True, slots=True)
class Contexts:
    """The two OpenSSL contexts of a host: it is client of one handshake and server of the next."""

    client: SSL.Context
    server: SSL.Context

    def log_keys(self, key_log: Callable[[bytes], None]) -> None:
        """Hand out the secrets of every handshake from now on, as :func:`build_contexts` says."""
        for context in (self.client, self.server):
            context.set_keylog_callback(logging_to(key_log))


def build_contexts(
    credentials: HostCredentials,
    trusted: Iterable[x509.Certificate],
    key_log: Callable[[bytes], None] | None = None,
) -> Contexts:
    """Build both contexts.

    Args:
        credentials: certificate and key of the host.
        trusted: the CAs of all regions.
        key_log: called with the lines of an NSS key log for each handshake, whichever end of it this host is: a comment
            with its server random, and its secrets. None, the default, lets nobody have them.
    """
    client = _base_context(credentials, trusted)
    client.set_alpn_protos([ALPN])
    server = _base_context(credentials, trusted)
    # Without our id nothing is selected, and `Handshake` refuses the peer unless it is told otherwise.
    server.set_alpn_select_callback(
        lambda _connection, offered: ALPN if ALPN in offered else SSL.NO_OVERLAPPING_PROTOCOLS
    )

    # The hello that reaches OpenSSL has brought its cookie back already: see `dtls_emu.tunnel.cookie`.
    server.set_cookie_generate_callback(lambda _connection: b"unused")
    server.set_cookie_verify_callback(lambda _connection, _cookie: True)
    contexts = Contexts(client, server)
    if key_log is not None:
        contexts.log_keys(key_log)
    return contexts


def _base_context(credentials: HostCredentials, trusted: Iterable[x509.Certificate]) -> SSL.Context:
    context = SSL.Context(SSL.DTLS_METHOD)
    context.set_min_proto_version(DTLS_1_2)
    context.set_max_proto_version(DTLS_1_2)
    context.set_cipher_list(SUITE)
    context.set_options(
        SSL.OP_NO_QUERY_MTU | SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION
    )
    context.set_mode(_MODE_NO_AUTO_CHAIN | _MODE_RELEASE_BUFFERS)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.use_certificate(credentials.certificate)
    context.use_privatekey(credentials.private_key)
    store = context.get_cert_store()
    assert store is not None  # a new context always has one
    for authority in trusted:
        store.add_cert(crypto.X509.from_cryptography(authority))
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
    return context
