"""When a tunnel's next attempt may begin, after one that failed."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from dtls_emu.tunnel.settings import TunnelSettings


__all__ = ["Retry"]


class Retry:
    """The pause between attempts, which doubles with each failure.

    Fields:
        at: when the next attempt may begin, in seconds.
        believed_until: until when a failure says something of the peer. Behind that nobody has wanted the tunnel for
            as long as the longest pause, or there would have been another attempt.
        is_wanted: packets wait: the next attempt begins by itself, and not with the next packet.
    """

    __slots__ = ("_hinted_at", "_longest", "_pause", "_shortest", "at", "believed_until", "is_wanted")

    def __init__(self, settings: TunnelSettings) -> None:
        self.at = self.believed_until = 0.0
        self.is_wanted = False
        self._shortest, self._longest = settings.retry_backoff, settings.longest_backoff
        self._pause = self._shortest
        self._hinted_at = -inf

    def failed(self, now: float) -> None:
        """An attempt failed. Nothing waits for the next one: the card has been told, and lets packets go."""
        self.at = now + self._pause
        self.believed_until = self.at + self._longest
        self._pause = min(self._pause * 2, self._longest)
        self.is_wanted = False

    def succeeded(self, next_at: float) -> None:
        """There are keys. Should they not do, the next attempt may begin at this time."""
        self.at = next_at
        self._pause = self._shortest

    def hint(self, now: float) -> bool:
        """Something that anybody can write says that the peer is there: whether the pause ends here.

        Once in the longest pause at most, so that whoever writes it gets one attempt for that, and no more.
        """
        if now < self._hinted_at + self._longest:
            return False
        self._hinted_at = now
        return True
