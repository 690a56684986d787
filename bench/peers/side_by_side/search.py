"""The highest packet rate with low loss, found by trials at chosen rates."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final


if TYPE_CHECKING:
    from collections.abc import Callable

    from side_by_side.iperf import Datagrams


__all__ = ["LOW_LOSS", "low_loss_trial"]

LOW_LOSS: Final = 0.01
"""Share of packets that may be lost. Not 0: on a machine whose cores are shared, a scheduling gap is no limit."""


def low_loss_trial(offer: Callable[[float], Datagrams], flood: Datagrams, *, trials: int) -> Datagrams | None:
    """The trial with the highest received rate whose loss was at most :data:`LOW_LOSS`; None when none was.

    1. A flood that lost little is the answer.
    2. Otherwise the rate that it delivered is tried first.
    3. As long as none has passed, half the lowest that failed is tried.
    4. Then the geometric mean of the highest that passed and the lowest that failed, or twice the former if
       that is less, until ``trials`` are used up. The flood itself counts as one that failed.

    Args:
        offer: makes a trial at so many packets a second.
        flood: a trial at whatever the sender could do.
        trials: at most so many.
    """
    if flood.loss <= LOW_LOSS:
        return flood
    best: Datagrams | None = None
    passes, fails = 0.0, flood.sent_per_s
    rate = flood.received_per_s or fails / 2
    for _ in range(trials):
        trial = offer(rate)
        if trial.loss <= LOW_LOSS:
            passes = max(passes, rate)
            if best is None or trial.received_per_s > best.received_per_s:
                best = trial
        else:
            fails = min(fails, rate)
        rate = min(2 * passes, math.sqrt(passes * fails)) if passes else fails / 2
    return best
