"""Number and seal a burst, check and open one, in a single call: for backends that compiled code can call.

An association's and the card's fast path's alike, so there is one place where such records get their numbers.
Both work on an association's *words*, ``int64``; there is one number of the next record, wherever it is sealed, so
that no nonce can be used twice::

    [0] number of the next record   [1] records and [2] bytes sealed   [3] records and [4] bytes opened
    [5] 1 once the keys are gone
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dtls_emu.crypto.native import call_open, call_seal
from dtls_emu.wire.burst import MAX_ROWS
from dtls_emu.wire.memory import kernel
from dtls_emu.wire.overhead import RECORD_OVERHEAD, RECORD_PREFIX, TAG
from dtls_emu.wire.protocol import MAX_PLAINTEXT
from dtls_emu.wire.record import check_records, commit_records


if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


__all__ = [
    "CLOSED",
    "NEXT_SEQUENCE",
    "OPENED_BYTES",
    "OPENED_RECORDS",
    "SEALED_BYTES",
    "SEALED_RECORDS",
    "UNFIT",
    "WORDS",
    "open_burst",
    "seal_burst",
]

NEXT_SEQUENCE: Final = 0
SEALED_RECORDS: Final = 1
SEALED_BYTES: Final = 2
OPENED_RECORDS: Final = 3
OPENED_BYTES: Final = 4
CLOSED: Final = 5
WORDS: Final = 6

UNFIT: Final = -1
"""Of :func:`open_burst`: the rows do not lie within the buffer, are too many, or the keys are gone."""


@kernel
def seal_burst(
    words: NDArray[np.int64],
    end: int,
    function: int,
    state: int,
    buffer: NDArray[np.uint8],
    offset: int,
    stride: int,
    size: int,
    count: int,
    last: int,
    epoch: int,
) -> bool:
    """Seal packets in place as application data, under the next numbers; ``end`` is the first that may not be used.

    ``function`` and ``state`` are a sealer's :class:`~dtls_emu.crypto.native.NativeEnd`; ``offset``, ``stride``,
    ``size``, ``count`` and ``last`` are those of a :class:`~dtls_emu.wire.burst.Burst` before it is sealed.

    Returns:
        False, with nothing done, when the keys are gone, no number is left, or there is no room around a packet.
    """
    first = words[NEXT_SEQUENCE]
    if words[CLOSED] or count > end - first or not 0 < count <= MAX_ROWS:
        return False
    if not 0 <= last <= size <= MAX_PLAINTEXT or offset < RECORD_PREFIX or stride - offset - size < TAG:
        return False
    if (count - 1) * stride + offset + last + TAG > len(buffer):
        return False
    # Taken before the sealer runs: a number whose record half-failed must not be used again.
    words[NEXT_SEQUENCE] = first + count
    words[SEALED_RECORDS] += count
    words[SEALED_BYTES] += (count - 1) * size + last
    rows = buffer.ctypes.data + offset - RECORD_PREFIX
    call_seal(function, (state, rows, stride, size, count, last, epoch, first))
    return True


@kernel
def open_burst(
    words: NDArray[np.int64],
    window: NDArray[np.int64],
    function: int,
    state: int,
    buffer: NDArray[np.uint8],
    stride: int,
    size: int,
    count: int,
    last: int,
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
    if words[CLOSED] or not 0 < count <= MAX_ROWS or count > len(status):
        return UNFIT
    if not 0 <= last <= size <= stride or (count - 1) * stride + last > len(buffer):
        return UNFIT
    candidates = check_records(buffer, stride, count, size, last, epoch, window, status)
    if candidates == 0 or (whole and candidates != count):
        return candidates << 8
    rows = buffer.ctypes.data
    call_open(function, (state, rows, stride, size, count, last, status.ctypes.data))
    opened = commit_records(buffer, stride, count, window, status)
    words[OPENED_RECORDS] += opened
    if opened == count:
        words[OPENED_BYTES] += (count - 1) * size + last - count * RECORD_OVERHEAD
    else:
        words[OPENED_BYTES] += opened * (size - RECORD_OVERHEAD)
    return candidates << 8 | opened
