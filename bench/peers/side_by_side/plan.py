"""What a run will do: which metrics, how long, how often, in which order."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


__all__ = ["AGAIN", "METRICS", "TCP_FLOWS", "UDP_SIZES", "Plan", "Step", "schedule"]

TCP_FLOWS: Final = {"tcp-1": 1, "tcp-8": 8, "tcp-64": 64}
UDP_SIZES: Final = {"udp-64": 64, "udp-1400": 1400}
"""Of the whole IP packet inside the tunnel, bytes."""

METRICS: Final = (*TCP_FLOWS, *UDP_SIZES, "ping")

AGAIN: Final = " again"
"""Behind the name of the reference when it is measured a second time in a round: what differs then is noise."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a run measures.

    Fields:
        rounds: how often everything is measured.
        seconds: length of each TCP trial and of each UDP flood.
        metrics: names out of :data:`METRICS`.
        congestion: TCP congestion control of both ends.
        seed: of the random order.
    """

    rounds: int
    seconds: float
    metrics: tuple[str, ...]
    congestion: str
    seed: int


@dataclass(frozen=True, slots=True)
class Step:
    """One measurement to make: which round, what, of which arm."""

    round: int
    metric: str
    arm: str


def schedule(plan: Plan, arms: Sequence[str]) -> Iterator[Step]:
    """Every measurement in order: a metric goes around all arms before the next one has its turn.

    So the trials of one metric and one round are neighbours in time, which a ratio of two of them needs on a
    machine that others use as well. The order of the arms is drawn anew each time.
    """
    order = random.Random(plan.seed)
    for number in range(plan.rounds):
        for metric in plan.metrics:
            for arm in order.sample(arms, len(arms)):
                yield Step(number, metric, arm)
