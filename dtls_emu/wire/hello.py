"""ClientHello and ServerHello, as far as one must read them oneself (RFC 6347 4.2.1, RFC 5246 7.4.1).

pyOpenSSL neither tells whether a peer offered the extended master secret or secure renegotiation, nor answers
the first ClientHello without keeping state for it, nor begins with one in fragments. All need a look inside.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from dtls_emu.wire.protocol import DTLS_1_0, HANDSHAKE, HANDSHAKE_HEADER, MAX_PLAINTEXT
from dtls_emu.wire.record import pull_handshake_header, push_record_header


if TYPE_CHECKING:
    from collections.abc import Iterable

    from dtls_emu.wire.record import HandshakeHeader


__all__ = [
    "CLIENT_HELLO",
    "EXTENDED_MASTER_SECRET",
    "HELLO_VERIFY_REQUEST",
    "MAX_HELLO",
    "RENEGOTIATION_INFO",
    "SERVER_HELLO",
    "ClientHello",
    "HelloFragments",
    "hello_verify_request",
    "pull_client_extensions_untrusted",
    "pull_client_hello_untrusted",
    "pull_server_extensions_untrusted",
]

CLIENT_HELLO: Final = 1
SERVER_HELLO: Final = 2
HELLO_VERIFY_REQUEST: Final = 3

EXTENDED_MASTER_SECRET: Final = 0x0017  # RFC 7627 5.1
RENEGOTIATION_INFO: Final = 0xFF01  # RFC 5746 3.2
_RENEGOTIATION_SCSV: Final = 0x00FF  # RFC 5746 3.3: a suite that stands for the extension

MAX_HELLO: Final = MAX_PLAINTEXT - HANDSHAKE_HEADER
"""Bytes of a hello that is put together: as one record can hold. Ours are under 200."""

_FIXED_PART: Final = 34
"""Version 2, random 32: in front of every hello."""

_EXTENSION: Final = Struct(">HH")


class ClientHello(NamedTuple):
    """The beginning of a ClientHello, which its first fragment has.

    Fields:
        parameters: what a cookie is bound to: version, random, session id. (RFC 6347 4.2.1 would have suites and
            compression methods too; they may stand in a later fragment, and the Finished covers them.)
        cookie: as the client sent it; empty in its first hello.
        message_seq: of the handshake message.
    """

    parameters: bytes
    cookie: bytes
    message_seq: int


class HelloFragments:
    """Puts a hello together (RFC 6347 4.2.3): its fragments may overlap, repeat and come in any order.

    A fragment of another hello than the one before begins anew, so what is kept is one message of at most
    `MAX_HELLO` bytes.

    Args:
        message_type: CLIENT_HELLO or SERVER_HELLO.

    Fields:
        message: all of it with its header, as one fragment; empty until it is whole.
    """

    def __init__(self, message_type: int) -> None:
        self.message = b""
        self._type = message_type
        self._numbers = (0, 0)  # length, message_seq
        self._body = bytearray()
        self._missing = bytearray()  # a byte for each of the body: 1 until it is there

    def complete_untrusted(self, messages: Iterable[memoryview]) -> bytes:
        """The messages of a record, with all of the hello in place of the fragment that makes it whole.

        Other fragments of the hello are kept and left out. Whoever puts a hello together decides what it says: were
        that OpenSSL, an overlapping forged fragment could have it read another hello than we do.
        """
        parts: list[bytes | memoryview] = []
        for message in messages:
            header = pull_handshake_header(message)
            if header is None or header.message_type != self._type or self.message:
                parts.append(message)
            elif header.length <= MAX_HELLO:
                self._add(header, message[HANDSHAKE_HEADER:])
                parts.append(self.message)
        return b"".join(parts)

    def _add(self, header: HandshakeHeader, part: memoryview) -> None:
        numbers = header.length, header.message_seq
        if numbers != self._numbers:
            self._numbers = numbers
            self._body, self._missing = bytearray(header.length), bytearray(b"\1" * header.length)
        end = header.fragment_offset + header.fragment_length
        self._body[header.fragment_offset : end] = part
        self._missing[header.fragment_offset : end] = bytes(header.fragment_length)
        if 1 not in self._missing:
            length = header.length.to_bytes(3, "big")
            middle = header.message_seq.to_bytes(2, "big") + bytes(3)
            self.message = bytes((self._type,)) + length + middle + length + self._body


def pull_client_hello_untrusted(fragment: bytes | memoryview) -> ClientHello | None:
    """Read a record that begins with a ClientHello or with its first fragment; None for anything else.

    A fragment is only read when it reaches to the end of the cookie: what cannot be checked is not kept for a
    stranger. A hello that is whole must be well-formed to its end.
    """
    header = pull_handshake_header(fragment)
    if header is None or header.message_type != CLIENT_HELLO or header.fragment_offset:
        return None
    body = bytes(fragment[HANDSHAKE_HEADER : HANDSHAKE_HEADER + header.fragment_length])
    (session_id, cookie), end = _vectors(body, _FIXED_PART, (1, 1))
    if end > len(body) or header.length > MAX_HELLO:
        return None
    if header.fragment_length == header.length and pull_client_extensions_untrusted(fragment) is None:
        return None
    parameters = body[:_FIXED_PART] + bytes((len(session_id),)) + session_id
    return ClientHello(parameters, cookie, header.message_seq)


def pull_client_extensions_untrusted(fragment: bytes | memoryview) -> frozenset[int] | None:
    """The extension types of a ClientHello that begins a record whole; None for anything else.

    RENEGOTIATION_INFO is among them also when its suite value stands for it.
    """
    body = _whole_message(fragment, CLIENT_HELLO)
    (_, _, suites, _), end = _vectors(body, _FIXED_PART, (1, 1, 2, 1))
    extensions = _extension_types(body, end)
    if extensions is not None and any(
        int.from_bytes(suites[at : at + 2], "big") == _RENEGOTIATION_SCSV for at in range(0, len(suites), 2)
    ):
        extensions |= {RENEGOTIATION_INFO}
    return extensions


def pull_server_extensions_untrusted(fragment: bytes | memoryview) -> frozenset[int] | None:
    """The extension types of a ServerHello that begins a record whole; None for anything else."""
    body = _whole_message(fragment, SERVER_HELLO)
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


def _whole_message(fragment: bytes | memoryview, message_type: int) -> bytes:
    header = pull_handshake_header(fragment)
    if header is None or header.message_type != message_type or header.fragment_length != header.length:
        return b""
    return bytes(fragment[HANDSHAKE_HEADER : HANDSHAKE_HEADER + header.length])


def _vectors(body: bytes, at: int, widths: tuple[int, ...]) -> tuple[list[bytes], int]:
    """Consecutive vectors from ``at`` on, whose lengths have so many bytes, and where they end.

    A malformed one makes that lie past the end of the body.
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
