"""The `null` backend: the record of a cipher, without one. It protects nothing.

Same header, same nonce, same size, a constant tag; the payload stays in clear. What is left when it is
subtracted from another backend is the cipher's own cost. Reports print it as "plain (no protection)".

Records of the handshake are sealed all the same: while an association stands at one end already, the other may repeat
its Finished, or need ours repeated, and its OpenSSL knows nothing of this backend (RFC 6347 4.2.4).
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from dtls_emu.crypto.backend import APPLICATION_DATA, Established, RowStatus
from dtls_emu.crypto.framing import (
    CELLS_SIZE,
    frame_rows,
    grow_to_records,
    read_frames,
    require_openable,
    require_sealable,
    shrink_to_packets,
)
from dtls_emu.crypto.native import NativeEnd, carray, compile_ends
from dtls_emu.crypto.pyca import PycaOpener, PycaSealer
from dtls_emu.crypto.self_test import prove
from dtls_emu.errors import LocalProtocolError
from dtls_emu.wire.memory import kernel, load_u64_be, store_u64_be
from dtls_emu.wire.overhead import RECORD_PREFIX, TAG
from dtls_emu.wire.protocol import HANDSHAKE


if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dtls_emu.wire.burst import Burst


__all__ = ["DANGER_CONSTANT_TAG", "DangerNullBackend"]

DANGER_CONSTANT_TAG: Final = b"danger_null: tag"
"""16 bytes that anybody can forge; readable, so that nobody takes such a record for a sealed one."""

_KNOWN_DIGEST: Final = "b7beed002e659a8e578d55daf0f5d6de10016165717759bf2f2048ff8341a820"
_TAG_HIGH: Final = int.from_bytes(DANGER_CONSTANT_TAG[:8], "big")
_TAG_LOW: Final = int.from_bytes(DANGER_CONSTANT_TAG[8:], "big")
_OPEN_AT: Final = CELLS_SIZE
_STATE_SIZE: Final = CELLS_SIZE + 1
_OK: Final = int(RowStatus.OK)
_AUTH_FAILED: Final = int(RowStatus.AUTH_FAILED)


class DangerNullBackend:
    """See the module."""

    name: ClassVar[str] = "null"
    summary: ClassVar[str] = "same record, no cipher: protects nothing"
    protects: ClassVar[bool] = False
    needs_connection: ClassVar[bool] = False

    def __init__(self) -> None:
        prove(self.attach, _KNOWN_DIGEST)

    @property
    def detail(self) -> str:
        """There is no library behind it."""
        return "no cipher, constant tag"

    def attach(self, established: Established) -> tuple[_Sealer, _Opener]:
        """Make the two ends of an association; the keys serve records of the handshake only."""
        return (
            _Sealer(established.epoch, PycaSealer(established.write, established.epoch)),
            _Opener(PycaOpener(established.read)),
        )


class _End:
    """One direction: cells that no cipher looks at, and behind them a byte that says whether it is open."""

    def __init__(self, handshake: PycaSealer | PycaOpener) -> None:
        self._close_handshake = handshake.close
        self._memory = np.zeros(_STATE_SIZE, np.uint8)
        self._memory[_OPEN_AT] = 1
        self._cells = self._memory[:CELLS_SIZE]
        self._closed = False

    def close(self) -> None:
        self._closed = True
        self._close_handshake()
        self._memory.fill(0)

    def _require_open(self) -> None:
        if self._closed:
            raise LocalProtocolError("this end of the association is closed")


class _Sealer(_End):
    def __init__(self, epoch: int, handshake: PycaSealer) -> None:
        super().__init__(handshake)
        self._epoch = epoch
        self._seal_handshake = handshake.seal

    @property
    def native(self) -> NativeEnd:
        """For :mod:`dtls_emu.crypto.native`."""
        return NativeEnd(_native_functions()[0], self._memory.ctypes.data)

    def seal(self, burst: Burst, first_sequence: int, content_type: int = APPLICATION_DATA) -> None:
        self._require_open()
        if content_type == HANDSHAKE:
            self._seal_handshake(burst, first_sequence, content_type)
            return
        require_sealable(burst, first_sequence)
        _seal_rows(
            burst.buffer,
            burst.offset - RECORD_PREFIX,
            burst.stride,
            burst.size,
            burst.count,
            burst.last,
            self._epoch,
            first_sequence,
            content_type,
            self._cells,
        )
        grow_to_records(burst)


class _Opener(_End):
    def __init__(self, handshake: PycaOpener) -> None:
        super().__init__(handshake)
        self._open_handshake = handshake.open

    @property
    def native(self) -> NativeEnd:
        """For :mod:`dtls_emu.crypto.native`."""
        return NativeEnd(_native_functions()[1], self._memory.ctypes.data)

    def open(self, burst: Burst, status: NDArray[np.uint8]) -> None:
        self._require_open()
        require_openable(burst, status)
        length = burst.size if burst.count > 1 else burst.last
        if length and status[0] == _OK and burst.buffer[burst.offset] == HANDSHAKE:
            self._open_handshake(burst, status)
            return
        _open_rows(
            burst.buffer, burst.offset, burst.stride, burst.size, burst.count, burst.last, status, self._cells
        )
        shrink_to_packets(burst)


@kernel
def _seal_rows(
    buffer: NDArray[np.uint8],
    start: int,
    stride: int,
    size: int,
    count: int,
    last: int,
    epoch: int,
    first_sequence: int,
    content_type: int,
    cells: NDArray[np.uint8],
) -> None:
    frame_rows(buffer, start, stride, size, count, last, epoch, first_sequence, content_type, cells)
    for index in range(count):
        tag = start + index * stride + RECORD_PREFIX + (size if index < count - 1 else last)
        store_u64_be(buffer, tag, _TAG_HIGH)
        store_u64_be(buffer, tag + 8, _TAG_LOW)


@kernel
def _open_rows(
    buffer: NDArray[np.uint8],
    start: int,
    stride: int,
    size: int,
    count: int,
    last: int,
    status: NDArray[np.uint8],
    cells: NDArray[np.uint8],
) -> None:
    read_frames(buffer, start, stride, size, count, last, status, cells)
    for index in range(count):
        if status[index] != _OK:
            continue
        record = start + index * stride
        tag = record + (size if index < count - 1 else last) - 16
        high = load_u64_be(buffer, tag) ^ np.uint64(_TAG_HIGH)
        low = load_u64_be(buffer, tag + 8) ^ np.uint64(_TAG_LOW)
        if high | low:
            status[index] = _AUTH_FAILED
            buffer[record + RECORD_PREFIX : tag] = 0


@cache
def _native_functions() -> tuple[int, int]:
    return compile_ends(_seal_native, _open_native)


def _seal_native(
    state: Any,
    rows: Any,
    stride: int,
    size: int,
    count: int,
    last: int,
    epoch: int,
    first_sequence: int,
) -> None:
    memory = carray(state, _STATE_SIZE)
    buffer = carray(rows, (count - 1) * stride + RECORD_PREFIX + last + TAG)
    if not memory[_OPEN_AT]:  # closed: nothing may be left to be sent
        buffer[:] = 0
        return
    _seal_rows(buffer, 0, stride, size, count, last, epoch, first_sequence, APPLICATION_DATA, memory)


def _open_native(state: Any, rows: Any, stride: int, size: int, count: int, last: int, status: Any) -> None:
    memory, verdicts = carray(state, _STATE_SIZE), carray(status, count)
    if not memory[_OPEN_AT]:  # closed
        verdicts[:] = _AUTH_FAILED
        return
    buffer = carray(rows, (count - 1) * stride + last)
    _open_rows(buffer, 0, stride, size, count, last, verdicts, memory)
