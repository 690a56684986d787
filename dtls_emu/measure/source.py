"""Where a trial's packets come from: as fast as they are taken (closed loop), or on a schedule (open loop).

On a schedule a packet is *due* at a time that does not depend on what became of those before it. What is late is sent
as soon as may be, and its delay is counted from the time at which it was due: a path that stands still for a moment
delays everything that should have been sent meanwhile, and a generator that waited with it would hide that
("coordinated omission", as HdrHistogram's author calls it). A VM's queue holds so many packets; what is due while it is
full is refused, and counted.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Final, Protocol

from dtls_emu.measure.packets import tags


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from dtls_emu.wire.burst import Burst


__all__ = ["QUEUE", "ForTime", "Load", "OnSchedule", "Source", "Turns", "WholeTurns", "make_source"]

QUEUE: Final = 500
"""Packets that a VM's queue holds: `txqueuelen` of a TUN device, as Linux has it."""

SPIN_NS: Final = 150_000
"""The last part of a wait is spent looking at the clock: a sleep ends 50 to 100 µs late."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a trial offers.

    Fields:
        arm, size: which cards and packets.
        seconds: how long.
        burst: packets that a VM hands over at once; 0: as many as one send carries.
        flows: how many there are, by source port; each burst is of the next one.
        ip_version: of the inner packets.
        rate: packets a second that are due; None: as fast as they are taken. On a schedule every packet is timed.
        queue: packets that a VM's queue holds, on a schedule.
    """

    arm: str
    size: int
    seconds: float
    burst: int = 0
    flows: int = 1
    ip_version: int = 4
    rate: float | None = None
    queue: int = QUEUE

    @property
    def timed(self) -> bool:
        """Whether the delay of every packet is measured."""
        return self.rate is not None


class Source(Protocol):
    """Bursts, one after the other.

    Fields:
        offered: packets that were due so far, refused ones included.
        refused: of them, those that the VM's queue had no room for.
    """

    offered: int
    refused: int

    def next(self) -> Burst | None:
        """The next burst, when it is time for it; None: that was the last one."""


class Turns:
    """So many bursts, the given ones in turn."""

    refused = 0

    def __init__(self, bursts: Sequence[Burst], total: int) -> None:
        self.offered = 0
        self._bursts = cycle(bursts)
        self._left = total

    def next(self) -> Burst | None:
        """See :class:`Source`."""
        if not self._left:
            return None
        self._left -= 1
        burst = next(self._bursts)
        self.offered += burst.count
        return burst


class WholeTurns:
    """As fast as they are taken, all of the given ones again and again until so many seconds are over; at least once.

    Fields:
        turns: how often.
    """

    refused = 0

    def __init__(
        self, bursts: Sequence[Burst], seconds: float, read_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self.offered = self.turns = 0
        self._bursts = bursts
        self._next = 0
        self._read_ns = read_ns
        self._end = read_ns() + round(seconds * 1e9)

    def next(self) -> Burst | None:
        """See :class:`Source`."""
        if self._next == 0:
            if self.turns and self._read_ns() >= self._end:
                return None
            self.turns += 1
        burst = self._bursts[self._next]
        self._next = (self._next + 1) % len(self._bursts)
        self.offered += burst.count
        return burst


class ForTime:
    """As fast as they are taken, for so many seconds: the given ones in turn; at least one."""

    refused = 0

    def __init__(
        self, bursts: Sequence[Burst], seconds: float, read_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self.offered = 0
        self._bursts = cycle(bursts)
        self._read_ns = read_ns
        self._end = read_ns() + round(seconds * 1e9)

    def next(self) -> Burst | None:
        """See :class:`Source`."""
        if self.offered and self._read_ns() >= self._end:
            return None
        burst = next(self._bursts)
        self.offered += burst.count
        return burst


class OnSchedule:
    """At a rate, for so many seconds; each packet has the time at which it was due in it, in ns.

    Args:
        bursts: the given ones in turn, all of one number of packets.
        seconds: how long.
        rate: packets a second.
        queue: packets that may wait, at least one burst.
        read_ns, sleep: the clock.
    """

    def __init__(
        self,
        bursts: Sequence[Burst],
        seconds: float,
        rate: float,
        queue: int = QUEUE,
        read_ns: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.offered = self.refused = 0
        self._bursts = cycle([(burst, tags(burst)) for burst in bursts])
        self._count = bursts[0].count
        self._gap = self._count / rate * 1e9
        self._total = max(1, round(seconds * 1e9 / self._gap))
        self._room = max(1, queue // self._count)
        self._waiting: deque[int] = deque()
        self._due = 0  # the number of bursts that have been due
        self._read_ns, self._sleep = read_ns, sleep
        self._start = read_ns()

    def next(self) -> Burst | None:
        """See :class:`Source`."""
        now = self._read_ns()
        self._admit(min(int((now - self._start) / self._gap) + 1, self._total))
        if self._waiting:
            number = self._waiting.popleft()
        elif self._due < self._total:
            number = self._due
            self._due += 1
            self.offered += self._count
        else:
            return None
        due = self._start + round(number * self._gap)
        while now < due:
            if due - now > SPIN_NS:
                self._sleep((due - now - SPIN_NS) / 1e9)
            now = self._read_ns()
        burst, written = next(self._bursts)
        stamp(written, due)
        return burst

    def _admit(self, due: int) -> None:
        """Those that have become due wait as far as there is room; the last of them are refused, as a tail drop does."""
        new = due - self._due
        if new <= 0:
            return
        admitted = min(new, self._room - len(self._waiting))
        self._waiting.extend(range(self._due, self._due + admitted))
        self.offered += new * self._count
        self.refused += (new - admitted) * self._count
        self._due = due


def stamp(written: NDArray[np.uint64], due: int) -> None:
    """Write a time into packets, and its complement, so that no checksum changes (RFC 1624 3)."""
    written[:, 0] = due
    written[:, 1] = ~due & 0xFFFF_FFFF_FFFF_FFFF


def make_source(load: Load, bursts: Sequence[Burst]) -> Source:
    """The source of a trial's packets; its time begins now."""
    if load.rate is None:
        return ForTime(bursts, load.seconds)
    return OnSchedule(bursts, load.seconds, load.rate, load.queue)
