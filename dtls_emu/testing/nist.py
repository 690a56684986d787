"""NIST CAVP vectors for AES-256-GCM, made to fit a DTLS record.

The vectors' IVs (96 bits) are a salt, an epoch and a sequence number; a record can have any of them. Their
additional data cannot be a record's: it has other lengths. But the ciphertext does not depend on it, and the
tag depends on it only through GHASH (SP 800-38D 7.1)::

    tag = GHASH(H, A, C) xor AES(K, IV || 1)

so the vector's tag, xor GHASH over the vector's data, xor GHASH over the record's data, is the record's tag;
and it verifies exactly when the vector's does. GHASH is written out here, bit by bit from the standard, so
that it shares nothing with the code under test.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from dtls_emu.wire.overhead import EXPLICIT_NONCE, TAG
from dtls_emu.wire.protocol import APPLICATION_DATA, DTLS_1_2


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


__all__ = ["DECRYPT_FILE", "ENCRYPT_FILE", "Vector", "load_vectors", "parse_vectors"]

ENCRYPT_FILE: Final = "gcmEncryptExtIV256.rsp"
DECRYPT_FILE: Final = "gcmDecrypt256.rsp"

_BLOCK: Final = 16
_REDUCTION: Final = 0xE1 << 120  # x^128 + x^7 + x^2 + x + 1, SP 800-38D 6.3


@dataclass(frozen=True, slots=True)
class Vector:
    """One vector.

    Fields:
        label: section and count, as in the file.
        key, iv, additional, ciphertext, tag: as in the file; 32, 12, any, any and 16 bytes.
        plaintext: None when the tag must not verify.
    """

    label: str
    key: bytes
    iv: bytes
    additional: bytes
    ciphertext: bytes
    tag: bytes
    plaintext: bytes | None

    @property
    def salt(self) -> bytes:
        """The implicit part of the nonce."""
        return self.iv[:4]

    @property
    def epoch(self) -> int:
        """The first two bytes of the explicit nonce."""
        return int.from_bytes(self.iv[4:6], "big")

    @property
    def sequence(self) -> int:
        """The other six."""
        return int.from_bytes(self.iv[6:], "big")

    @property
    def record(self) -> bytes:
        """The record that carries this vector: its ciphertext, and its tag moved to the record's own data."""
        numbers = self.iv[4:]
        kind = APPLICATION_DATA.to_bytes(1, "big") + DTLS_1_2.to_bytes(2, "big")
        length = len(self.ciphertext)
        additional = numbers + kind + length.to_bytes(2, "big")
        hash_key = int.from_bytes(_encrypt_zero_block(self.key), "big")
        tag = (
            int.from_bytes(self.tag, "big")
            ^ _ghash(hash_key, self.additional, self.ciphertext)
            ^ _ghash(hash_key, additional, self.ciphertext)
        )
        header = kind + numbers + (EXPLICIT_NONCE + length + TAG).to_bytes(2, "big")
        return header + numbers + self.ciphertext + tag.to_bytes(TAG, "big")


def load_vectors(file_name: str) -> list[Vector]:
    """The vectors of one file of PyPI `cryptography-vectors` with a 96-bit IV and a 128-bit tag.

    Raises:
        ModuleNotFoundError: they are not installed; with the extra that installs them.
    """
    try:
        import cryptography_vectors  # noqa: PLC0415  # of an extra, which the package does without
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "the conformance suite needs NIST's vectors: pip install 'dtls-emu[conformance]'"
        ) from error

    with cryptography_vectors.open_vector_file(f"ciphers/AES/GCM/{file_name}", "r") as file:
        return list(parse_vectors(file))


def parse_vectors(lines: Iterable[str]) -> Iterator[Vector]:
    """Read the ``.rsp`` format: ``[Name = bits]`` belongs to all vectors that follow, ``FAIL`` to its own."""
    section: dict[str, str] = {}
    vector: dict[str, str] = {}
    for line in [*lines, ""]:
        name, _, value = (part.strip() for part in line.strip("[] \r\n").partition("="))
        if line.startswith("["):
            section[name] = value
        elif name and not name.startswith("#"):
            vector[name] = value
        elif vector:
            if section["IVlen"] == "96" and section["Taglen"] == "128":
                yield _vector(section, vector)
            vector = {}


def _vector(section: dict[str, str], vector: dict[str, str]) -> Vector:
    data = {name: bytes.fromhex(vector.get(name, "")) for name in ("Key", "IV", "AAD", "CT", "Tag", "PT")}
    return Vector(
        label=f"PTlen {section['PTlen']} AADlen {section['AADlen']} count {vector['Count']}",
        key=data["Key"],
        iv=data["IV"],
        additional=data["AAD"],
        ciphertext=data["CT"],
        tag=data["Tag"],
        plaintext=None if "FAIL" in vector else data["PT"],
    )


def _ghash(hash_key: int, additional: bytes, ciphertext: bytes) -> int:
    """SP 800-38D 6.4 over both, each padded to whole blocks, and their lengths in bits."""
    lengths = (8 * len(additional)).to_bytes(8, "big") + (8 * len(ciphertext)).to_bytes(8, "big")
    data = _padded(additional) + _padded(ciphertext) + lengths
    state = 0
    for start in range(0, len(data), _BLOCK):
        state = _multiply(state ^ int.from_bytes(data[start : start + _BLOCK], "big"), hash_key)
    return state


def _multiply(left: int, right: int) -> int:
    """The product in GF(2^128), SP 800-38D 6.3; the leftmost bit is the constant term."""
    product = 0
    for bit in range(127, -1, -1):
        if left >> bit & 1:
            product ^= right
        right = (right >> 1) ^ (_REDUCTION if right & 1 else 0)
    return product


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _BLOCK)


def _encrypt_zero_block(key: bytes) -> bytes:
    """The hash key H; counter mode that starts at zero gives it as its first key stream block."""
    return Cipher(algorithms.AES(key), modes.CTR(bytes(_BLOCK))).encryptor().update(bytes(_BLOCK))
