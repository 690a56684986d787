"""Anti-replay window of received records (RFC 6347 4.1.2.6, after RFC 4303 3.4.3).

A ring of 64-bit words, as in RFC 6479, in one small array that kernels share: a bit says that its number
was seen. A number is *checked* before its record is opened, so that a replay costs no decryption, and
*updated* only after it verified, so that a forgery never moves the window.

State, ``int64``:

::

    [0] highest number seen + 1 (0: none yet)   [1] window size   [2] ring words - 1   [3...] the ring
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from dtls_emu.errors import LocalProtocolError
from dtls_emu.wire.memory import kernel
from dtls_emu.wire.protocol import RowStatus


if TYPE_CHECKING:
    from numpy.typing import NDArray


__all__ = ["DEFAULT_WINDOW", "MIN_WINDOW", "ReplayWindow", "check", "update"]

DEFAULT_WINDOW: Final = 1024
"""Numbers. Bursts of 64 datagrams are reordered as a whole, which the RFC's 64 would not survive."""

MIN_WINDOW: Final = 64
"""Numbers; RFC 6347 4.1.2.6: 64 is the preferred minimum."""

_OK: Final = int(RowStatus.OK)
_REPLAYED: Final = int(RowStatus.REPLAYED)
_LATE: Final = int(RowStatus.LATE)
_NEXT: Final = 0
_SIZE: Final = 1
_MASK: Final = 2
_RING: Final = 3


class ReplayWindow:
    """The window of one association and epoch.

    Args:
        size: numbers that may still arrive behind the highest one, a multiple of 64.

    Fields:
        state: what the kernels take.

    Raises:
        LocalProtocolError: ``size`` is not a multiple of 64, or under 64.
    """

    __slots__ = ("state",)

    def __init__(self, size: int = DEFAULT_WINDOW) -> None:
        if size < MIN_WINDOW or size % 64:
            raise LocalProtocolError(f"a replay window of {size} is not a multiple of 64")
        # A window that begins inside a word touches one word more than it fills; a power of two makes
        # the ring's index a mask instead of a division.
        words = 1 << (size // 64).bit_length()
        self.state: NDArray[np.int64] = np.zeros(_RING + words, np.int64)
        self.state[_SIZE] = size
        self.state[_MASK] = words - 1

    @property
    def highest(self) -> int:
        """The highest number taken, -1 before the first."""
        return int(self.state[_NEXT]) - 1

    def check(self, seq: int) -> RowStatus:
        """Would this number be taken: OK, REPLAYED or LATE. Changes nothing."""
        return RowStatus(check(self.state, seq))

    def update(self, seq: int) -> bool:
        """Take the number of a record that verified; False when it was taken before or is too old."""
        return bool(update(self.state, seq) == _OK)


@kernel
def check(window: NDArray[np.int64], seq: int) -> int:
    """OK, REPLAYED or LATE for ``seq`` (48 bits), without changing the window."""
    ahead = seq - window[_NEXT]
    if ahead >= 0:
        return _OK
    if ahead < -window[_SIZE]:
        return _LATE
    word = window[_RING + ((seq >> 6) & window[_MASK])]
    return _REPLAYED if (word >> (seq & 63)) & 1 else _OK


@kernel
def update(window: NDArray[np.int64], seq: int) -> int:
    """Take ``seq``: OK; REPLAYED or LATE leave the window as it is."""
    following = window[_NEXT]
    mask = window[_MASK]
    block = seq >> 6
    if seq >= following:
        # Words between the old highest number and the new one hold bits of a turn of the ring ago.
        previous = (following - 1) >> 6
        for stale in range(max(previous + 1, block - mask), block + 1):
            window[_RING + (stale & mask)] = 0
        window[_NEXT] = seq + 1
    elif seq < following - window[_SIZE]:
        return _LATE
    index = _RING + (block & mask)
    bit = np.int64(1) << (seq & 63)
    if window[index] & bit:
        return _REPLAYED
    window[index] |= bit
    return _OK
