"""Events of the hosts of a real run, put in order and thinned out, so that a page can follow them.

Hosts tell their events in batches, each host on its own; all of one machine read the same clock. An event is kept for a
moment, until those of other hosts that happened before it are there.

A busy host does more than anybody can look at. A packet is told with its whole path on its host, or not at all; what decides
something (a miss, a decision, a drop, a tunnel's change) has a budget of its own. What is left out is counted by name.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import replace
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final

from dtls_emu.events import (
    Answered,
    Decided,
    Dropped,
    FlowStarted,
    Missed,
    PacketEvent,
    Queued,
    Refused,
    name_of,
)


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dtls_emu.events import Event


__all__ = ["COMMON_RATE", "HOLD", "Sampler"]

HOLD: Final = 0.15
"""Seconds that an event is kept: hosts tell theirs within 0.02, and a busy machine takes its time."""

COMMON_RATE: Final = 100.0
"""Events of packets a second: ten packets with their paths are as many as one can follow."""

RARE_RATE: Final = 200.0
"""Other events a second."""

SAVED: Final = 2.0
"""Seconds of a rate that may be spent at once."""

_REMEMBERED: Final = 4_096
"""Packets whose number is known."""

_TELLING: Final = (Missed, Decided, Queued, Dropped, Refused, Answered, FlowStarted)
"""About packets, and told by themselves."""


class _Budget:
    """So many a second, and not more than was saved."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._left = rate * SAVED
        self._then = 0.0

    def has(self, now: float) -> bool:
        """Whether there is one more."""
        self._left = min(self._left + (now - self._then) * self._rate, self._rate * SAVED)
        self._then = now
        return self._left >= 1

    def spend(self) -> None:
        """Take one; of a packet that was begun all are taken."""
        self._left -= 1

    def take(self, now: float) -> bool:
        """Take one, if there is one."""
        if not self.has(now):
            return False
        self.spend()
        return True


class Sampler:
    """Not safe for concurrent use. All times are seconds of the hosts' clock.

    Fields:
        left_out: by name, what was not told: by hosts, and here.

    Args:
        start: time that is 0 in what is released.
    """

    def __init__(self, start: float) -> None:
        self.left_out: Counter[str] = Counter()
        self._start = start
        self._waiting: list[tuple[float, int, Event]] = []
        self._arrived = 0
        self._last = 0.0
        self._common, self._rare = _Budget(COMMON_RATE), _Budget(RARE_RATE)
        self._numbers: OrderedDict[tuple[str, int], int] = OrderedDict()  # 0: its packet is left out
        self._next = 1

    def take(self, events: Iterable[Event], left_out: Mapping[str, int]) -> None:
        """Take a batch of one host, or what is known otherwise."""
        self.left_out.update(left_out)
        for event in events:
            self._arrived += 1
            heappush(self._waiting, (event.time, self._arrived, event))

    def forget(self, host: str) -> None:
        """A host was started anew, and numbers its packets from 1 again."""
        for key in [each for each in self._numbers if each[0] == host]:
            del self._numbers[key]

    def release(self, now: float) -> list[Event]:
        """What happened :data:`HOLD` ago and before, in order, as far as it is told.

        Packets have numbers of the run instead of their host's.
        """
        found = []
        while self._waiting and self._waiting[0][0] <= now - HOLD:
            event = heappop(self._waiting)[2]
            told = self._admitted(event, now)
            if told is None:
                self.left_out[name_of(event)] += 1
                continue
            self._last = max(self._last, event.time - self._start)  # one that came too late is told late
            found.append(replace(told, time=self._last))
        return found

    def _admitted(self, event: Event, now: float) -> Event | None:
        if not isinstance(event, PacketEvent):
            return event if self._rare.take(now) else None
        number = self._number(event, now) if event.packet else 0
        if number:
            self._common.spend()
            return replace(event, packet=number)
        budget = self._rare if isinstance(event, _TELLING) else self._common
        # A packet that is left out is left out whole, but for what decides something.
        if (event.packet and budget is self._common) or not budget.take(now):
            return None
        return replace(event, packet=0)

    def _number(self, event: PacketEvent, now: float) -> int:
        """Of the packet in the run; 0 if it is left out."""
        key = event.host, event.packet
        number = self._numbers.get(key)
        if number is None:
            number = self._next if self._common.has(now) else 0
            self._next += max(getattr(event, "count", 1), 1) if number else 0
            self._numbers[key] = number
            if len(self._numbers) > _REMEMBERED:
                self._numbers.popitem(last=False)
        return number
