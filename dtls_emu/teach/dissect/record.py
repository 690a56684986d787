"""DTLS 1.2 records (RFC 6347 4.1) with AES-256-GCM (RFC 5288), as they are on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dtls_emu.overhead import EXPLICIT_NONCE, RECORD_HEADER, TAG
from dtls_emu.teach.dissect.handshake import handshake_layers
from dtls_emu.teach.dissect.names import ALERT_LEVELS, CONTENT_TYPES, VERSIONS
from dtls_emu.teach.dissect.reader import Reader, TruncatedError
from dtls_emu.wire.protocol import ALERT, ALERT_NAMES, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE


if TYPE_CHECKING:
    from collections.abc import Iterator

    from dtls_emu.teach.blocks import Layer


__all__ = ["dissect_record", "record_layers"]

_LEAST: Final = EXPLICIT_NONCE + TAG


def dissect_record(data: bytes) -> tuple[Layer, ...]:
    """The layers of the records of a datagram, as far as they can be read without a key."""
    reader = Reader(data)
    return tuple(record_layers(reader))


def record_layers(reader: Reader) -> Iterator[Layer]:
    """The records that a reader stands at, until there are none."""
    number = 0
    while reader.left:
        number += 1
        if reader.left < RECORD_HEADER:
            reader.rest("bytes", f"a record's header has {RECORD_HEADER} bytes")
            yield reader.layer("no record", "RFC 6347 4.1")
            return
        kind = reader.number("content type", 1, names=CONTENT_TYPES)
        reader.number("version", 2, names=VERSIONS, digits=True)
        epoch = reader.number(
            "epoch", 2, "0 is in clear; each change of keys is one more" if number == 1 else ""
        )
        sequence = reader.number(
            "sequence number", 6, "of this epoch; the replay window goes by it" if number == 1 else ""
        )
        length = reader.number("length", 2, "of what follows")
        yield reader.layer("DTLS record", "RFC 6347 4.1")
        if length > reader.left:
            reader.rest("truncated", f"the header announces {length} bytes")
            yield reader.layer("fragment, cut short", "RFC 6347 4.1")
            return
        inside = Reader(reader.data, reader.at, reader.at + length)
        reader.at += length
        yield from _fragment(inside, kind, epoch, sequence)


def _fragment(reader: Reader, kind: int, epoch: int, sequence: int) -> Iterator[Layer]:
    if not reader.left:
        return
    if epoch:
        if reader.left < _LEAST:
            reader.rest("bytes", f"too short: explicit nonce and tag have {_LEAST} bytes")
            yield reader.layer("sealed, malformed", "RFC 5288 3")
            return
        explicit = reader.data[reader.at : reader.at + EXPLICIT_NONCE]
        numbered = int.from_bytes(explicit) == epoch << 48 | sequence
        reader.octets(
            "explicit nonce",
            EXPLICIT_NONCE,
            ("epoch and sequence number again" if numbered else "chosen by the sender")
            + "; with the secret salt before it, the nonce of AES-GCM",
            value=f"0x{explicit.hex()}",
        )
        reader.octets("ciphertext", reader.left - TAG, "as long as what is inside")
        reader.octets(
            "tag", TAG, "over the ciphertext and the additional data: a changed bit does not verify"
        )
        yield reader.layer("AES-256-GCM", "RFC 5288 3, RFC 5116")
        return
    try:
        if kind == HANDSHAKE:
            yield from handshake_layers(reader)
            return
        if kind == CHANGE_CIPHER_SPEC:
            reader.number("type", 1, "from its next record on the sender uses the new keys: epoch 1")
            yield reader.layer("ChangeCipherSpec", "RFC 5246 7.1")
        elif kind == ALERT:
            reader.number("level", 1, names=ALERT_LEVELS)
            reader.number("description", 1, names=ALERT_NAMES)
            yield reader.layer("Alert", "RFC 5246 7.2")
        elif kind == APPLICATION_DATA:
            reader.rest("application data", "in clear: never accepted")
            yield reader.layer("application data", "RFC 5246 10")
    except TruncatedError:
        pass
    if reader.left:
        reader.rest("more", "nobody knows what this is")
        yield reader.layer("rest of the record", "")
