"""Messages of a DTLS 1.2 handshake (RFC 6347 4.2, RFC 5246 7.4, RFC 8422 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from dtls_emu.teach.dissect.names import (
    CERTIFICATE_TYPES,
    CIPHER_SUITES,
    COMPRESSION,
    CURVE_TYPES,
    EXTENSIONS,
    GROUPS,
    HANDSHAKE_TYPES,
    POINT_FORMATS,
    SIGNATURE_SCHEMES,
    VERSIONS,
)
from dtls_emu.teach.dissect.reader import Reader, TruncatedError


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from dtls_emu.teach.blocks import Layer


__all__ = ["MESSAGE_HEADER", "handshake_layers"]

MESSAGE_HEADER: Final = 12
"""Bytes in front of a message or a fragment of one (RFC 6347 4.2.2)."""

_FINISHED: Final = 20

_PROVES: Final = {
    "ClientHello": "what the client can do, and its half of the randomness",
    "HelloVerifyRequest": "the server keeps nothing yet; who sends the cookie back can receive at that address",
    "ServerHello": "what the server has chosen, and its half of the randomness",
    "Certificate": "who the sender says it is; the chain shows who vouches for that",
    "ServerKeyExchange": "the server's ephemeral key, signed with the key of its certificate: it is alive, and it is it",
    "CertificateRequest": "the client shall show who it is, too",
    "ServerHelloDone": "it is the client's turn",
    "ClientKeyExchange": "the client's ephemeral key: both can compute the premaster secret now",
    "CertificateVerify": "a signature over all messages so far, with the key of the client's certificate",
    "Finished": "a check value over all messages with the new keys: both have seen the same handshake",
}


def handshake_layers(reader: Reader) -> Iterator[Layer]:
    """The messages and fragments of messages that a plaintext record of type handshake holds."""
    while reader.left:
        try:
            yield from _message(reader)
        except TruncatedError:
            if reader.left:
                reader.rest("truncated", "the record ends inside this field")
            yield reader.layer("handshake message, cut short", "RFC 6347 4.2.2")
            return


def _message(reader: Reader) -> Iterator[Layer]:
    kind = reader.number("message type", 1, names=HANDSHAKE_TYPES)
    name = HANDSHAKE_TYPES.get(kind, f"message of type {kind}")
    length = reader.number("length", 3, "of the whole message, without this header")
    reader.number("message_seq", 2, "its number in the handshake: DTLS puts messages in order by it")
    offset = reader.number("fragment_offset", 3)
    part = reader.number("fragment_length", 3, "the whole message" if length else "")
    yield reader.layer(f"{name}, header", "RFC 6347 4.2.2")
    stop = reader.at + part
    if stop > reader.end:
        reader.rest("truncated", f"the header announces {part} bytes")
        yield reader.layer(f"{name}, cut short", "RFC 6347 4.2.2")
        return
    if offset or part != length:
        reader.octets("fragment", part, f"bytes {offset} to {offset + part} of {length}")
        yield reader.layer(f"{name}, a fragment", "RFC 6347 4.2.3")
        return
    inside = Reader(reader.data, reader.at, stop)
    reader.at = stop
    body = _BODIES.get(kind)
    try:
        if body is not None:
            body(inside)
        if inside.left:
            inside.rest("more", "" if body is None else "behind what the message should hold")
    except TruncatedError:
        inside.rest("malformed", "a length inside says more than is there")
    if inside.fields:
        layer = inside.layer(name, _SOURCES.get(kind, ""))
        yield layer


def _version(reader: Reader, name: str) -> None:
    reader.number(name, 2, names=VERSIONS, digits=True)


def _client_hello(reader: Reader) -> None:
    _version(reader, "client_version")
    reader.octets("random", 32, "never used twice: keys differ even if all else is the same")
    size = reader.number("session_id length", 1)
    reader.octets("session_id", size, "an older session to resume")
    size = reader.number("cookie length", 1, "the first ClientHello has none; the server then asks for one")
    reader.octets("cookie", size, "from the HelloVerifyRequest, sent back")
    size = reader.number("cipher_suites length", 2)
    stop = reader.at + size
    while reader.at < min(stop, reader.end):
        reader.number("cipher suite", 2, names=CIPHER_SUITES, digits=True)
    size = reader.number("compression_methods length", 1)
    for _ in range(size):
        reader.number("compression method", 1, names=COMPRESSION)
    _extensions(reader)


def _server_hello(reader: Reader) -> None:
    _version(reader, "server_version")
    reader.octets("random", 32)
    size = reader.number("session_id length", 1)
    reader.octets("session_id", size)
    reader.number("cipher suite", 2, "chosen", names=CIPHER_SUITES, digits=True)
    reader.number("compression method", 1, names=COMPRESSION)
    _extensions(reader)


def _hello_verify_request(reader: Reader) -> None:
    _version(reader, "server_version")
    size = reader.number("cookie length", 1)
    reader.octets("cookie", size, "an HMAC over the client's address and hello; only the server can make it")


def _extensions(reader: Reader) -> None:
    if not reader.left:
        return
    size = reader.number("extensions length", 2)
    stop = min(reader.at + size, reader.end)
    while reader.at < stop:
        kind = reader.number("extension", 2, names=EXTENSIONS)
        length = reader.number("length", 2)
        end = min(reader.at + length, reader.end)
        if kind == 10:
            _list(reader, "supported_groups length", 2, "group", 2, GROUPS)
        elif kind == 11:
            _list(reader, "ec_point_formats length", 1, "point format", 1, POINT_FORMATS)
        elif kind == 13:
            _list(reader, "signature_algorithms length", 2, "signature scheme", 2, SIGNATURE_SCHEMES)
        elif kind == 23:
            pass  # extended_master_secret is empty (RFC 7627 5.1)
        if reader.at < end:
            reader.octets("extension data", end - reader.at)


def _list(
    reader: Reader, heading: str, heading_size: int, name: str, size: int, names: Mapping[int, str]
) -> None:
    length = reader.number(heading, heading_size)
    for _ in range(length // size):
        reader.number(name, size, names=names, digits=size > 1)


def _certificate(reader: Reader) -> None:
    reader.number("certificate_list length", 3)
    while reader.left:
        size = reader.number("certificate length", 3)
        start = reader.at
        der = reader.take(size)
        reader.at = start
        reader.octets("certificate", size, _described(der), value=f"X.509, {size} bytes")


def _described(der: bytes) -> str:
    """Who it is of, in a line."""
    try:
        found = x509.load_der_x509_certificate(der)
        key = found.public_key()
        kind = f"ECDSA on {key.curve.name}" if isinstance(key, ec.EllipticCurvePublicKey) else "no ECDSA key"
        return (
            f"subject {found.subject.rfc4514_string()}, issued by {found.issuer.rfc4514_string()}, {kind}, "
            f"valid until {found.not_valid_after_utc:%Y-%m-%d}"
        )
    except ValueError as error:
        return f"cannot be read: {error}"


def _server_key_exchange(reader: Reader) -> None:
    reader.number("curve_type", 1, names=CURVE_TYPES)
    reader.number("namedcurve", 2, names=GROUPS)
    size = reader.number("public key length", 1)
    reader.octets(
        "public key", size, "ephemeral: it is forgotten with the handshake, so old records stay closed"
    )
    _signature(reader)


def _signature(reader: Reader) -> None:
    reader.number("signature scheme", 2, names=SIGNATURE_SCHEMES, digits=True)
    size = reader.number("signature length", 2)
    reader.octets("signature", size, "ECDSA, DER: its length varies by some bytes (RFC 3279 2.2.3)")


def _certificate_request(reader: Reader) -> None:
    _list(reader, "certificate_types length", 1, "certificate type", 1, CERTIFICATE_TYPES)
    _list(reader, "signature_algorithms length", 2, "signature scheme", 2, SIGNATURE_SCHEMES)
    size = reader.number("certificate_authorities length", 2)
    reader.octets("certificate_authorities", size, "names of the CAs whose certificates are accepted")


def _client_key_exchange(reader: Reader) -> None:
    size = reader.number("public key length", 1)
    reader.octets("public key", size, "the client's, ephemeral like the server's")


def _finished(reader: Reader) -> None:
    reader.octets("verify_data", reader.left, "PRF(master secret, label, hash of all messages), 12 bytes")


_BODIES: Final[dict[int, Callable[[Reader], None]]] = {
    1: _client_hello,
    2: _server_hello,
    3: _hello_verify_request,
    11: _certificate,
    12: _server_key_exchange,
    13: _certificate_request,
    15: _signature,
    16: _client_key_exchange,
    _FINISHED: _finished,
}

_SOURCES: Final = {
    1: "RFC 6347 4.2.1, RFC 5246 7.4.1.2",
    2: "RFC 5246 7.4.1.3",
    3: "RFC 6347 4.2.1",
    11: "RFC 5246 7.4.2",
    12: "RFC 8422 5.4",
    13: "RFC 5246 7.4.4",
    15: "RFC 5246 7.4.8",
    16: "RFC 8422 5.7",
    _FINISHED: "RFC 5246 7.4.9",
}


def proves(message_type: int) -> str:
    """What a message of this type is for, in a line; empty where there is nothing to say."""
    return _PROVES.get(HANDSHAKE_TYPES.get(message_type, ""), "")
