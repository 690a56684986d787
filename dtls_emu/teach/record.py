"""Explain a record from outside: its fields, whether a key opens it, and if none does, what exactly is wrong."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from dtls_emu.crypto.keys import traffic_keys
from dtls_emu.overhead import EXPLICIT_NONCE, RECORD_HEADER, TAG
from dtls_emu.teach.blocks import Command, Facts, Field, Heading, Layer, Octets, Text, Verdict
from dtls_emu.teach.dissect.datagram import dissect_encapsulation
from dtls_emu.teach.dissect.handshake import handshake_layers
from dtls_emu.teach.dissect.names import ALERT_LEVELS, CONTENT_TYPES, HANDSHAKE_TYPES, VERSIONS
from dtls_emu.teach.dissect.packet import dissect_packet
from dtls_emu.teach.dissect.reader import Reader
from dtls_emu.teach.dissect.record import dissect_record
from dtls_emu.teach.document import Document
from dtls_emu.wire.protocol import ALERT, ALERT_NAMES, APPLICATION_DATA, DTLS_1_2, HANDSHAKE, MAX_CIPHERTEXT


if TYPE_CHECKING:
    from collections.abc import Sequence

    from dtls_emu.teach.secrets import Secrets


__all__ = [
    "Header",
    "Opened",
    "additional_data",
    "explain_record",
    "explain_sealed",
    "open_record",
    "pull_header",
]

_HEADER: Final = struct.Struct(">BHHHIH")
_LEAST: Final = EXPLICIT_NONCE + TAG


class Header(NamedTuple):
    """The 13 bytes in front of a record (RFC 6347 4.1)."""

    content_type: int
    version: int
    epoch: int
    sequence: int
    length: int


class Opened(NamedTuple):
    """A record that was opened, and with what.

    Fields:
        plaintext: what was inside.
        nonce: 12 bytes, salt and explicit nonce.
        additional: 13 bytes, authenticated beside the ciphertext.
        key: 32 bytes, of AES-256.
        by_client: who has written it; the client of the handshake or its server.
        secrets: of the handshake.
    """

    plaintext: bytes
    nonce: bytes
    additional: bytes
    key: bytes
    by_client: bool
    secrets: Secrets


def explain_record(data: bytes, secrets: Sequence[Secrets] = (), *, show_secrets: bool = False) -> Document:
    """Take a datagram of DTLS apart, and open its first record if a key is there that does.

    Args:
        data: one record, or a datagram of several; from its first byte.
        secrets: of the handshakes that it may belong to.
        show_secrets: with the keys themselves in the command that opens it.
    """
    document = Document("A DTLS record")
    document.add(Octets("As it is on the wire", data, dissect_record(data)))
    wrong = _malformed(data)
    if wrong:
        document.add(Verdict(good=False, text=wrong))
        return document
    header = pull_header(data)
    fragment = data[RECORD_HEADER : RECORD_HEADER + header.length]
    if header.epoch == 0:
        document.add(Verdict(good=True, text=_in_clear(header, fragment)))
        return document
    explain_sealed(document, header, fragment, secrets, show_secrets=show_secrets)
    return document


def open_record(header: Header, fragment: bytes, secrets: Sequence[Secrets]) -> Opened | None:
    """Open a record with the first key that does; None if none does.

    Args:
        header: of the record.
        fragment: explicit nonce, ciphertext and tag.
        secrets: of the handshakes that it may belong to; those without a server random are left out.
    """
    additional = additional_data(header)
    for each in secrets:
        if each.server_random is None:
            continue
        pair = traffic_keys(each.master_secret, each.client_random, each.server_random, is_client=True)
        for by_client, keys in zip((True, False), pair, strict=True):
            key = bytes(keys.key)
            nonce = bytes(keys.salt) + fragment[:EXPLICIT_NONCE]
            try:
                plaintext = AESGCM(key).decrypt(nonce, fragment[EXPLICIT_NONCE:], additional)
            except InvalidTag:
                continue
            return Opened(plaintext, nonce, additional, key, by_client, each)
    return None


def additional_data(header: Header) -> bytes:
    """What is authenticated and not encrypted: epoch and number, type, version, length of the plaintext (RFC 5246 6.2.3.3)."""
    number = header.epoch << 48 | header.sequence
    return struct.pack(">QBHH", number, header.content_type, header.version, header.length - _LEAST)


def pull_header(data: bytes) -> Header:
    """The header of a record, of which there are 13 bytes at least."""
    kind, version, epoch, high, low, length = _HEADER.unpack_from(data)
    return Header(kind, version, epoch, high << 32 | low, length)


def _malformed(data: bytes) -> str:
    """What is wrong with a record before any key matters; empty if nothing is."""
    if len(data) < RECORD_HEADER:
        return f"{len(data)} bytes are no record: its header alone has {RECORD_HEADER}."
    header = pull_header(data)
    if header.content_type not in CONTENT_TYPES:
        return (
            f"The first byte is {header.content_type}, and no record has that type; VXLAN in clear begins with 8. "
            "Give the payload of the UDP datagram, without the headers of IP and UDP."
        )
    if header.version not in VERSIONS:
        return f"0x{header.version:04x} is no version of DTLS."
    if header.version != DTLS_1_2 and header.epoch:
        return f"A protected record of {VERSIONS[header.version]}; only DTLS 1.2 (0xfefd) is accepted."
    if header.length > MAX_CIPHERTEXT:
        return f"The length field says {header.length}, and a record has at most {MAX_CIPHERTEXT} (RFC 5246 6.2.3)."
    there = len(data) - RECORD_HEADER
    if header.length > there:
        return f"The length field says {header.length}, and {there} bytes are there: the record is cut short."
    if header.epoch and header.length < _LEAST:
        return f"The length field says {header.length}, and explicit nonce and tag alone have {_LEAST} bytes."
    return ""


def _in_clear(header: Header, fragment: bytes) -> str:
    kind = CONTENT_TYPES[header.content_type]
    if header.content_type == HANDSHAKE and fragment:
        kind = HANDSHAKE_TYPES.get(fragment[0], kind)
    return f"Epoch 0 is in clear: anybody on the fabric reads this {kind}, and anybody may have written it."


def explain_sealed(
    document: Document, header: Header, fragment: bytes, secrets: Sequence[Secrets], *, show_secrets: bool
) -> None:
    """Go on with what sealing a record took, and with what is inside if a key is there that opens it.

    Args:
        document: to be added to.
        header: of the record.
        fragment: explicit nonce, ciphertext and tag.
        secrets: of the handshakes that it may belong to.
        show_secrets: with the key in the command that opens it.
    """
    additional = additional_data(header)
    explicit = fragment[:EXPLICIT_NONCE]
    numbered = (header.epoch << 48 | header.sequence).to_bytes(8)
    document.add(
        Heading("What sealing it took"),
        Octets("Additional data: authenticated, not encrypted", additional, (_additional_layer(header),)),
        Facts(
            (
                ("plaintext", f"{header.length - _LEAST} bytes"),
                ("nonce", f"4 bytes of salt, known to both ends only, and {explicit.hex(' ')}"),
            )
        ),
    )
    if explicit != numbered:
        document.add(
            Text(
                "The explicit nonce is not epoch and sequence number, as RFC 9325 7.2.1 advises. That is allowed (RFC 5288 "
                "3), as long as no nonce is used twice under one key."
            )
        )
    opened = open_record(header, fragment, secrets)
    if opened is None:
        document.add(Verdict(good=False, text=_unopened(secrets)))
        return
    writer = "client" if opened.by_client else "server"
    document.add(
        Heading("What is inside"),
        Verdict(
            good=True, text=f"The tag verifies with the key of the handshake's {writer}; nothing was changed."
        ),
        _plaintext(header.content_type, opened.plaintext)
        if opened.plaintext
        else Text(
            "It is empty: it carries no packet, and shows the peer that its sender lives and has the keys."
        ),
        _by_hand(opened, fragment, show_secrets=show_secrets),
    )


def _additional_layer(header: Header) -> Layer:
    kind = f"{header.content_type} {CONTENT_TYPES[header.content_type]}"
    return Layer(
        "additional data",
        "RFC 5246 6.2.3.3, RFC 6347 4.1.2.1",
        (
            Field("epoch", 0, 2, str(header.epoch)),
            Field("sequence number", 2, 8, str(header.sequence)),
            Field("content type", 8, 9, kind),
            Field("version", 9, 11, VERSIONS[header.version]),
            Field(
                "length", 11, 13, str(header.length - _LEAST), "of the plaintext, not of what is on the wire"
            ),
        ),
    )


def _plaintext(content_type: int, plaintext: bytes) -> Octets:
    if content_type == APPLICATION_DATA:
        layers = dissect_encapsulation(plaintext)
        if layers and layers[0].name == "no VXLAN":
            layers = dissect_packet(plaintext)
        return Octets("Plaintext: VXLAN, and the packet of the VM", plaintext, layers)
    if content_type == ALERT and len(plaintext) == 2:
        level, description = plaintext
        fields = (
            Field("level", 0, 1, f"{level} {ALERT_LEVELS.get(level, '')}".rstrip()),
            Field("description", 1, 2, f"{description} {ALERT_NAMES.get(description, '')}".rstrip()),
        )
        return Octets("Plaintext", plaintext, (Layer("Alert", "RFC 5246 7.2", fields),))
    layers = tuple(handshake_layers(Reader(plaintext))) if content_type == HANDSHAKE else ()
    return Octets("Plaintext", plaintext, layers)


def _by_hand(opened: Opened, fragment: bytes, *, show_secrets: bool) -> Command:
    key = f"bytes.fromhex('{opened.key.hex()}')" if show_secrets else "KEY"
    nonce = opened.nonce if show_secrets else opened.nonce[4:]
    salt = "" if show_secrets else "SALT + "
    return Command(
        "that it opens",
        (
            "python3 - <<'END'",
            "from cryptography.hazmat.primitives.ciphers.aead import AESGCM",
            *(() if show_secrets else ("# KEY and SALT: 32 and 4 bytes; --show-secrets prints them",)),
            f"nonce = {salt}bytes.fromhex('{nonce.hex()}')",
            f"data = bytes.fromhex('{opened.additional.hex()}')",
            f"sealed = bytes.fromhex('{fragment[EXPLICIT_NONCE:].hex()}')",
            f"print(AESGCM({key}).decrypt(nonce, sealed, data).hex())",
            "END",
        ),
    )


def _unopened(secrets: Sequence[Secrets]) -> str:
    usable = sum(each.server_random is not None for each in secrets)
    if not secrets:
        return "It is sealed, and without keys nobody can tell more of it: this is what an eavesdropper has."
    if not usable:
        return (
            "The key log has master secrets, but no server random beside them, and the keys of records need both. Write "
            "the key log with `dtls-emu run --keylog`, or open a capture with its handshake in Wireshark."
        )
    handshakes = f"{usable} handshake{'s' if usable > 1 else ''}"
    return (
        f"The tag verifies with no key of {handshakes}, of either direction: the record belongs to another association, "
        "or a bit of it was changed: header, ciphertext or tag. A card counts it as auth_failed and drops it."
    )
