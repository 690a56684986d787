"""Number and seal a burst, check and open one, in a single call: for backends that compiled code can call.

An association and the card's kernels call them alike, so there is one place where such records get their numbers.
Both work on an association's :data:`RECORDS`; there is one number of the next record, wherever it is sealed, so
that no nonce can be used twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from dtls_emu.crypto.native import NativeEnd, call_open, call_seal
from dtls_emu.wire.burst import MAX_ROWS, Shape
from dtls_emu.wire.memory import array_at, kernel
from dtls_emu.wire.overhead import RECORD_OVERHEAD, RECORD_PREFIX, TAG
from dtls_emu.wire.protocol import MAX_PLAINTEXT
from dtls_emu.wire.record import check_records, commit_records


if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = ["RECORDS", "UNFIT", "open_burst", "records_at", "seal_burst"]

Records = NDArray[Any]
"""An array of one :data:`RECORDS`."""

RECORDS: Final = np.dtype(
    [
        ("next_sequence", np.int64),
        ("sealed_records", np.int64),
        ("sealed_bytes", np.int64),
        ("opened_records", np.int64),
        ("opened_bytes", np.int64),
        ("closed", np.int64),
    ]
)
"""What changes of an association with every burst.

Fields:
    next_sequence: number of the next record.
    sealed_records, sealed_bytes, opened_records, opened_bytes: so far; bytes of plaintext.
    closed: 1 once the keys are gone.
"""

records_at: Callable[[int, int], Records] = array_at("records_at", RECORDS)
"""``records_at(address, 1)``, in a kernel."""

UNFIT: Final = -1
"""Of :func:`open_burst`: the rows do not lie within the buffer, are too many, or the keys are gone."""


@kernel
def seal_burst(
    records: Records, end: int, sealer: NativeEnd, buffer: NDArray[np.uint8], shape: Shape, epoch: int
) -> bool:
    """Seal packets in place as application data, under the next numbers; ``end`` is the first that may not be used.

    ``shape`` is that of a :class:`~dtls_emu.wire.burst.Burst` before it is sealed.

    Returns:
        False, with nothing done, when the keys are gone, no number is left, or there is no room around a packet.
    """
    stride, offset, size, count, last = shape
    state = records[0]
    first = state.next_sequence
    if state.closed or count > end - first or not 0 < count <= MAX_ROWS:
        return False
    if not 0 <= last <= size <= MAX_PLAINTEXT or offset < RECORD_PREFIX or stride - offset - size < TAG:
        return False
    if (count - 1) * stride + offset + last + TAG > len(buffer):
        return False
    # Taken before the sealer runs: a number whose record half-failed must not be used again.
    state.next_sequence = first + count
    state.sealed_records += count
    state.sealed_bytes += (count - 1) * size + last
    rows = buffer.ctypes.data + offset - RECORD_PREFIX
    call_seal(sealer.function, (sealer.state, rows, stride, size, count, last, epoch, first))
    return True


@kernel
def open_burst(
    records: Records,
    window: NDArray[np.int64],
    opener: NativeEnd,
    buffer: NDArray[np.uint8],
    shape: Shape,
    epoch: int,
    status: NDArray[np.uint8],
    whole: bool,
) -> int:
    """Check datagrams at offset 0 of their rows, open those that may be, and only then move the window.

    ``status`` gets a ``RowStatus`` for each, as :func:`~dtls_emu.wire.record.check_records` and the opener say. With
    ``whole`` nothing is opened unless every row is a candidate.

    Returns:
        ``candidates << 8 | opened``, or :data:`UNFIT`, with nothing done.
    """
    stride, _, size, count, last = shape
    state = records[0]
    if state.closed or not 0 < count <= MAX_ROWS or count > len(status):
        return UNFIT
    if not 0 <= last <= size <= stride or (count - 1) * stride + last > len(buffer):
        return UNFIT
    candidates = check_records(buffer, stride, count, size, last, epoch, window, status)
    if candidates == 0 or (whole and candidates != count):
        return candidates << 8
    rows = buffer.ctypes.data
    call_open(opener.function, (opener.state, rows, stride, size, count, last, status.ctypes.data))
    opened = commit_records(buffer, stride, count, window, status)
    state.opened_records += opened
    if opened == count:
        state.opened_bytes += (count - 1) * size + last - count * RECORD_OVERHEAD
    else:
        state.opened_bytes += opened * (size - RECORD_OVERHEAD)
    return candidates << 8 | opened
