"""Key confirmation: how both ends of a rekey come to know that the other has the new keys.

The server of a handshake knows that its client has them only when it hears it on the new association: its own last
flight may be lost. So the client sends a *confirmation*, a record without data, and repeats it until it hears
something there, with the timers of RFC 6347 4.2.4.1. The server answers each with a record without data of its own,
unless it has sealed something since the last; an answer is never answered, so that the exchange ends.

A foreign client confirms by its data alone and gets no answer: some take a record without data for the end of the
connection.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final


if TYPE_CHECKING:
    from dtls_emu.tunnel.association import Association
    from dtls_emu.tunnel.happenings import Ends
    from dtls_emu.tunnel.settings import TunnelSettings


__all__ = ["Confirmation"]

_ANSWER_PAUSE: Final = 0.25
"""Seconds between two answers, or two flights, for the same end; its own timer is 1 s."""


class Confirmation:
    """Confirmations and answers of one tunnel.

    Fields:
        repeat_at: when the confirmation is to be repeated, in seconds; infinity when it is not.
    """

    __slots__ = (
        "_answered_at",
        "_asked",
        "_first",
        "_flight_at",
        "_longest",
        "_pause",
        "_sent_at",
        "repeat_at",
    )

    def __init__(self, settings: TunnelSettings) -> None:
        self.repeat_at = inf
        self._first, self._longest = settings.initial_timeout, settings.longest_timeout
        self._pause = self._first
        self._asked: tuple[Ends, Ends, int] | None = None  # by whom, and how much was sealed until then
        self._sent_at = self._answered_at = self._flight_at = -inf

    def begin(self, now: float, *, repeat: bool) -> None:
        """The first confirmation is sent.

        Args:
            now: seconds.
            repeat: until :meth:`end`; without it, only when something shows that the first was lost.
        """
        self._sent_at = now
        self._pause = self._first
        self.repeat_at = now + self._pause if repeat else inf

    def repeat(self, now: float) -> None:
        """It is sent again. After a minute no more: then it waits for a sign that the server lacks it."""
        self._sent_at = now
        self._pause *= 2
        self.repeat_at = now + self._pause if self._pause <= self._longest else inf

    def end(self) -> None:
        """The server was heard, or the association is not in force any more."""
        self.repeat_at = inf

    def may_send_again(self, now: float) -> bool:
        """Whether to send it again because records come under older keys; anybody may have written those."""
        if now < self._sent_at + self._first:
            return False
        self._sent_at = now
        return True

    def may_answer(self, association: Association, now: float) -> bool:
        """Whether a confirmation of this association is to be answered."""
        is_silent = association.next_sequence == association.answered
        if not is_silent or now < self._answered_at + _ANSWER_PAUSE:
            association.answered = association.next_sequence
            return False
        self._answered_at = now
        association.answered = association.next_sequence + 1  # the answer's own number
        return True

    def may_reassure(self, ends: Ends, association: Association, now: float) -> bool:
        """Whether a hello, which proves nothing, is to be answered on the association, too.

        It is when it is repeated and nothing was sealed between: then the peer may presume us dead.
        """
        asked = ends, association.ends, association.next_sequence
        again = asked == self._asked
        self._asked = asked
        if not again or now < self._answered_at + _ANSWER_PAUSE:
            return False
        self._answered_at = now
        return True

    def may_repeat_flight(self, now: float) -> bool:
        """Whether a repeated flight of the client's is to be answered with our last."""
        if now < self._flight_at + _ANSWER_PAUSE:
            return False
        self._flight_at = now
        return True
