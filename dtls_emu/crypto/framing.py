"""What every backend does around its cipher call: check a burst, frame its rows, say its new shape.

The kernels write and read the fields of all rows at once and leave what a cipher call needs in *cells*, 32
bytes a row::

    salt 4 | explicit nonce 8 | unused 4 | additional data 13 | unused 3

The salt is put there once, when an association is made. A cell holds a nonce, not a key; it is wiped with
the keys all the same. Sources: RFC 6347 4.1 (record), RFC 5288 3 (nonce), RFC 5246 6.2.3.3 with RFC 6347
4.1.2.1 (additional data), RFC 9325 7.2.1 (explicit nonce = epoch and sequence number).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from dtls_emu.crypto.backend import MAX_PLAINTEXT, MAX_SEQUENCE, RowStatus
from dtls_emu.errors import LocalProtocolError
from dtls_emu.wire.burst import MAX_ROWS
from dtls_emu.wire.memory import kernel, load_u16_be, load_u32_be, load_u64_be, store_u64_be
from dtls_emu.wire.overhead import RECORD_OVERHEAD, RECORD_PREFIX, TAG
from dtls_emu.wire.protocol import DTLS_1_2


if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dtls_emu.wire.burst import Burst


__all__ = [
    "AAD_AT",
    "AAD_SIZE",
    "CELL",
    "CELLS_SIZE",
    "fill_salt",
    "frame_rows",
    "grow_to_records",
    "read_frame",
    "read_frames",
    "require_openable",
    "require_sealable",
    "shrink_to_packets",
]

CELL: Final = 32
AAD_AT: Final = 16
AAD_SIZE: Final = 13
CELLS_SIZE: Final = MAX_ROWS * CELL

_VERSION: Final = DTLS_1_2
_LENGTH_OVERHEAD: Final = 24  # the length field counts explicit nonce and tag, the additional data do not
_AUTHENTIC: Final = int(RowStatus.OK)
_RUNT: Final = int(RowStatus.BAD_DATAGRAM)
_OVERSIZE: Final = int(RowStatus.OVERSIZE)


def require_sealable(burst: Burst, first_sequence: int) -> None:
    """Check room, sizes and sequence numbers before a kernel indexes.

    Raises:
        LocalProtocolError: says which of them is wrong.
    """
    if first_sequence < 0 or first_sequence + burst.count - 1 > MAX_SEQUENCE:
        raise LocalProtocolError(
            f"sequence numbers {first_sequence} to {first_sequence + burst.count - 1} are not all in 0 to 2^48 - 1"
        )
    if burst.offset < RECORD_PREFIX:
        raise LocalProtocolError(f"{burst!r} has no headroom of {RECORD_PREFIX} bytes")
    if burst.stride - burst.offset - burst.size < TAG:
        raise LocalProtocolError(f"{burst!r} has no tailroom of {TAG} bytes")
    if burst.size > MAX_PLAINTEXT:
        raise LocalProtocolError(f"a packet of {burst.size} bytes is over the {MAX_PLAINTEXT} of a record")
    _require_inside(burst, burst.last + TAG)


def require_openable(burst: Burst, status: NDArray[np.uint8]) -> None:
    """Check that rows lie inside the buffer and have a status each.

    Raises:
        LocalProtocolError: they do not.
    """
    if len(status) < burst.count:
        raise LocalProtocolError(f"{len(status)} statuses for {burst!r}")
    _require_inside(burst, burst.last)


def grow_to_records(burst: Burst) -> None:
    """The packets have become records."""
    burst.offset -= RECORD_PREFIX
    burst.size += RECORD_OVERHEAD
    burst.last += RECORD_OVERHEAD


def shrink_to_packets(burst: Burst) -> None:
    """The records have become packets. A runt among rows that were not opened leaves no negative size."""
    burst.offset += RECORD_PREFIX
    burst.size = max(burst.size - RECORD_OVERHEAD, 0)
    burst.last = max(burst.last - RECORD_OVERHEAD, 0)


def fill_salt(cells: NDArray[np.uint8], salt: bytearray) -> None:
    """Put the implicit part of the nonce into every cell."""
    cells.reshape(MAX_ROWS, CELL)[:, : len(salt)] = np.frombuffer(salt, np.uint8)


@kernel
def frame_rows(
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
    """Write record header and explicit nonce in front of every packet, and fill the cells.

    ``start`` is where the first row's record begins; ``size`` and ``last`` are those of the packets. The
    fields are written as overlapping 8-byte words, which costs a third of writing them one by one.
    """
    for index in range(count):
        packet = size if index < count - 1 else last
        sequence = first_sequence + index
        epoch_sequence = (epoch << 48) | sequence
        record = start + index * stride
        store_u64_be(
            buffer, record, (content_type << 56) | (_VERSION << 40) | (epoch << 24) | (sequence >> 24)
        )
        store_u64_be(buffer, record + 5, (sequence << 16) | (packet + _LENGTH_OVERHEAD))
        store_u64_be(buffer, record + 13, epoch_sequence)
        cell = index * CELL
        store_u64_be(cells, cell + 4, epoch_sequence)
        store_u64_be(cells, cell + AAD_AT, epoch_sequence)
        store_u64_be(
            cells,
            cell + AAD_AT + 5,
            ((sequence & 0xFFFFFF) << 40) | (content_type << 32) | (_VERSION << 16) | packet,
        )


@kernel
def read_frames(
    buffer: NDArray[np.uint8],
    start: int,
    stride: int,
    size: int,
    count: int,
    last: int,
    status: NDArray[np.uint8],
    cells: NDArray[np.uint8],
) -> None:
    """Fill the cells of the rows to open from what is on the wire: nonce, type, version and length too.

    Nothing is assumed about a header, so every bit of it is authenticated. Rows that are no record at all
    lose their OK: this is what keeps the cipher inside the buffer.
    """
    for index in range(count):
        if status[index] != _AUTHENTIC:
            continue
        packet = (size if index < count - 1 else last) - RECORD_OVERHEAD
        if packet < 0:
            status[index] = _RUNT
            continue
        if packet > MAX_PLAINTEXT:
            status[index] = _OVERSIZE
            continue
        record = start + index * stride
        sequence_low = load_u32_be(buffer, record + 7) & 0xFFFFFF
        type_version = load_u32_be(buffer, record) >> 8
        length = (load_u16_be(buffer, record + 11) - _LENGTH_OVERHEAD) & 0xFFFF
        cell = index * CELL
        store_u64_be(cells, cell + 4, load_u64_be(buffer, record + 13))
        store_u64_be(cells, cell + AAD_AT, load_u64_be(buffer, record + 3))
        store_u64_be(cells, cell + AAD_AT + 5, (sequence_low << 40) | (type_version << 16) | length)


def read_frame(record: memoryview) -> tuple[bytes, bytes]:
    """Explicit nonce and additional data of one record, as :func:`read_frames` has them: its call costs more than this."""
    length = ((record[11] << 8 | record[12]) - _LENGTH_OVERHEAD) & 0xFFFF
    return bytes(record[13:21]), bytes(record[3:11]) + bytes(record[:3]) + length.to_bytes(2, "big")


def _require_inside(burst: Burst, last: int) -> None:
    if not burst.buffer.flags.writeable:
        raise LocalProtocolError(f"{burst!r} cannot be changed in place: its buffer is read-only")
    if not 0 < burst.count <= MAX_ROWS:
        raise LocalProtocolError(f"{burst!r} does not have 1 to {MAX_ROWS} rows")
    if not 0 <= burst.last <= burst.size or burst.offset < 0 or burst.offset + burst.size > burst.stride:
        raise LocalProtocolError(f"{burst!r} is no burst: a packet does not fit its row")
    if (burst.count - 1) * burst.stride + burst.offset + last > len(burst.buffer):
        raise LocalProtocolError(f"{burst!r} does not fit its buffer of {len(burst.buffer)} bytes")
