"""The `cryptography` backend: pyca's ``AESGCM``, one call a record, in place. The portable default.

Headers, nonces and additional data of a burst come from one kernel call; what is left for Python per row is
two slices and the cipher call. ``AESGCM`` releases the GIL only from 2048 bytes up, so below that this
backend scales by process, not by thread.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, ClassVar, Final

import cryptography
import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.backends.openssl import backend as openssl
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from dtls_emu.crypto.backend import APPLICATION_DATA, MAX_PLAINTEXT, Established, RowStatus, TrafficKeys
from dtls_emu.crypto.framing import (
    CELL,
    CELLS_SIZE,
    fill_salt,
    frame_rows,
    grow_to_records,
    read_frame,
    read_frames,
    require_openable,
    require_sealable,
    shrink_to_packets,
)
from dtls_emu.crypto.self_test import AES_256_GCM_DIGEST, prove
from dtls_emu.errors import LocalProtocolError
from dtls_emu.wire.overhead import RECORD_OVERHEAD, RECORD_PREFIX, TAG


if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from dtls_emu.wire.burst import Burst


__all__ = ["CryptographyBackend", "PycaOpener", "PycaSealer"]

_SALT: Final = 4

_CELL: Final = Struct("12s4x13s3x")  # nonce and additional data of a row, see `framing`


class CryptographyBackend:
    """See the module. Works wherever `cryptography` does."""

    name: ClassVar[str] = "cryptography"
    summary: ClassVar[str] = "pyca AESGCM, one call a record"
    protects: ClassVar[bool] = True
    needs_connection: ClassVar[bool] = False

    def __init__(self) -> None:
        prove(self.attach, AES_256_GCM_DIGEST)

    @property
    def detail(self) -> str:
        """Versions of `cryptography` and of the OpenSSL inside it."""
        return f"cryptography {cryptography.__version__}, {openssl.openssl_version_text()}"

    def attach(self, established: Established) -> tuple[PycaSealer, PycaOpener]:
        """Make the two ends of an association."""
        return PycaSealer(established.write, established.epoch), PycaOpener(established.read)


class _End:
    """One direction: the cipher and its cells. The cipher's own copy of the key is OpenSSL's, which
    overwrites it when the last reference goes.
    """

    def __init__(self, keys: TrafficKeys) -> None:
        self._cipher: AESGCM | None = AESGCM(keys.key)
        self._cells: NDArray[np.uint8] = np.zeros(CELLS_SIZE, np.uint8)
        fill_salt(self._cells, keys.salt)

    def close(self) -> None:
        self._cipher = None
        self._cells.fill(0)

    def _require_cipher(self) -> AESGCM:
        if self._cipher is None:
            raise LocalProtocolError("this end of the association is closed")
        return self._cipher

    def _rows(self, burst: Burst, payload: int) -> Iterator[tuple[int, tuple[bytes, bytes]]]:
        """Where each row's payload begins, with its nonce and additional data."""
        starts = range(payload, payload + burst.count * burst.stride, burst.stride)
        return zip(starts, _CELL.iter_unpack(self._cells.data[: burst.count * CELL]), strict=True)


class PycaSealer(_End):
    """Seals with ``AESGCM``, see :class:`~dtls_emu.crypto.backend.Sealer`."""

    def __init__(self, keys: TrafficKeys, epoch: int) -> None:
        super().__init__(keys)
        self._epoch = epoch

    def seal(self, burst: Burst, first_sequence: int, content_type: int = APPLICATION_DATA) -> None:
        encrypt = self._require_cipher().encrypt_into
        require_sealable(burst, first_sequence)
        stride, size, count, last, payload = burst.stride, burst.size, burst.count, burst.last, burst.offset
        frame_rows(
            burst.buffer,
            payload - RECORD_PREFIX,
            stride,
            size,
            count,
            last,
            self._epoch,
            first_sequence,
            content_type,
            self._cells,
        )
        view = burst.buffer.data
        final = payload + (count - 1) * stride
        for at, (nonce, additional) in self._rows(burst, payload):
            end = at + (size if at != final else last)
            encrypt(nonce, view[at:end], additional, view[at : end + TAG])
        grow_to_records(burst)


class PycaOpener(_End):
    """Opens with ``AESGCM``, see :class:`~dtls_emu.crypto.backend.Opener`."""

    def open(self, burst: Burst, status: NDArray[np.uint8]) -> None:
        decrypt = self._require_cipher().decrypt_into
        require_openable(burst, status)
        if burst.count == 1:
            self._open_one(burst, status)
            return
        stride, size, count, last = burst.stride, burst.size, burst.count, burst.last
        read_frames(burst.buffer, burst.offset, stride, size, count, last, status, self._cells)
        view = burst.buffer.data
        payload = burst.offset + RECORD_PREFIX
        shrink_to_packets(burst)
        size, last = burst.size, burst.last
        final = payload + (count - 1) * stride
        for known, (at, (nonce, additional)) in zip(
            status.tolist(), self._rows(burst, payload), strict=False
        ):
            if known:
                continue
            end = at + (size if at != final else last)
            try:
                decrypt(nonce, view[at : end + TAG], additional, view[at:end])
            except InvalidTag:
                status[(at - payload) // stride] = RowStatus.AUTH_FAILED
                burst.buffer[at:end] = 0

    def _open_one(self, burst: Burst, status: NDArray[np.uint8]) -> None:
        record = burst.buffer.data[burst.offset : burst.offset + burst.last]
        shrink_to_packets(burst)
        if status[0]:
            return
        length = len(record) - RECORD_OVERHEAD
        if not 0 <= length <= MAX_PLAINTEXT:
            status[0] = RowStatus.BAD_DATAGRAM if length < 0 else RowStatus.OVERSIZE
            return
        explicit, additional = read_frame(record)
        nonce = self._cells[:_SALT].tobytes() + explicit
        packet = record[RECORD_PREFIX : RECORD_PREFIX + length]
        try:
            self._require_cipher().decrypt_into(nonce, record[RECORD_PREFIX:], additional, packet)
        except InvalidTag:
            status[0] = RowStatus.AUTH_FAILED
            packet[:] = bytes(length)
