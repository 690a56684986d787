"""A real DTLS 1.2 handshake in memory: keys to try a backend with. For self-tests, tests and benchmarks.

Nobody is authenticated here and nothing is lost on the way; the handshake of a tunnel, which does and may, is
:mod:`dtls_emu.tunnel`.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from OpenSSL import SSL

from dtls_emu.crypto.authority import RegionAuthority
from dtls_emu.crypto.backend import Established
from dtls_emu.crypto.keys import traffic_keys
from dtls_emu.wire.overhead import RECORD_HEADER, RECORD_PREFIX
from dtls_emu.wire.protocol import DTLS_1_2


__all__ = ["LoopbackEnd", "loopback_handshake", "split_records"]

_SUITE: Final = b"ECDHE-ECDSA-AES256-GCM-SHA384"
_LIFETIME: Final = datetime(2026, 1, 1, tzinfo=UTC)  # nobody looks at it
_FLIGHT: Final = 65_536


@dataclass(slots=True)
class LoopbackEnd:
    """One end of the handshake.

    Fields:
        connection: the live pyOpenSSL connection, finished.
        is_client: its role.
        protected: the epoch-1 records it has written, in order: its Finished.
    """

    connection: SSL.Connection
    is_client: bool
    protected: list[bytes] = field(default_factory=list)

    def established(self, *, with_connection: bool = False) -> Established:
        """What a backend gets of this end, with fresh copies of the keys.

        The first sequence number is the one after the last that OpenSSL used, which is not always 1: a
        Finished that was sent twice used two.
        """
        connection = self.connection
        master_secret, client_random, server_random = (
            connection.master_key(),
            connection.client_random(),
            connection.server_random(),
        )
        assert master_secret is not None  # the handshake is finished
        assert client_random is not None
        assert server_random is not None
        write, read = traffic_keys(master_secret, client_random, server_random, is_client=self.is_client)
        used = max(int.from_bytes(record[5:11], "big") for record in self.protected)
        return Established(
            write, read, next_sequence=used + 1, connection=connection if with_connection else None
        )

    def read_output(self) -> bytes:
        """What OpenSSL wants to send; protected records are remembered."""
        try:
            output = self.connection.bio_read(_FLIGHT)
        except SSL.WantReadError:
            return b""
        self.protected += [record for record in split_records(output) if record[3:5] != bytes(2)]
        return output


def loopback_handshake() -> tuple[LoopbackEnd, LoopbackEnd]:
    """Shake hands.

    Returns:
        Client and server.
    """
    while True:
        client, server = _shake_hands()
        if not any(_may_collide(record) for end in (client, server) for record in end.protected):
            return client, server


def split_records(output: bytes) -> list[bytes]:
    """Cut what ``bio_read`` gave into records: it is a byte stream, a whole flight at once."""
    records = []
    while output:
        end = RECORD_HEADER + int.from_bytes(output[11:13], "big")
        records.append(output[:end])
        output = output[end:]
    return records


def _shake_hands() -> tuple[LoopbackEnd, LoopbackEnd]:
    credentials = RegionAuthority.create("loopback", _LIFETIME).issue("loopback", _LIFETIME)
    ends = []
    for is_client in (True, False):
        context = SSL.Context(SSL.DTLS_METHOD)
        context.set_min_proto_version(DTLS_1_2)
        context.set_max_proto_version(DTLS_1_2)
        context.set_cipher_list(_SUITE)
        context.set_options(SSL.OP_NO_QUERY_MTU | SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION)
        context.use_certificate(credentials.certificate)
        context.use_privatekey(credentials.private_key)
        connection = SSL.Connection(context)
        connection.set_ciphertext_mtu(1400)
        ends.append(LoopbackEnd(connection, is_client))
    client, server = ends
    client.connection.set_connect_state()
    server.connection.set_accept_state()
    turn, other = client, server
    while True:
        with contextlib.suppress(SSL.WantReadError):
            turn.connection.do_handshake()
        output = turn.read_output()
        if not output:
            return client, server
        other.connection.bio_write(output)
        turn, other = other, turn


def _may_collide(record: bytes) -> bool:
    """Whether OpenSSL's explicit nonce, a counter from a random start, is one that a backend will use."""
    return int.from_bytes(record[RECORD_HEADER:RECORD_PREFIX], "big") >> 48 == 1
