"""ClientHello and ServerHello, as far as one must read them oneself (RFC 6347 4.2.1, RFC 5246 7.4.1).

pyOpenSSL neither tells whether a peer offered the extended master secret or secure renegotiation, nor answers
the first ClientHello without keeping state for it. Both need a look inside.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from dtls_emu.wire.protocol import DTLS_1_0, HANDSHAKE, HANDSHAKE_HEADER
from dtls_emu.wire.record import pull_handshake_header, push_record_header


__all__ = [
    "CLIENT_HELLO",
    "EXTENDED_MASTER_SECRET",
    "HELLO_VERIFY_REQUEST",
    "RENEGOTIATION_INFO",
    "SERVER_HELLO",
    "ClientHello",
    "hello_verify_request",
    "pull_client_hello_untrusted",
    "pull_server_extensions_untrusted",
]

CLIENT_HELLO: Final = 1
SERVER_HELLO: Final = 2
HELLO_VERIFY_REQUEST: Final = 3

EXTENDED_MASTER_SECRET: Final = 0x0017  # RFC 7627 5.1
RENEGOTIATION_INFO: Final = 0xFF01  # RFC 5746 3.2
_RENEGOTIATION_SCSV: Final = 0x00FF  # RFC 5746 3.3: a suite that stands for the extension

MAX_COOKIE: Final = 255  # RFC 6347 4.2.1

_FIXED_PART: Final = 34
"""Version 2, random 32: in front of every hello."""

_EXTENSION: Final = Struct(">HH")


class ClientHello(NamedTuple):
    """What a cookie is bound to, and what the hello offers.

    Fields:
        parameters: everything but the cookie: version, random, session id, suites, compression methods.
        cookie: as the client sent it; empty in its first hello.
        message_seq: of the handshake message.
        extensions: their types; RENEGOTIATION_INFO also when its suite value stands for it.
    """

    parameters: bytes
    cookie: bytes
    message_seq: int
    extensions: frozenset[int]


def pull_client_hello_untrusted(fragment: bytes | memoryview) -> ClientHello | None:
    """Read a ClientHello that is whole in one record; None for anything else.

    A hello in fragments cannot be checked without keeping state for a stranger, so it is not read.
    """
    body, message_seq = _whole_message(fragment, CLIENT_HELLO)
    (session_id, cookie, suites, compression), end = _vectors(body, _FIXED_PART, (1, 1, 2, 1))
    extensions = _extension_types(body, end)
    if extensions is None:
        return None
    if any(
        int.from_bytes(suites[at : at + 2], "big") == _RENEGOTIATION_SCSV for at in range(0, len(suites), 2)
    ):
        extensions |= {RENEGOTIATION_INFO}
    parameters = b"".join(
        len(part).to_bytes(2, "big") + part for part in (body[:_FIXED_PART], session_id, suites, compression)
    )
    return ClientHello(parameters, cookie, message_seq, extensions)


def pull_server_extensions_untrusted(fragment: bytes | memoryview) -> frozenset[int] | None:
    """The extension types of a ServerHello that begins a record whole; None for anything else."""
    body, _ = _whole_message(fragment, SERVER_HELLO)
    _, end = _vectors(body, _FIXED_PART, (1,))  # the session id
    return _extension_types(body, end + 3)  # suite 2, compression 1


def hello_verify_request(cookie: bytes, record_sequence: int) -> bytes:
    """The record that asks a client to come again with ``cookie``.

    Its number is that of the ClientHello it answers and its version 1.0, whatever is negotiated later
    (RFC 6347 4.2.1).
    """
    body = DTLS_1_0.to_bytes(2, "big") + bytes((len(cookie),)) + cookie
    length = len(body).to_bytes(3, "big")
    message = bytes((HELLO_VERIFY_REQUEST,)) + length + bytes(5) + length + body
    return push_record_header(HANDSHAKE, 0, record_sequence, len(message), DTLS_1_0) + message


def _whole_message(fragment: bytes | memoryview, message_type: int) -> tuple[bytes, int]:
    header = pull_handshake_header(fragment)
    if header is None or header.message_type != message_type or header.fragment_length != header.length:
        return b"", 0
    return bytes(fragment[HANDSHAKE_HEADER : HANDSHAKE_HEADER + header.length]), header.message_seq


def _vectors(body: bytes, at: int, widths: tuple[int, ...]) -> tuple[list[bytes], int]:
    """Consecutive vectors from ``at`` on, whose lengths have so many bytes, and where they end.

    One that lies makes that lie past the end of the body.
    """
    vectors: list[bytes] = []
    for width in widths:
        start = at + width
        at = start + int.from_bytes(body[at:start], "big")
        vectors.append(body[start:at])
    return vectors, at


def _extension_types(body: bytes, at: int) -> frozenset[int] | None:
    """The types in the block of extensions that the body ends with; None when it does not end there."""
    end = len(body)
    if at == end:  # RFC 5246 7.4.1.2: the block may be missing altogether
        return frozenset()
    if at + 2 + int.from_bytes(body[at : at + 2], "big") != end:
        return None
    at += 2
    types = set()
    while at + _EXTENSION.size <= end:
        extension, length = _EXTENSION.unpack_from(body, at)
        types.add(extension)
        at += _EXTENSION.size + length
    return frozenset(types) if at == end else None
