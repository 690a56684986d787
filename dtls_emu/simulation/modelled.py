"""Cards that are modelled: in front of the real work a queue, a line rate and a time of service, on the virtual clock.

1. Datagrams are submitted, on their way out or in. What does not fit the queue is lost.
2. The line takes them one after the other, at its rate; each direction has a line of its own.
3. The engine's time of service passes, drawn from what is published of it. Order is kept.
4. They are complete: out on the fabric, or in the card.

Real cipher and real records stay what they are: the model says when, never what. What is published is of a ping between two
VMs, guests' stacks and network included; the model has the cards take all of it, a quarter on each pass of a card.
"""

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Final


if TYPE_CHECKING:
    from collections.abc import Callable

    from dtls_emu.fabric.clock import VirtualClock
    from dtls_emu.lab.card_models import CardModel


__all__ = ["ModelledCard", "service_time"]

QUEUE: Final = 1_024
"""Datagrams that are submitted and not complete, of each direction: as many as a NIC's ring usually has descriptors."""

PASSES: Final = 4
"""Of a ping: out and in at either card, there and back."""

_BODY: Final = 0.985
_ABOVE_MEAN: Final = 1.05
"""So large a share of passes take no longer than that, of the mean: four of them then have the published percentiles to
within three percent, and the mean."""

_BEYOND: Final = 1.25
"""The longest pass, of that which one in 4,000 exceeds: nothing is published of it."""


class ModelledCard:
    """What stands in front of one card.

    Args:
        model: whose time of service; None: none.
        rate: bit/s of its line, each way; 0: no limit.
        seed: of the times of service.
        clock: of everything.
    """

    def __init__(self, model: CardModel | None, rate: float, seed: str, clock: VirtualClock) -> None:
        self._knots = None if model is None else _knots(model)
        self._rate = rate
        self._random = Random(seed)
        self._clock = clock
        self._line_free = [0.0, 0.0]
        self._complete_at = [0.0, 0.0]
        self._submitted = [0, 0]

    @property
    def under_way(self) -> int:
        """Datagrams that are submitted and not complete."""
        return sum(self._submitted)

    @property
    def settled_at(self) -> float:
        """When all of them will be complete, in seconds."""
        return max(self._complete_at)

    def submit(self, packets: int, nbytes: int, complete: Callable[[], object], *, leaving: bool) -> bool:
        """Have datagrams pass.

        Args:
            packets, nbytes: how many, and how long they are together.
            complete: called when they have.
            leaving: out, or in.

        Returns:
            False: the queue has no room for them, and they are lost.
        """
        way = int(leaving)
        if self._submitted[way] + packets > QUEUE:
            return False
        now = self._clock.now
        on_line = max(now, self._line_free[way])
        if self._rate:
            on_line += nbytes * 8 / self._rate
            self._line_free[way] = on_line
        served = 0.0 if self._knots is None else _quantile(self._knots, self._random.random())
        self._complete_at[way] = max(self._complete_at[way], on_line + served)
        self._submitted[way] += packets

        def pass_on() -> None:
            self._submitted[way] -= packets
            complete()

        self._clock.call_at(self._complete_at[way], pass_on)
        return True


def service_time(model: CardModel, share: float) -> float:
    """The time that so large a share of passes, 0 to 1, does not exceed, in seconds.

    Four passes together have the published mean, and its 99th and 99.9th percentile: a ping is that late when one of them
    is, and the others take the mean.
    """
    return _quantile(_knots(model), share)


_Knots = tuple[tuple[float, float], ...]


def _knots(model: CardModel) -> _Knots:
    """Share and time, between which times are linear."""
    mean = model.mean / PASSES
    rare, rarest = (each - (PASSES - 1) * mean for each in (model.p99, model.p999))
    upper = (
        (_BODY, _ABOVE_MEAN * mean),
        (1 - 0.01 / PASSES, rare),
        (1 - 0.001 / PASSES, rarest),
        (1.0, _BEYOND * rarest),
    )
    tail = sum((end - begin) * (low + high) / 2 for (begin, low), (end, high) in pairwise(upper))
    least = 2 * (mean - tail) / _BODY - upper[0][1]
    return ((0.0, least), *upper)


def _quantile(knots: _Knots, share: float) -> float:
    for (begin, low), (end, high) in pairwise(knots):
        if share <= end:
            return low + (high - low) * (share - begin) / (end - begin)
    return knots[-1][1]
