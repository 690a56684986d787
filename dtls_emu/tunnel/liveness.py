"""Is the peer there? Noticed from the traffic itself, without a heartbeat extension (RFC 6520).

Whoever received data and had nothing to send for a while sends an empty record. So whoever sent data hears
something back within that while and a round trip, or the peer is presumed dead. A silent tunnel stays silent.
(WireGuard's passive keepalive has the same rule: Donenfeld, NDSS 2017, 6.5.)

The times are in memory that the card's fast path works on too. ``float64``, in seconds::

    [0] when data last passed   [1] when a keepalive is due   [2] when the peer is presumed dead
    [3] pause before a keepalive   [4] before the peer is presumed dead
"""

from __future__ import annotations

from math import ceil, inf
from typing import TYPE_CHECKING, Final

import numpy as np

from dtls_emu.wire.memory import kernel


if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dtls_emu.tunnel.settings import TunnelSettings


__all__ = ["TIMES", "Liveness", "note_heard", "note_sent"]

_TICKS: Final = 4
"""Timers are rounded up to quarters of a second, so that those of a thousand tunnels fall together."""

_LAST_DATA: Final = 0
_KEEPALIVE_AT: Final = 1
_DEAD_AT: Final = 2
_KEEPALIVE: Final = 3
_DEAD_AFTER: Final = 4
TIMES: Final = 5


class Liveness:
    """What one tunnel has sent and heard.

    Fields:
        times: see the module.
    """

    __slots__ = ("_view", "times")

    def __init__(self, settings: TunnelSettings) -> None:
        self.times: NDArray[np.float64] = np.array(
            (0.0, inf, inf, settings.keepalive, settings.dead_after), np.float64
        )
        self._view: memoryview[float] = self.times.data  # type: ignore[assignment]  # NumPy says "of int"

    @property
    def last_data(self) -> float:
        """When data last passed in either direction, in seconds."""
        return self._view[_LAST_DATA]

    @property
    def keepalive_at(self) -> float:
        """When an empty record is to be sent, in seconds; infinity when none is."""
        return self._view[_KEEPALIVE_AT]

    @keepalive_at.setter
    def keepalive_at(self, moment: float) -> None:
        self._view[_KEEPALIVE_AT] = moment

    @property
    def dead_at(self) -> float:
        """When the peer is presumed dead, in seconds; infinity while nothing is unanswered."""
        return self._view[_DEAD_AT]

    @dead_at.setter
    def dead_at(self, moment: float) -> None:
        self._view[_DEAD_AT] = moment

    def sent_data(self, now: float) -> bool:
        """Data went out. True when a timer was set that was not before."""
        return note_sent(self.times, now) < inf

    def heard(self, now: float, *, data: bool, answers: bool = True) -> bool:
        """Something authentic came in. True when a timer was set that was not before.

        Args:
            now: seconds.
            data: it was data, which is owed a sign of life.
            answers: it came under the keys that we seal with, so the peer has them.
        """
        if data and answers:
            return note_heard(self.times, now) < inf
        dead_at = inf if answers else self.dead_at
        due = note_heard(self.times, now) if data else inf
        self.dead_at = dead_at
        return due < inf

    def reset(self) -> None:
        """Nothing is unanswered, nothing is owed."""
        self.keepalive_at = self.dead_at = inf


@kernel
def note_sent(times: NDArray[np.float64], now: float) -> float:
    """Data went out. When the timer that was set by it is due, in seconds; infinity when none was."""
    times[_LAST_DATA] = now
    times[_KEEPALIVE_AT] = inf
    if times[_DEAD_AT] < inf:
        return inf
    due: float = _round_up(now + times[_DEAD_AFTER])
    times[_DEAD_AT] = due
    return due


@kernel
def note_heard(times: NDArray[np.float64], now: float) -> float:
    """Data came in. When the timer that was set by it is due, in seconds; infinity when none was."""
    times[_LAST_DATA] = now
    times[_DEAD_AT] = inf
    if times[_KEEPALIVE_AT] < inf:
        return inf
    due: float = _round_up(now + times[_KEEPALIVE])
    times[_KEEPALIVE_AT] = due
    return due


@kernel
def _round_up(moment: float) -> float:
    return ceil(moment * _TICKS) / _TICKS
