"""Is the peer there? Noticed from the traffic itself, without a heartbeat extension (RFC 6520).

Whoever received data and had nothing to send for a while sends an empty record. So whoever sent data hears
something back within that while and a round trip, or the peer is presumed dead. A silent tunnel stays silent.
(WireGuard's passive keepalive has the same rule: Donenfeld, NDSS 2017, 6.5.)

The times are in memory that the card's kernels work on too: a :data:`LIVENESS`.
"""

from __future__ import annotations

from math import ceil, inf
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from dtls_emu.wire.memory import array_at, kernel


if TYPE_CHECKING:
    from collections.abc import Callable

    from dtls_emu.tunnel.settings import TunnelSettings


__all__ = ["LIVENESS", "Liveness", "liveness_at", "note_heard", "note_sent"]

_TICKS: Final = 4
"""Timers are rounded up to quarters of a second, so that those of a thousand tunnels fall together."""

Times = NDArray[Any]
"""An array of one :data:`LIVENESS`."""

LIVENESS: Final = np.dtype(
    [
        ("last_data", np.float64),
        ("keepalive_at", np.float64),
        ("dead_at", np.float64),
        ("keepalive", np.float64),
        ("dead_after", np.float64),
    ]
)
"""When a tunnel has sent and heard, in seconds.

Fields:
    last_data: when data last passed in either direction.
    keepalive_at: when an empty record is due; infinity: none is.
    dead_at: when the peer is presumed dead; infinity while nothing is unanswered.
    keepalive, dead_after: pauses before either.
"""

liveness_at: Callable[[int, int], Times] = array_at("liveness_at", LIVENESS)
"""``liveness_at(address, 1)``, in a kernel."""


class Liveness:
    """What one tunnel has sent and heard.

    Fields:
        times: one :data:`LIVENESS`.
    """

    __slots__ = ("_dead_at", "_keepalive_at", "_last_data", "times")

    def __init__(self, settings: TunnelSettings) -> None:
        self.times: Times = np.array([(0.0, inf, inf, settings.keepalive, settings.dead_after)], LIVENESS)
        self._last_data = _number(self.times, "last_data")
        self._keepalive_at = _number(self.times, "keepalive_at")
        self._dead_at = _number(self.times, "dead_at")

    @property
    def last_data(self) -> float:
        """When data last passed in either direction, in seconds."""
        return self._last_data[0]

    @property
    def keepalive_at(self) -> float:
        """When an empty record is to be sent, in seconds; infinity when none is."""
        return self._keepalive_at[0]

    @keepalive_at.setter
    def keepalive_at(self, moment: float) -> None:
        self._keepalive_at[0] = moment

    @property
    def dead_at(self) -> float:
        """When the peer is presumed dead, in seconds; infinity while nothing is unanswered."""
        return self._dead_at[0]

    @dead_at.setter
    def dead_at(self, moment: float) -> None:
        self._dead_at[0] = moment

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


def _number(times: Times, field: str) -> memoryview[float]:
    """One field as a memoryview, which gives plain numbers, three times as fast as NumPy."""
    view: Any = times[field].data
    return cast("memoryview[float]", view)


@kernel
def note_sent(times: Times, now: float) -> float:
    """Data went out. When the timer that was set by it is due, in seconds; infinity when none was."""
    tunnel = times[0]
    tunnel.last_data = now
    tunnel.keepalive_at = inf
    if tunnel.dead_at < inf:
        return inf
    due: float = _round_up(now + tunnel.dead_after)
    tunnel.dead_at = due
    return due


@kernel
def note_heard(times: Times, now: float) -> float:
    """Data came in. When the timer that was set by it is due, in seconds; infinity when none was."""
    tunnel = times[0]
    tunnel.last_data = now
    tunnel.dead_at = inf
    if tunnel.keepalive_at < inf:
        return inf
    due: float = _round_up(now + tunnel.keepalive)
    tunnel.keepalive_at = due
    return due


@kernel
def _round_up(moment: float) -> float:
    return ceil(moment * _TICKS) / _TICKS
