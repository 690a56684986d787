"""A cipher backend in plain Python: records put together by hand, and pyca's AESGCM.

It is slow, and it is complete: the conformance suite passes. A backend of your own
replaces the two calls of the cipher, or the loop around them by one call a burst.
"""

from __future__ import annotations

from struct import pack, unpack_from
from typing import TYPE_CHECKING, ClassVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from dtls_emu.crypto.backend import (
    APPLICATION_DATA,
    MAX_PLAINTEXT,
    Established,
    RowStatus,
    TrafficKeys,
)
from dtls_emu.crypto.framing import (
    grow_to_records,
    require_openable,
    require_sealable,
    shrink_to_packets,
)
from dtls_emu.crypto.self_test import AES_256_GCM_DIGEST, prove
from dtls_emu.errors import LocalProtocolError
from dtls_emu.wire.overhead import RECORD_OVERHEAD, RECORD_PREFIX, TAG


if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dtls_emu.wire.burst import Burst


class PlainPythonBackend:
    """Constructed once; the self-test raises when the cipher is not as it must be."""

    name: ClassVar[str] = "plain-python"
    summary: ClassVar[str] = "an example: one record a call, framed in Python"
    protects: ClassVar[bool] = True
    needs_connection: ClassVar[bool] = False
    detail: ClassVar[str] = "docs/examples/plain_python.py"

    def __init__(self) -> None:
        prove(self.attach, AES_256_GCM_DIGEST)

    def attach(
        self, established: Established
    ) -> tuple[PlainPythonSealer, PlainPythonOpener]:
        """Our keys are for what we send, the peer's for what we receive."""
        return PlainPythonSealer(
            established.write, established.epoch
        ), PlainPythonOpener(established.read)


class _End:
    """The cipher and the salt of one direction, until it is closed."""

    def __init__(self, keys: TrafficKeys) -> None:
        self._cipher: AESGCM | None = AESGCM(keys.key)
        self._salt = bytearray(keys.salt)

    def close(self) -> None:
        """Let go of the cipher, whose key OpenSSL overwrites, and overwrite the salt."""
        self._cipher = None
        self._salt[:] = bytes(len(self._salt))

    @property
    def cipher(self) -> AESGCM:
        if self._cipher is None:
            raise LocalProtocolError("this end of the association is closed")
        return self._cipher

    def nonce(self, explicit: bytes) -> bytes:
        """RFC 5288 3: 4 bytes of salt from the handshake, 8 from the record."""
        return bytes(self._salt) + explicit


class PlainPythonSealer(_End):
    """Makes records of packets, in place."""

    def __init__(self, keys: TrafficKeys, epoch: int) -> None:
        super().__init__(keys)
        self._epoch = epoch

    def seal(
        self,
        burst: Burst,
        first_sequence: int,
        content_type: int = APPLICATION_DATA,
    ) -> None:
        """Header and nonce in front, the tag behind (RFC 6347 4.1, RFC 5288 3)."""
        cipher = self.cipher
        require_sealable(burst, first_sequence)
        for index in range(burst.count):
            size = burst.last if index == burst.count - 1 else burst.size
            packet = index * burst.stride + burst.offset
            number = pack("!Q", self._epoch << 48 | first_sequence + index)
            header = pack(
                "!BH8sH", content_type, 0xFEFD, number, size + RECORD_OVERHEAD - 13
            )
            sealed = cipher.encrypt(
                self.nonce(number),
                burst.buffer[packet : packet + size].data,
                number + pack("!BHH", content_type, 0xFEFD, size),
            )
            record = burst.buffer.data[packet - RECORD_PREFIX : packet + size + TAG]
            record[:] = header + number + sealed
        grow_to_records(burst)


class PlainPythonOpener(_End):
    """Makes packets of records, in place; what does not verify becomes zeros."""

    def open(self, burst: Burst, status: NDArray[np.uint8]) -> None:
        """All of a header is taken from the wire, so every bit of it is authenticated."""
        cipher = self.cipher
        require_openable(burst, status)
        for index in range(burst.count):
            if status[index] != RowStatus.OK:
                continue
            row = burst.row(index).data
            size = len(row) - RECORD_OVERHEAD
            if not 0 <= size <= MAX_PLAINTEXT:
                status[index] = (
                    RowStatus.BAD_DATAGRAM if size < 0 else RowStatus.OVERSIZE
                )
                continue
            content_type, version, number, length, explicit = unpack_from(
                "!BH8sH8s", row
            )
            additional = number + pack(
                "!BHH", content_type, version, (length - 24) & 0xFFFF
            )
            try:
                packet = cipher.decrypt(
                    self.nonce(explicit), row[RECORD_PREFIX:], additional
                )
            except InvalidTag:
                status[index] = RowStatus.AUTH_FAILED
                packet = bytes(size)
            row[RECORD_PREFIX : RECORD_PREFIX + size] = packet
        shrink_to_packets(burst)
