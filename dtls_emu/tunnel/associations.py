"""The associations of a tunnel that are alive: the one that seals, and those that the peer may still seal with.

In the order in which they were established. An end seals with the newest one that it knows the peer to have; which
one the *peer* seals with is known only from what is heard. So whatever is older than an association on which the
peer was heard is drained, because the peer has left it; and nothing is, while it was not.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING, Final


if TYPE_CHECKING:
    from collections.abc import Iterator

    from dtls_emu.tunnel.association import Association
    from dtls_emu.tunnel.happenings import Ends


__all__ = ["Associations"]

_DEPARTED: Final = 8
"""Associations of the past whose last alerts are known for what they are."""

_MOST_HELD: Final = 4
"""Associations that are not drained. Two are enough in a rekey; the others are for rekeys whose outcome never
became known because the network lost everything behind it."""

_MOST_ALIVE: Final = 256
"""Associations that are held or drained. A drained one goes after seconds; but a broker's keys may come a thousand
times a second, each set worn out before the peer has heard of the one before. One is some 6 KB."""


class Associations:
    """By their ends.

    Fields:
        active: the one that seals, or None.
    """

    __slots__ = ("_alive", "_departed", "_draining", "active")

    def __init__(self) -> None:
        self.active: Association | None = None
        self._alive: dict[Ends, Association] = {}  # the oldest first
        self._draining: dict[Ends, float] = {}
        self._departed: deque[Ends] = deque(maxlen=_DEPARTED)

    def __len__(self) -> int:
        """How many are alive."""
        return len(self._alive)

    def __iter__(self) -> Iterator[Association]:
        """All that are alive, as they are now: some may be discarded meanwhile."""
        return iter(list(self._alive.values()))

    def get(self, ends: Ends) -> Association | None:
        """The one that has these ends, or None."""
        return self._alive.get(ends)

    def add(self, association: Association) -> None:
        """A fresh one stands; nothing else has its ends."""
        self._alive[association.ends] = association

    def seal_with(self, association: Association) -> None:
        """From now on this one seals. Others are drained when the peer is known to have left them."""
        self.active = association
        self._draining.pop(association.ends, None)

    def is_successor(self, association: Association) -> bool:
        """Whether it is newer than the one that seals: a server's, on which the client was not heard yet."""
        if self.active is None:
            return False
        for other in reversed(self._alive.values()):
            if other is self.active or other is association:
                return other is not self.active
        return False

    def drain_older(self, association: Association, until: float) -> None:
        """The peer was heard on this one: it has left those that are older."""
        for ends, other in self._alive.items():
            if other is association:
                return
            if other is not self.active:
                self._draining[ends] = min(self._draining.get(ends, until), until)

    def extend(self, association: Association, until: float) -> None:
        """The peer was heard on one that is drained: it lives on for a while."""
        if association.ends in self._draining:
            self._draining[association.ends] = max(self._draining[association.ends], until)

    def drain_all(self, until: float) -> None:
        """None seals any more."""
        self.active = None
        self._draining = dict.fromkeys(self._alive, until)

    def set_aside(self, until: float) -> None:
        """None seals, and none that was not drained already goes before this time."""
        self.active = None
        for ends in self._alive:
            self._draining.setdefault(ends, until)

    def succeed(self) -> bool:
        """The active one is lost: the newest that is not drained seals at once. Whether there is one."""
        held = [each for ends, each in self._alive.items() if ends not in self._draining]
        self.active = held[-1] if held else None
        return self.active is not None

    def drain_surplus(self, until: float) -> None:
        """Where too many are held, drain those that are least likely to be used by the peer."""
        held = [each for ends, each in self._alive.items() if ends not in self._draining]
        heard = [each for each in held if each.confirmed]
        needed = {self.active, held[-1], *heard[-1:]}
        spare = [each for each in held if each not in needed]
        for each in spare[: max(len(held) - _MOST_HELD, 0)]:
            self._draining[each.ends] = until

    def beyond_count(self) -> list[Association]:
        """Those that are drained, are too many all the same, and have the least time left."""
        number = len(self._alive) - _MOST_ALIVE
        if number <= 0:
            return []
        soonest = sorted(self._draining, key=self._draining.__getitem__)
        return [self._alive[ends] for ends in soonest[:number]]

    def discard(self, association: Association, *, remember: bool = True) -> None:
        """Overwrite its keys; at most that its ends were in use is remembered, for a while."""
        association.close()
        del self._alive[association.ends]
        if remember:
            self._departed.append(association.ends)
        self._draining.pop(association.ends, None)
        if self.active is association:
            self.active = None

    def has_departed(self, ends: Ends) -> bool:
        """Whether one that had these ends was discarded lately."""
        return ends in self._departed

    def drained(self, now: float) -> list[Association]:
        """Those whose time is over."""
        return [self._alive[ends] for ends, until in self._draining.items() if now >= until]

    def timeout(self) -> float:
        """When the next of them is drained; infinity when none will be."""
        return min(self._draining.values(), default=inf)
