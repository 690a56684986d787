"""Is the peer there? Noticed from the traffic itself, without a heartbeat extension (RFC 6520).

Whoever received data and had nothing to send for a while sends an empty record. So whoever sent data hears
something back within that while and a round trip, or the peer is presumed dead. A silent tunnel stays silent.
(WireGuard's passive keepalive has the same rule: Donenfeld, NDSS 2017, 6.5.)
"""

from __future__ import annotations

from math import ceil, inf
from typing import TYPE_CHECKING, Final


if TYPE_CHECKING:
    from dtls_emu.tunnel.settings import TunnelSettings


__all__ = ["Liveness"]

_TICKS: Final = 4
"""Timers are rounded up to quarters of a second, so that those of a thousand tunnels fall together."""


class Liveness:
    """What one tunnel has sent and heard.

    Fields:
        last_data: when data last passed in either direction, in seconds.
        keepalive_at: when an empty record is to be sent; infinity when none is.
        dead_at: when the peer is presumed dead; infinity while nothing is unanswered.
    """

    __slots__ = ("_dead_after", "_keepalive", "dead_at", "keepalive_at", "last_data")

    def __init__(self, settings: TunnelSettings) -> None:
        self._keepalive = settings.keepalive
        self._dead_after = settings.dead_after
        self.last_data = 0.0
        self.keepalive_at = inf
        self.dead_at = inf

    def sent_data(self, now: float) -> bool:
        """Data went out. True when a timer was set that was not before."""
        self.last_data = now
        self.keepalive_at = inf
        if self.dead_at < inf:
            return False
        self.dead_at = _round_up(now + self._dead_after)
        return True

    def heard(self, now: float, *, data: bool) -> bool:
        """Something authentic came in. True when a timer was set that was not before."""
        self.dead_at = inf
        if not data:
            return False
        self.last_data = now
        if self.keepalive_at < inf:
            return False
        self.keepalive_at = _round_up(now + self._keepalive)
        return True

    def reset(self) -> None:
        """Nothing is unanswered, nothing is owed."""
        self.keepalive_at = self.dead_at = inf


def _round_up(moment: float) -> float:
    return ceil(moment * _TICKS) / _TICKS
