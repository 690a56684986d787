"""pyOpenSSL over memory BIOs: bytes in, records out. What it writes and when they go is for others to say."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from OpenSSL import SSL

from dtls_emu.crypto.keys import traffic_keys
from dtls_emu.crypto.openssl import pass_over
from dtls_emu.errors import RemoteProtocolError
from dtls_emu.tunnel.flight import SMALLEST_MTU
from dtls_emu.wire.record import pull_records_untrusted


if TYPE_CHECKING:
    from cryptography import x509

    from dtls_emu.crypto.backend import TrafficKeys
    from dtls_emu.tunnel.context import Contexts
    from dtls_emu.wire.record import RecordView


__all__ = ["OpenSSLDriver", "Step"]

_READ_SIZE: Final = 65_536


class Step(NamedTuple):
    """What OpenSSL did with what it was given.

    Fields:
        records: that it has written.
        is_complete: both Finished are verified.
        failure: why it gave up, or "".
    """

    records: list[RecordView]
    is_complete: bool
    failure: str


class OpenSSLDriver:
    """One connection of OpenSSL's, until the handshake is over.

    Args:
        contexts: of the local host.
        is_client: which side it takes.
        mtu: UDP payload bytes of the path.

    Fields:
        connection: for a backend that goes on with it.
    """

    def __init__(self, contexts: Contexts, *, is_client: bool, mtu: int) -> None:
        self.connection = SSL.Connection(contexts.client if is_client else contexts.server)
        self.connection.set_ciphertext_mtu(max(mtu, SMALLEST_MTU))
        self._is_client = is_client
        if is_client:
            self.connection.set_connect_state()
        else:
            self.connection.set_accept_state()

    def feed(self, records: bytes) -> None:
        """Whole records of one datagram: the BIO is a byte stream, a truncated one would swallow the next."""
        self.connection.bio_write(records)

    def listen(self) -> str:
        """Begin as the server, of a hello with a cookie; OpenSSL never saw the one before it. Why it failed, or ""."""
        try:
            self.connection.DTLSv1_listen()
        except SSL.Error as error:
            return _reason(error)
        return ""

    def advance(self) -> Step:
        """Let OpenSSL work on what it was given."""
        is_complete = False
        failure = ""
        try:
            self.connection.do_handshake()
            is_complete = True
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            failure = _reason(error)
        written = _drain(self.connection)
        return Step(pull_records_untrusted(written) if written else [], is_complete, failure)

    def traffic_keys(self) -> tuple[TrafficKeys, TrafficKeys]:
        """Write and read keys, once our Finished was written."""
        connection = self.connection
        secret, client_random = connection.master_key(), connection.client_random()
        server_random = connection.server_random()
        assert secret is not None  # a Finished was written, so all three exist
        assert client_random is not None
        assert server_random is not None
        return traffic_keys(secret, client_random, server_random, is_client=self._is_client)

    @property
    def version(self) -> int:
        """What was negotiated, as it stands in a record's header."""
        return self.connection.get_protocol_version()

    @property
    def alpn(self) -> bytes:
        """The application protocol that was negotiated, or nothing."""
        return self.connection.get_alpn_proto_negotiated()

    @property
    def peer_certificate(self) -> x509.Certificate | None:
        """As the peer has sent it; OpenSSL has checked chain and purpose."""
        return self.connection.get_peer_certificate(as_cryptography=True)

    def quieten(self) -> int | None:
        """Leave OpenSSL, which goes on numbering records, with nothing to write but what it is asked for.

        A Finished that came twice before its ChangeCipherSpec is still in its buffer, and would be answered by the last
        flight, under numbers of its own.

        Returns:
            The number of the last record of epoch 1 that it has written for that, which nobody sends; None if none.

        Raises:
            RemoteProtocolError: it has ended the connection.
        """
        last = None
        while True:
            try:
                self.connection.recv(_READ_SIZE)
            except SSL.WantReadError:
                pass
            except SSL.Error as error:
                raise RemoteProtocolError(_reason(error)) from error
            written = pull_records_untrusted(_drain(self.connection))
            answers = [record for record in written if record.header.epoch]
            if not answers:
                return last
            last = answers[-1].header.sequence

    def pass_over(self, count: int) -> None:
        """Have it use so many record numbers for records that are never sent, because they are sealed elsewhere."""
        pass_over(self.connection, count)


def _drain(connection: SSL.Connection) -> bytes:
    written = b""
    with suppress(SSL.WantReadError):
        while len(written) % _READ_SIZE == 0:  # a shorter read has emptied it
            written += connection.bio_read(_READ_SIZE)
    return written


def _reason(error: SSL.Error) -> str:
    entries = error.args[0] if error.args and isinstance(error.args[0], list) else []
    reasons = [entry[2] for entry in entries if isinstance(entry, tuple) and len(entry) == 3 and entry[2]]
    return "OpenSSL: " + (", ".join(reasons) or type(error).__name__)
