"""Memory for the bursts of one call on a card, used again by the next: no allocation on the fast path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np


if TYPE_CHECKING:
    from numpy.typing import NDArray


__all__ = ["Arena"]

_SIZE: Final = 1 << 20
"""64 rows of 9,000 bytes with room to spare; small enough to stay in a core's second-level cache."""


class Arena:
    """A bump allocator.

    Fields:
        buffer, used: whoever knows only afterwards how much it needs writes to `buffer` from `used` on, and moves that.
    """

    __slots__ = ("buffer", "used")

    def __init__(self) -> None:
        self.buffer: NDArray[np.uint8] = np.empty(_SIZE, np.uint8)
        self.used = 0

    def reset(self) -> None:
        """Everything handed out so far may be overwritten from now on."""
        self.used = 0

    def take(self, nbytes: int) -> NDArray[np.uint8]:
        """Uninitialised memory; from the heap when the arena is full."""
        start = self.used
        end = start + nbytes
        if end > _SIZE:
            return np.empty(nbytes, np.uint8)
        self.used = end
        return self.buffer[start:end]
