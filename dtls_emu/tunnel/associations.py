"""The associations of a tunnel that are alive: the one that seals, its successor, and those being drained."""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING, Final


if TYPE_CHECKING:
    from collections.abc import Iterator

    from dtls_emu.tunnel.association import Association
    from dtls_emu.tunnel.attempts import Ends


__all__ = ["Associations"]

_DEPARTED: Final = 8
"""Associations of the past whose last alerts are known for what they are."""


class Associations:
    """By their ends.

    Fields:
        active: the one that seals, or None.
        successor: stands, and seals as soon as it was heard; or None.
    """

    __slots__ = ("_alive", "_confirm_by", "_departed", "_draining", "active", "successor")

    def __init__(self) -> None:
        self.active: Association | None = None
        self.successor: Association | None = None
        self._alive: dict[Ends, Association] = {}
        self._confirm_by = inf
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

    def await_word_on(self, association: Association, until: float) -> None:
        """It shall succeed the active one when it was heard, or when the time has come."""
        self.successor, self._confirm_by = association, until

    def promote(self, association: Association, drain_until: float) -> None:
        """From now on this one seals; all others are drained."""
        self.forget_successor()
        self.active = association
        for ends, other in self._alive.items():
            if other is not association:
                self._draining.setdefault(ends, drain_until)

    def drain_all(self, until: float) -> None:
        """None seals any more."""
        self.forget_successor()
        self.active = None
        self._draining = dict.fromkeys(self._alive, until)

    def succeed(self) -> bool:
        """The active one is lost: its successor seals at once, if there is one. Whether there was."""
        self.active = self.successor
        self.forget_successor()
        return self.active is not None

    def forget_successor(self) -> None:
        """None is to succeed the active one."""
        self.successor, self._confirm_by = None, inf

    def discard(self, association: Association) -> None:
        """Overwrite its keys; only that its ends were in use is remembered, for a while."""
        association.close()
        del self._alive[association.ends]
        self._departed.append(association.ends)
        self._draining.pop(association.ends, None)
        if self.successor is association:
            self.forget_successor()

    def has_departed(self, ends: Ends) -> bool:
        """Whether one that had these ends was discarded lately."""
        return ends in self._departed

    def is_confirmed(self, now: float) -> bool:
        """Whether the successor has been waited for long enough."""
        return now >= self._confirm_by

    def drained(self, now: float) -> list[Association]:
        """Those whose time is over."""
        return [self._alive[ends] for ends, until in self._draining.items() if now >= until]

    def timeout(self) -> float:
        """When one of them is drained, or the successor has been waited for; infinity when neither will be."""
        return min(self._confirm_by, *self._draining.values(), inf)
