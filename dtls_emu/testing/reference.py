"""AES-256-GCM over one record, written down a second time, from the RFCs and without a kernel: what ours is held to."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from dtls_emu.wire.overhead import EXPLICIT_NONCE, RECORD_HEADER, RECORD_PREFIX, TAG
from dtls_emu.wire.protocol import APPLICATION_DATA, DTLS_1_2


if TYPE_CHECKING:
    from dtls_emu.crypto.backend import TrafficKeys


__all__ = ["ReferenceKey", "open_by_reference", "seal_by_reference"]


class ReferenceKey(NamedTuple):
    """A cipher and the implicit part of its nonces, which outlive the traffic keys that they are copied from."""

    cipher: AESGCM
    salt: bytes

    @classmethod
    def of(cls, keys: TrafficKeys) -> ReferenceKey:
        """Copy traffic keys."""
        return cls(AESGCM(bytes(keys.key)), bytes(keys.salt))


def seal_by_reference(
    keys: TrafficKeys | ReferenceKey,
    plaintext: bytes,
    sequence: int,
    *,
    content_type: int = APPLICATION_DATA,
    epoch: int = 1,
    nonce: bytes | None = None,
    version: int = DTLS_1_2,
) -> bytes:
    """A record as whoever has the key may seal it, also one that nobody should.

    Args:
        keys: of one direction.
        plaintext: of any length.
        sequence: its number.
        content_type, epoch, version: of its header.
        nonce: the explicit part, 8 bytes; epoch and number unless given (RFC 9325 7.2.1).
    """
    key = keys if isinstance(keys, ReferenceKey) else ReferenceKey.of(keys)
    number = epoch.to_bytes(2, "big") + sequence.to_bytes(6, "big")
    kind = bytes((content_type,)) + version.to_bytes(2, "big")
    explicit = number if nonce is None else nonce
    # Additional data: RFC 5246 6.2.3.3 with the number of RFC 6347 4.1.2.1. Nonce: RFC 5288 3.
    additional = number + kind + len(plaintext).to_bytes(2, "big")
    body = key.cipher.encrypt(key.salt + explicit, plaintext, additional)
    return kind + number + (EXPLICIT_NONCE + len(body)).to_bytes(2, "big") + explicit + body


def open_by_reference(keys: TrafficKeys | ReferenceKey, record: bytes) -> bytes | None:
    """The plaintext of a record; None when it does not verify."""
    length = len(record) - RECORD_PREFIX - TAG
    if length < 0:
        return None
    key = keys if isinstance(keys, ReferenceKey) else ReferenceKey.of(keys)
    additional = record[3:11] + record[:3] + length.to_bytes(2, "big")
    nonce = key.salt + record[RECORD_HEADER:RECORD_PREFIX]
    try:
        return key.cipher.decrypt(nonce, record[RECORD_PREFIX:], additional)
    except InvalidTag:
        return None
