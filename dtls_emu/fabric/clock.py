"""Virtual time: a queue of events, and a clock that jumps from one to the next.

Time is kept in whole nanoseconds, so sums of delays are exact and a run is the same on every machine. Cards
and users speak float seconds. Events of the same instant run in the order in which they were scheduled.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Final

from dtls_emu.errors import LocalProtocolError


if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = ["NANOSECONDS", "Timer", "VirtualClock", "nanoseconds"]

NANOSECONDS: Final = 1_000_000_000
"""In a second."""


def nanoseconds(seconds: float) -> int:
    """The first whole nanosecond that is not before ``seconds``.

    Never early: a card that asked to be woken at ``t`` is called with ``now >= t``, or it would ask again for
    the same instant forever.
    """
    nearest = round(seconds * NANOSECONDS)
    return nearest if nearest / NANOSECONDS >= seconds else nearest + 1


class Timer:
    """One scheduled call. Keep it to cancel it."""

    __slots__ = ("_action", "when_ns")

    def __init__(self, when_ns: int, action: Callable[[], object]) -> None:
        self.when_ns = when_ns
        self._action: Callable[[], object] | None = action

    @property
    def pending(self) -> bool:
        """Still to run: neither cancelled nor done."""
        return self._action is not None

    def cancel(self) -> None:
        """Do not run it. Idempotent; does nothing after it has run."""
        self._action = None

    def fire(self) -> None:
        """Run it, once. The clock calls this."""
        action, self._action = self._action, None
        if action is not None:
            action()


class VirtualClock:
    """Runs events in the order of their time, and jumps over the time between them.

    Not safe for concurrent use. An exception of an event ends the run and passes to the caller.

    Args:
        start: the time at the beginning, in seconds.
    """

    def __init__(self, start: float = 0.0) -> None:
        self._now_ns = nanoseconds(start)
        self._queue: list[tuple[int, int, Timer]] = []
        self._order = 0

    @property
    def now(self) -> float:
        """The time, in seconds."""
        return self._now_ns / NANOSECONDS

    @property
    def now_ns(self) -> int:
        """The time, in nanoseconds."""
        return self._now_ns

    def call_at(self, when: float, action: Callable[[], object]) -> Timer:
        """Schedule ``action`` at ``when`` seconds, or now when that has passed (a late timer is still due)."""
        return self.call_at_ns(max(nanoseconds(when), self._now_ns), action)

    def call_later(self, delay: float, action: Callable[[], object]) -> Timer:
        """Schedule ``action`` in ``delay`` seconds."""
        return self.call_at_ns(self._now_ns + nanoseconds(delay), action)

    def call_at_ns(self, when_ns: int, action: Callable[[], object]) -> Timer:
        """Schedule ``action`` at ``when_ns`` nanoseconds.

        Raises:
            LocalProtocolError: that instant has passed.
        """
        if when_ns < self._now_ns:
            raise LocalProtocolError(f"cannot schedule at {when_ns} ns, it is {self._now_ns} ns already")
        timer = Timer(when_ns, action)
        heapq.heappush(self._queue, (when_ns, self._order, timer))
        self._order += 1
        return timer

    def next_event(self) -> float | None:
        """When the next event is due, in seconds, or None when nothing is scheduled."""
        timer = self._peek()
        return None if timer is None else timer.when_ns / NANOSECONDS

    def run_next(self) -> bool:
        """Jump to the next event and run it. False when nothing is scheduled."""
        timer = self._peek()
        if timer is None:
            return False
        heapq.heappop(self._queue)
        self._now_ns = timer.when_ns
        timer.fire()
        return True

    def run_until(self, when: float) -> int:
        """Run every event up to and including ``when`` seconds, then stand there.

        Returns:
            the number of events that ran.
        """
        until_ns = nanoseconds(when)
        count = 0
        while (timer := self._peek()) is not None and timer.when_ns <= until_ns:
            self.run_next()
            count += 1
        self._now_ns = max(self._now_ns, until_ns)
        return count

    def run(self, limit: int | None = None) -> int:
        """Run until nothing is scheduled, or ``limit`` events have run. The clock stays at the last of them.

        Returns:
            the number of events that ran.
        """
        count = 0
        while (limit is None or count < limit) and self.run_next():
            count += 1
        return count

    def _peek(self) -> Timer | None:
        queue = self._queue
        while queue:
            timer = queue[0][2]
            if timer.pending:
                return timer
            heapq.heappop(queue)
        return None
